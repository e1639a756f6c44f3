"""Acts that bring things in: tasks, versions, releases and the first pointer of a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.utils.text import slugify

from governance.actions.base import act
from governance.actions.moves import Move, carry_out
from governance.actors import Actor
from governance.audit.log import Facts, record
from governance.digests import files_digest, json_digest, sha256_hex
from governance.errors import BadInput
from governance.models import Pointer, PointerMove, Release, Task, Version
from governance.pointers import POLICY_KEY, kind_of, task_of
from governance.policy import bundled_text, check_ways_out, parse_policy, policy_facts
from governance.rules import check_may_install
from governance.subjects import check_binding, release_digest

HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class ReleaseDraft:
    """A release to register. `binding` names base_model, tokenizer and runtime digests ('' where there is none)."""

    task: Task
    harness: Version
    adapter: Version | None
    parent: Release | None
    binding: Mapping[str, Any]
    origin: str


@act("task.install")
def install_task(*, spec: Mapping[str, Any], spec_digest: str, by: Actor) -> Task:
    """Install a task (task.toml as a dict, and its digest). The same spec again changes nothing.

    Raises BadInput when the task is installed with another spec, NotAllowed unless an operator or the set-up acts.
    """
    check_may_install(by)
    slug = str(spec.get("id", ""))
    if not slug or slugify(slug) != slug or len(slug) > 64:
        raise BadInput(f"The task's id is {slug!r}; use lower-case letters, digits and hyphens, at most 64.")
    _check_digest(spec_digest)
    known = Task.objects.filter(slug=slug).first()
    if known and known.spec_digest == spec_digest:
        return known
    if known:
        raise BadInput(
            f"Task {slug!r} is installed with another task.toml; give the changed task another id."
        )
    task = Task.objects.create(
        slug=slug,
        title=str(spec.get("title", slug))[:200],
        spec=dict(spec),
        spec_digest=spec_digest,
        installed_by=by.ref,
    )
    facts = Facts(after=spec_digest, policy=policy_facts(), task=slug)
    record(by=by, action="task.install", subject=("task", slug), facts=facts)
    return task


@act("version.register")
def register_version(
    *,
    kind: str,
    digest: str,
    task: Task | None,
    parent: Version | None = None,
    manifest: Mapping[str, Any],
    by: Actor,
) -> Version:
    """Register one immutable version; the same again returns the known one.

    The digest is checked: a policy's is that of its `toml`, an evaluator's or a roster's that of its manifest, another
    one's that of `files` ({path: [mode, SHA-256]}) where the manifest lists them.
    Registering puts nothing in force. Raises BadInput for a manifest that does not fit.
    """
    _check_digest(digest)
    if kind not in Version.Kind.values:
        raise BadInput(f"{kind!r} is no kind of version; use one of {', '.join(Version.Kind.values)}.")
    if (task is None) != (kind in {Version.Kind.POLICY, Version.Kind.ROSTER}):
        raise BadInput(
            "A harness, adapter or evaluator belongs to a task; a policy or a roster belongs to none."
        )
    _check_manifest(kind, digest, manifest)
    known = Version.objects.filter(kind=kind, task=task, digest=digest).first()
    if known:
        return known
    version = Version.objects.create(
        kind=kind, digest=digest, task=task, parent=parent, manifest=dict(manifest), created_by=by.ref
    )
    facts = Facts(
        before=parent.digest if parent else "",
        after=digest,
        policy=policy_facts(),
        task=task.slug if task else "",
        detail={"kind": str(kind)},
    )
    record(by=by, action="version.register", subject=("version", digest), facts=facts)
    return version


@act("release.register")
def register_release(*, draft: ReleaseDraft, by: Actor) -> Release:
    """Register a release; the same parts again return the known one. Raises BadInput for parts that do not fit."""
    check_binding(draft.binding)
    if draft.harness.kind != Version.Kind.HARNESS or draft.harness.task_id != draft.task.pk:
        raise BadInput(f"{draft.harness} is not a harness of task {draft.task.slug!r}.")
    if draft.adapter and (
        draft.adapter.kind != Version.Kind.ADAPTER or draft.adapter.task_id != draft.task.pk
    ):
        raise BadInput(f"{draft.adapter} is not an adapter of task {draft.task.slug!r}.")
    release = Release(
        task=draft.task,
        harness=draft.harness,
        adapter=draft.adapter,
        parent=draft.parent,
        binding=dict(draft.binding),
        origin=draft.origin[:100],
        created_by=by.ref,
    )
    release.digest = release_digest(release)
    known = Release.objects.filter(digest=release.digest).first()
    if known:
        return known
    release.save(force_insert=True)
    detail = {
        "harness": draft.harness.digest,
        "adapter": draft.adapter.digest if draft.adapter else "",
        "binding": dict(draft.binding),
        "origin": release.origin,
    }
    facts = Facts(
        before=draft.parent.digest if draft.parent else "",
        after=release.digest,
        policy=policy_facts(),
        task=draft.task.slug,
        detail=detail,
    )
    record(by=by, action="release.register", subject=("release", release.digest), facts=facts)
    return release


@act("pointer.move")
def install_pointer(*, key: str, digest: str, reason: str, by: Actor) -> Pointer:
    """Put the first version of a key in force; the same again changes nothing.

    Raises BadInput when the key has another one already (that takes a proposal) or the digest is not known.
    """
    check_may_install(by)
    task = task_of(key)
    pointer = Pointer.objects.filter(key=key).first()
    if pointer is not None:
        if PointerMove.objects.filter(key=key, generation=0, digest=digest).exists():
            return pointer
        raise BadInput(f"{key} is in force already; changing it takes a proposal.")
    _check_known(key, digest, task)
    carry_out(Move(key, PointerMove.Kind.INSTALL, "", digest, reason), by, {})
    return Pointer.objects.get(key=key)


def install_policy(*, by: Actor) -> Pointer:
    """Put the bundled policy in force on an instance that has none yet; otherwise leave everything as it is."""
    known = Pointer.objects.filter(key=POLICY_KEY).first()
    if known:
        return known
    text = bundled_text()
    version = register_version(
        kind=Version.Kind.POLICY,
        digest=sha256_hex(text.encode()),
        task=None,
        manifest=policy_manifest(text),
        by=by,
    )
    return install_pointer(key=POLICY_KEY, digest=version.digest, reason="The bundled policy: strict.", by=by)


def policy_manifest(text: str) -> dict[str, str]:
    """The manifest of a policy version. Raises BadInput for a policy that cannot be used."""
    policy = parse_policy(text)
    check_ways_out(policy)
    return {"toml": text, "name": policy.name, "version": policy.version}


def _check_digest(digest: str) -> None:
    if len(digest) != 64 or not set(digest) <= HEX:
        raise BadInput(f"{digest!r} is not a SHA-256 digest (64 lower-case hex digits).")


def _check_manifest(kind: str, digest: str, manifest: Mapping[str, Any]) -> None:
    if kind == Version.Kind.POLICY:
        text = str(manifest.get("toml", ""))
        if sha256_hex(text.encode()) != digest or dict(manifest) != policy_manifest(text):
            raise BadInput("A policy's digest is that of its TOML text; this one is not.")
    elif kind in {Version.Kind.EVALUATOR, Version.Kind.ROSTER}:
        if json_digest(dict(manifest)) != digest:
            raise BadInput(
                f"The digest of an evaluator or a roster is that of its manifest; {digest[:12]} is not."
            )
    elif "files" in manifest and _digest_of(manifest["files"]) != digest:
        raise BadInput(f"The list of files of {kind} {digest[:12]} does not give its digest.")


def _digest_of(files: Any) -> str:
    try:
        return files_digest(files)
    except (TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"A list of files is {{path: [mode, SHA-256]}}; this one is not ({error}).") from error


def _check_known(key: str, digest: str, task: Task | None) -> None:
    kind = kind_of(key)
    if kind == "release":
        known = Release.objects.filter(task=task, digest=digest).exists()
    else:
        known = Version.objects.filter(kind=kind, task=task, digest=digest).exists()
    if not known:
        raise BadInput(f"{digest[:12]} is no registered {kind} that {key} could point to.")
