"""Harness trees as commits, and artifacts in the store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import git
import pytest

from governance.digests import tree_digest
from loop.errors import HarnessError, TaskError
from loop.repos import CommitNote, HarnessRepo, digest_of, edited, read_tree, write_tree
from loop.store import Store

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOTE = CommitNote(
    "Generation 1: votes = 3", "feedback:search", MOMENT, {"Campaign": "c1", "Decision": "two\nlines"}
)
TREE = {
    "main.py": ("file", b"print(1)\n"),
    "bin/run.sh": ("exec", b"#!/bin/sh\n"),
    "prompts/a.md": ("file", b"hi"),
}


def test_a_commit_gives_back_the_tree_and_its_trailers(tmp_path: Path) -> None:
    repo = HarnessRepo(tmp_path / "r.git")
    commit = repo.commit(TREE, None, NOTE, "campaign/c1/g1")
    assert repo.read(commit) == TREE
    with git.Repo(repo.path) as plain:
        made = plain.commit(commit)
        assert made.trailers_dict == {"Campaign": ["c1"], "Decision": ["two lines"]}
        assert made.author.name == "feedback:search"
        assert plain.commit("campaign/c1/g1") == made


def test_the_same_commit_twice_has_the_same_id(tmp_path: Path) -> None:
    repo = HarnessRepo(tmp_path / "r.git")
    assert repo.commit(TREE, None, NOTE, "b") == repo.commit(TREE, None, NOTE, "b")


def test_a_tree_on_disk_has_the_digest_of_its_entries(tmp_path: Path) -> None:
    write_tree(TREE, tmp_path / "tree")
    assert tree_digest(tmp_path / "tree") == digest_of(TREE)
    assert read_tree(tmp_path / "tree") == TREE


def test_a_link_in_a_harness_is_refused(tmp_path: Path) -> None:
    write_tree(TREE, tmp_path / "tree")
    (tmp_path / "tree" / "link").symlink_to("/etc/passwd")
    with pytest.raises(HarnessError, match="not a regular file"):
        read_tree(tmp_path / "tree")


@pytest.mark.parametrize("path", ["../up.py", "/abs.py", "a//b.py", ".git/config", "a/../b.py"])
def test_an_edit_cannot_leave_the_tree(path: str) -> None:
    with pytest.raises(HarnessError, match="leaves the harness tree or is hidden"):
        edited(TREE, {path: "x"})


def test_an_edit_cannot_remove_main() -> None:
    with pytest.raises(HarnessError, match=r"no main\.py"):
        edited(TREE, {"main.py": None})


def test_an_edit_keeps_the_mode_and_removes_what_it_names() -> None:
    made = edited(TREE, {"bin/run.sh": "#!/bin/bash\n", "prompts/a.md": None})
    assert made == {"main.py": TREE["main.py"], "bin/run.sh": ("exec", b"#!/bin/bash\n")}


def test_an_unknown_commit_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="restore it from a backup"):
        HarnessRepo(tmp_path / "r.git").read("0" * 40)


def test_the_live_branch_moves_by_compare_and_swap(tmp_path: Path) -> None:
    repo = HarnessRepo(tmp_path / "r.git")
    first = repo.commit(TREE, None, NOTE, "b")
    second = repo.commit(edited(TREE, {"main.py": "print(2)\n"}), first, NOTE, "b")
    repo.move_live(first, "")
    with pytest.raises(git.GitCommandError):
        repo.move_live(second, second)
    repo.move_live(second, first)
    with git.Repo(repo.path) as plain:
        assert plain.commit("live").hexsha == second


def test_the_store_keeps_a_folder_once_by_its_digest(tmp_path: Path) -> None:
    write_tree(TREE, tmp_path / "tree")
    store = Store(tmp_path / "store")
    digest = store.put(tmp_path / "tree")
    assert store.put(tmp_path / "tree") == digest
    assert read_tree(store.path(digest)) == TREE


def test_the_store_refuses_what_was_changed_or_lost(tmp_path: Path) -> None:
    write_tree(TREE, tmp_path / "tree")
    store = Store(tmp_path / "store")
    digest = store.put(tmp_path / "tree")
    (store.root / digest / "main.py").write_text("print(3)\n")
    with pytest.raises(TaskError, match="was changed on disk"):
        store.path(digest)
    with pytest.raises(TaskError, match="is not in"):
        store.path("0" * 64)
