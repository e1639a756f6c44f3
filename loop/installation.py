"""Installing a task: from a folder to versions, a baseline release and pointers. People do it; the loop never does.

The public half, the base model and the task's own tests go to the artifact store, labels and hidden data to stores of
their own, so that nothing that a campaign reads afterwards depends on the folder it came from.
"""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance import actions
from governance.actors import Actor
from governance.digests import file_list, json_digest, sha256_hex
from governance.models import Release, Task, Version
from governance.pointers import current
from loop import hidden_store, honeytokens
from loop.catalog import TaskSpec, load_task
from loop.preparation import Prepared, prepared_whole
from loop.repos import CommitNote, HarnessRepo, digest_of, read_tree
from loop.runtimes import ensure_runtime
from loop.store import Store
from loop.strata import HiddenRows, groups_of

ARTIFACTS = "artifacts"
LABELS = "labels"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
)


def store(name: str) -> Store:
    """One of the data home's stores: artifacts, or labels (scorer only)."""
    return Store(Path(settings.PAWL_HOME) / name)


def repo_of(task: Task) -> HarnessRepo:
    """The task's harness repository."""
    return HarnessRepo(Path(settings.PAWL_HOME) / "repos" / f"{task.slug}.git")


@dataclass(frozen=True, slots=True)
class Parts:
    """The stored parts of a task folder, by digest. `binding` names base model, tokenizer and harness runtime."""

    folder: str
    public: str
    binding: dict[str, str]
    evaluator: dict[str, Any]


def install(folder: Path, by: Actor) -> Task:
    """Install or update the task in `folder` and return it.

    The first installation fixes the evaluator in force and the baseline release; a changed evaluator afterwards is
    only registered as a version, and comes into force through a proposal. Raises TaskError with what is wrong.
    """
    prepared = prepared_whole(folder, Path(settings.PAWL_HOME) / "prepared", hidden_store.root())
    spec = load_task(folder, prepared.data)
    parts = _store_parts(folder, prepared, spec)
    with transaction.atomic():
        return _register(folder, spec, parts, by)


def _register(folder: Path, spec: TaskSpec, parts: Parts, by: Actor) -> Task:
    task = actions.install_task(spec=_described(folder, parts), spec_digest=parts.folder, by=by)
    actions.install_policy(by=by)
    evaluator = actions.register_version(
        kind=Version.Kind.EVALUATOR,
        digest=json_digest(parts.evaluator),
        task=task,
        manifest=parts.evaluator,
        by=by,
    )
    if current(f"evaluator:{task.slug}") is None:
        actions.install_pointer(
            key=f"evaluator:{task.slug}",
            digest=evaluator.digest,
            reason="First evaluator of the task.",
            by=by,
        )
    release = seed_release(task, folder / "seed", parts.binding, by)
    if current(f"release:{task.slug}") is None:
        actions.install_pointer(
            key=f"release:{task.slug}",
            digest=release.digest,
            reason="The seed harness is the baseline.",
            by=by,
        )
    return task


def seed_release(task: Task, seed: Path, binding: dict[str, str], by: Actor) -> Release:
    """The release of a task's seed harness without an adapter."""
    tree = read_tree(seed)
    digest = digest_of(tree)
    known = Version.objects.filter(kind=Version.Kind.HARNESS, task=task, digest=digest).first()
    if known is None:
        note = CommitNote("Seed harness", "Task author", timezone.now(), {"Task": task.slug})
        commit = repo_of(task).commit(tree, None, note, "seed")
        known = actions.register_version(
            kind=Version.Kind.HARNESS,
            digest=digest,
            task=task,
            manifest={"commit": commit, "files": file_list(tree)},
            by=by,
        )
    draft = actions.ReleaseDraft(
        task=task, harness=known, adapter=None, parent=None, binding=binding, origin="seed harness"
    )
    return actions.register_release(draft=draft, by=by)


def _described(folder: Path, parts: Parts) -> dict[str, Any]:
    with (folder / "task.toml").open("rb") as handle:
        declared = tomllib.load(handle)
    return {
        **declared,
        "description": (folder / "task.md").read_text(encoding="utf-8"),
        "stored": {"folder": parts.folder, "public": parts.public},
        "binding": parts.binding,
    }


def _store_parts(folder: Path, prepared: Prepared, spec: TaskSpec) -> Parts:
    data = prepared.data
    artifacts = store(ARTIFACTS)
    runtimes = Path(settings.PAWL_HOME) / "runtimes"
    harness_runtime = ensure_runtime(_lock_file(folder / "seed"), runtimes)
    binding = {"base_model": "", "tokenizer": "", "runtime": harness_runtime.digest}
    if spec.model is not None:
        base = data / "models" / spec.model.base
        binding["base_model"] = artifacts.put(base)
        binding["tokenizer"] = json_digest(
            {
                name: sha256_hex((base / name).read_bytes())
                for name in TOKENIZER_FILES
                if (base / name).is_file()
            }
        )
    if spec.gate.slices or spec.gate.cluster:
        rows = HiddenRows(prepared.hidden / "inputs" / spec.inputs_file, prepared.hidden / "labels")
        groups_of(rows, spec.gate.cluster, spec.gate.slices)
    evaluator = {
        "code": artifacts.put(folder / "evaluator"),
        "runtime": ensure_runtime(_lock_file(folder / "evaluator"), runtimes).digest,
        "labels": _store_labels(data / "labels"),
        "hidden_commitment": hidden_store.put(prepared.hidden),
    }
    honeytokens.plant_decoys()
    return Parts(_store_folder(folder), artifacts.put(data / "public"), binding, evaluator)


def _lock_file(folder: Path) -> Path | None:
    path = folder / "requirements.txt"
    return path if path.is_file() else None


def _store_folder(folder: Path) -> str:
    """The folder without data: what `load_task` and the preflight need later."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "task"
        left_out = shutil.ignore_patterns("public", "labels", "hidden", "models", "__pycache__")
        shutil.copytree(folder, copy, ignore=left_out, symlinks=True)
        return store(ARTIFACTS).put(copy)


def _store_labels(labels: Path) -> str:
    """Put the public labels away with a honeytoken beside them."""
    with honeytokens.planted(labels, honeytokens.PUBLIC_LABELS) as copy:
        return store(LABELS).put(copy)
