"""Digests of trees, releases and subjects; lanes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from governance.capabilities import Measures
from governance.digests import (
    entries_digest,
    file_list,
    files_digest,
    json_digest,
    read_tree,
    tree_digest,
    tree_files,
)
from governance.errors import BadInput
from governance.lanes import Change, classify
from governance.policy import Envelope
from governance.subjects import PARTS, current_subject, subject_digest, what_moved
from tests.governance.cast import World, drafted, ready

ENVELOPE = Envelope(("settings.toml", "prompts/*"), 200, 5_000, ("*.lock",), ("os",))
TREE = {"settings.toml": ("file", b"votes = 1\n"), "main.py": ("file", b"print(1)\n")}


def _change(new: dict[str, tuple[str, bytes]], lines: int | None = 2) -> Change:
    return Change(False, True, file_list(TREE), file_list(new), Measures(lines, lines, {}))


def test_a_tree_digest_depends_on_every_path_mode_and_byte() -> None:
    variants = [
        TREE,
        {**TREE, "x": ("file", b"")},
        {**TREE, "main.py": ("exec", b"print(1)\n")},
        {**TREE, "main.py": ("link", b"print(1)\n")},
        {**TREE, "main.py": ("file", b"print(2)\n")},
        {"settings.toml": TREE["settings.toml"], "Main.py": TREE["main.py"]},
        {"settings.toml": TREE["settings.toml"]},
    ]
    assert len({entries_digest(tree) for tree in variants}) == len(variants)


def test_a_folder_has_the_digest_of_its_entries_however_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.md").write_bytes(b"\xff\x00")
    (tmp_path / "run.sh").write_text("true")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "away").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("prompts")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_bytes(b"x")
    tree = read_tree(tmp_path)
    assert tree == {
        "prompts/a.md": ("file", b"\xff\x00"),
        "run.sh": ("exec", b"true"),
        "away": ("link", b"/etc/passwd"),
        "folder": ("link", b"prompts"),
    }
    assert tree_digest(tmp_path) == entries_digest(tree) == files_digest(tree_files(tmp_path))


def test_a_tree_with_a_special_file_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="neither a file"):
        tree_digest(tmp_path)


def test_the_digest_of_a_tree_never_changes_between_versions_of_this_program() -> None:
    assert entries_digest(TREE) == "06ae6a01b540050f0c49cd1244805980da375a81752c8c0ffcafcad89dea908d"


def test_a_subject_names_every_part_and_what_moved_says_which(world: World) -> None:
    proposal = ready(world)
    subject = current_subject(proposal)
    assert set(subject) == set(PARTS)
    assert subject == proposal.subject
    assert subject_digest(subject) == proposal.subject_digest
    assert what_moved(subject, subject) == ""
    for part in PARTS:
        moved = {**subject, part: "other"}
        assert subject_digest(moved) != proposal.subject_digest
        assert PARTS[part] in what_moved(subject, moved).lower()


def test_several_parts_that_moved_are_listed() -> None:
    sentence = what_moved({}, {"base": "1", "policy": "2", "evidence": "3"})
    assert sentence == (
        "The live version that it replaces, the policy in force and the evidence moved since the proposal became ready."
    )


def test_the_subject_of_an_unverified_proposal_can_be_asked_for(world: World) -> None:
    assert current_subject(drafted(world))["base"] == world.seed.digest


@pytest.mark.parametrize(
    ("change", "lane", "words"),
    [
        (_change({**TREE, "settings.toml": ("file", b"votes = 2\n")}), "harness", "inside the envelope"),
        (_change({**TREE, "prompts/new.md": ("file", b"x")}), "harness", "inside the envelope"),
        (_change({**TREE, "main.py": ("file", b"")}), "harness_outside", "changes main.py, outside"),
        (
            _change({**TREE, "a": ("file", b""), "b": ("file", b"")}),
            "harness_outside",
            "changes a and 1 more",
        ),
        (_change({"main.py": TREE["main.py"]}), "harness", "inside the envelope"),
        (_change({**TREE, "settings.toml": ("link", b"/x")}), "harness_outside", "a link or a program"),
        (
            _change({**TREE, "settings.toml": ("exec", b"votes = 1\n")}),
            "harness_outside",
            "a link or a program",
        ),
        (_change({**TREE, "settings.toml": ("file", b"2")}, None), "harness_outside", "is not known"),
        (_change({**TREE, "settings.toml": ("file", b"2")}, 201), "harness_outside", "ends at 200"),
        (replace(_change(TREE), adapter_changed=True), "adapter", "and changes the harness"),
        (Change(True, False, None, None), "adapter", "another adapter."),
        (Change(False, False, None, None), "harness_outside", "only what they run with"),
        (Change(False, True, None, file_list(TREE)), "harness_outside", "is not known"),
    ],
)
def test_the_lane_follows_from_what_changes(change: Change, lane: str, words: str) -> None:
    found, reason = classify(change, ENVELOPE)
    assert found == lane
    assert words in reason


@pytest.mark.parametrize("value", [float("nan"), 2**60, {1: 2}, object()])
def test_what_json_cannot_hold_has_no_digest(value: object) -> None:
    with pytest.raises(BadInput, match="canonical JSON"):
        json_digest(value)
