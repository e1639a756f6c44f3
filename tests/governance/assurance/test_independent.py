"""The verifier that was written from docs/audit-format.md alone agrees with the shipped one, bundle by bundle."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.assurance.bundle import Pins, check_bundle
from governance.assurance.bundle_parts import OK
from tests.governance.assurance import independent_replay, independent_state, independent_verifier
from tests.governance.assurance.conftest import Honest
from tests.governance.assurance.forge import KEY, Forged, signed, story, with_new_manifest
from tests.governance.assurance.history import Forger, History
from tests.governance.assurance.independent_verifier import Verifier
from tests.governance.assurance.test_bundle import flipped, pinned, sampled, tree_of
from tests.governance.assurance.test_forged_histories import bundle

pytestmark = pytest.mark.one_database

Forge = Callable[[Forger], object]


def test_it_shares_no_code_with_the_service() -> None:
    for module in (independent_verifier, independent_replay, independent_state):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names += [
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        ]
        assert not [name for name in names if name.startswith(("governance", "loop", "django"))]


def test_both_accept_honest_bundles(honest: Honest, rich: History) -> None:
    mine = Verifier(honest.read, [honest.key], honest.kept)
    assert mine.status() == check_bundle(honest.read, pinned(honest)).status == OK
    assert Verifier(bundle(Forger(rich)), [str(KEY)]).status() == OK
    filtered = Forged(list(story().values()), filters={"task": "digits"}, leave_out=frozenset({1, 2})).files()
    assert Verifier(filtered, [str(KEY)]).status() == OK


def test_both_give_the_same_status_to_changed_bytes(honest: Honest) -> None:
    proofs = sorted(name for name in honest.read if name.startswith("proofs/"))[2:]
    for name, data in honest.read.items():
        for place in sampled(data, 6) if name not in proofs else ():
            files = {**honest.read, name: flipped(data, place)}
            derived = name == "MANIFEST.json" or name.startswith("views/")  # only verify.py defines the views
            for each in (files,) if derived else (files, with_new_manifest(files)):
                mine = Verifier(each, [honest.key], honest.kept).status()
                assert mine == check_bundle(each, pinned(honest)).status, (name, place)


def test_both_give_the_same_status_to_missing_added_and_rewritten_parts(honest: Honest) -> None:
    for name in honest.read:
        left = {path: data for path, data in honest.read.items() if path != name}
        more = {**honest.read, f"{name}.more": b"x"}
        for files in (
            left,
            more,
            with_new_manifest(more),
            *([with_new_manifest(left)] if name in left else []),
        ):
            mine = Verifier(files, [honest.key], honest.kept).status()
            assert mine == check_bundle(files, pinned(honest)).status, name


def test_both_catch_a_rewritten_log_by_the_pin_alone() -> None:
    told = list(story().values())
    kept = signed(tree_of(Forged(told).files()))
    for log in (told[:-1], [*told[:3], {**told[3], "reason": "Another past."}, *told[4:]]):
        files = Forged(log).files()
        assert Verifier(files, [str(KEY)]).status() == check_bundle(files, Pins([str(KEY)])).status
        mine = Verifier(files, [str(KEY)], kept).status()
        assert mine == check_bundle(files, Pins([str(KEY)], kept)).status and mine in {2, 3}
