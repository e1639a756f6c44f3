"""Tasks, versions, releases and first pointers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from governance.actions import (
    ReleaseDraft,
    install_pointer,
    install_policy,
    install_task,
    register_release,
    register_version,
)
from governance.actors import LOOP, SETUP
from governance.digests import entries_digest, file_list, json_digest, sha256_hex
from governance.errors import BadInput, NotAllowed
from governance.models import AuditEntry, Pointer, PointerMove, Release, Version
from governance.pointers import evaluator_in_force, live_release
from governance.policy import policy_in_force
from tests.governance.cast import (
    BETTER,
    BOLDER,
    FAIRER,
    SEED,
    World,
    evaluator_manifest,
    make_adapter,
    make_harness,
    make_release,
    promoted,
)

pytestmark = pytest.mark.one_database


def test_installing_the_same_again_changes_nothing(world: World) -> None:
    size = AuditEntry.objects.count()
    assert install_task(spec={"id": "digits"}, spec_digest=sha256_hex(b"spec"), by=SETUP) == world.task
    install_policy(by=SETUP)
    install_pointer(key="release:digits", digest=world.seed.digest, reason="Seed.", by=SETUP)
    assert make_release(world.task, SEED) == world.seed
    assert AuditEntry.objects.count() == size


def test_a_changed_task_needs_another_id(world: World) -> None:
    with pytest.raises(BadInput, match="installed with another task"):
        install_task(spec={"id": "digits"}, spec_digest="1" * 64, by=SETUP)


def test_a_tasks_id_may_have_64_characters(world: World) -> None:
    assert install_task(spec={"id": "x" * 64}, spec_digest="1" * 64, by=SETUP).slug == "x" * 64


@pytest.mark.parametrize("slug", ["", "Upper", "a b", "a/b", "x" * 65])
def test_a_task_has_a_plain_id(world: World, slug: str) -> None:
    with pytest.raises(BadInput, match="task's id"):
        install_task(spec={"id": slug}, spec_digest="1" * 64, by=SETUP)


def test_a_pointer_in_force_is_not_installed_over(world: World) -> None:
    live = promoted(world).target
    for digest in (make_release(world.task, BOLDER).digest, world.evaluator.digest, live):
        with pytest.raises(BadInput, match="takes a proposal"):
            install_pointer(key="release:digits", digest=digest, reason="Mine.", by=SETUP)
    assert live_release(world.task).digest == live


def test_the_loop_installs_no_pointer(world: World) -> None:
    with pytest.raises(NotAllowed):
        install_pointer(key="evaluator:digits", digest="0" * 64, reason="Mine.", by=LOOP)


def test_a_pointer_points_to_something_registered(world: World) -> None:
    task = install_task(spec={"id": "other"}, spec_digest="1" * 64, by=SETUP)
    harness, theirs = make_release(task, SEED).harness, evaluator_manifest(FAIRER)
    register_version(kind="evaluator", digest=json_digest(theirs), task=task, manifest=theirs, by=SETUP)
    for key, digest in (
        ("release:other", "0" * 64),
        ("release:other", world.seed.digest),
        ("release:other", harness.digest),
        ("evaluator:other", "0" * 64),
        ("evaluator:other", world.evaluator.digest),
        ("evaluator:other", harness.digest),
    ):
        with pytest.raises(BadInput, match="is no registered"):
            install_pointer(key=key, digest=digest, reason="First.", by=SETUP)
    with pytest.raises(BadInput, match="no live release"):
        live_release(task)
    with pytest.raises(BadInput, match="no evaluator in force"):
        evaluator_in_force(task)


def test_a_list_of_files_must_give_the_digest(world: World) -> None:
    with pytest.raises(BadInput, match="does not give its digest"):
        register_version(
            kind="harness",
            digest=entries_digest(SEED),
            task=world.task,
            manifest={"files": file_list(BETTER)},
            by=LOOP,
        )


@pytest.mark.parametrize("files", [None, 3, {"a": 1}, {"a": ["file", "zz"]}, {"a": ["file"]}])
def test_a_list_of_files_that_is_none_is_refused(world: World, files: object) -> None:
    with pytest.raises(BadInput, match="this one is not"):
        register_version(kind="harness", digest="0" * 64, task=world.task, manifest={"files": files}, by=LOOP)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"digest": "abc"}, "not a SHA-256 digest"),
        ({"digest": "A" * 64}, "not a SHA-256 digest"),
        ({"kind": "poem"}, "no kind of version"),
        ({"task": None}, "belongs to a task"),
        ({"kind": "policy", "task": None}, "digest is that of its TOML text"),
    ],
)
def test_a_version_that_does_not_fit_is_refused(world: World, change: dict[str, Any], sentence: str) -> None:
    known: dict[str, Any] = {
        "kind": "harness",
        "digest": "0" * 64,
        "task": world.task,
        "manifest": {},
        "by": LOOP,
    }
    with pytest.raises(BadInput, match=sentence):
        register_version(**(known | change))


def test_one_digest_may_be_that_of_two_kinds(world: World) -> None:
    same: dict[str, Any] = {"digest": "1" * 64, "task": world.task, "manifest": {}, "by": LOOP}
    adapter = register_version(kind="adapter", **same)
    assert register_version(kind="harness", **same) != adapter == register_version(kind="adapter", **same)


def test_an_evaluators_digest_is_that_of_its_manifest(world: World) -> None:
    with pytest.raises(BadInput, match="is that of its manifest"):
        register_version(
            kind="evaluator", digest="0" * 64, task=world.task, manifest=world.evaluator.manifest, by=LOOP
        )


def test_a_policys_digest_is_that_of_its_text(world: World) -> None:
    _, version = policy_in_force()
    with pytest.raises(BadInput, match="digest is that of its TOML text"):
        register_version(kind="policy", digest="0" * 64, task=None, manifest=version.manifest, by=LOOP)
    with pytest.raises(BadInput, match="digest is that of its TOML text"):
        renamed = {**version.manifest, "name": "lax"}
        register_version(kind="policy", digest=version.digest, task=None, manifest=renamed, by=LOOP)


def test_a_release_needs_parts_of_its_own_task_and_a_whole_binding(world: World) -> None:
    binding = {"base_model": "", "tokenizer": "", "runtime": ""}
    harness = make_harness(world.task, BOLDER)
    good = ReleaseDraft(world.task, harness, None, world.seed, binding, "test")
    other = install_task(spec={"id": "other"}, spec_digest="1" * 64, by=SETUP)
    for bad in (
        dataclasses.replace(good, binding={"base_model": ""}),
        dataclasses.replace(good, task=other),
        dataclasses.replace(good, harness=make_adapter(world.task)),
        dataclasses.replace(good, adapter=harness),
        dataclasses.replace(good, adapter=make_adapter(other)),
    ):
        with pytest.raises(BadInput):
            register_release(draft=bad, by=LOOP)
    release = register_release(draft=good, by=LOOP)
    assert (release.parent, release.adapter) == (world.seed, None)


def test_releases_differ_by_what_they_run_with(world: World) -> None:
    harness = make_harness(world.task, SEED)
    binding = {"base_model": "", "tokenizer": "", "runtime": "n" * 64}
    other = register_release(draft=ReleaseDraft(world.task, harness, None, None, binding, "test"), by=LOOP)
    assert other.digest != world.seed.digest
    assert Release.objects.count() == 2


def test_the_first_pointers_are_in_the_history(world: World) -> None:
    assert Pointer.objects.count() == PointerMove.objects.filter(kind="install", generation=0).count() == 4
    assert Version.objects.filter(kind="policy").count() == 1
