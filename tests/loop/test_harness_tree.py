"""One set of rules for every harness tree, whoever holds it and in whatever form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loop.agents.tree import check_texts
from loop.errors import HarnessError
from loop.harness_tree import (
    LIMITS,
    TreeLimits,
    check_folder,
    check_path,
    check_tree,
    files_below,
    with_edits,
)
from loop.repos import edited, read_tree

SMALL = TreeLimits(files=3, file_bytes=2048, tree_bytes=3 << 10, path=20)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"other.py": 1}, r"no main\.py at its top"),
        (
            {"main.py": 2049},
            r"main\.py alone has 2 KiB\); it may have 3 files of 2 KiB each and 3 KiB together",
        ),
        ({"main.py": 1, "a": 1, "b": 1, "c": 1}, r"too large \(4 files, 4 bytes\)"),
        ({"main.py": 2000, "a": 2000}, r"too large \(2 files, 3\.91 KiB\)"),
        ({"main.py": 1, "x" * 21: 1}, "up to 20 characters"),
        ({"main.py": 1, "main.py/a": 1}, r"main\.py is a file of the harness and a folder of it too"),
        ({"main.py": 1, "a/b": 1, "a/b/c/d": 1}, "a/b is a file"),
    ],
)
def test_a_tree_past_a_limit_is_refused_with_the_figures(sizes: dict[str, int], words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        check_tree(sizes, SMALL)


def test_a_tree_at_its_limits_is_a_harness() -> None:
    check_tree({"main.py": 2048, "lib/a_b-c.d": 1024, "x" * 20: 0}, SMALL)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "./a",
        "../a",
        "a/../b",
        ".git/config",
        "a/.hidden",
        "a b",
        "ü",
        "a\0b",
        "a\\b",
        "__pycache__/a.pyc",
    ],
)
def test_a_path_that_is_no_plain_path_inside_is_refused(path: str) -> None:
    with pytest.raises(HarnessError, match=r"not allowed|not a path"):
        check_path(path)


def test_edits_replace_add_and_remove_and_leave_the_tree_alone() -> None:
    tree = {"main.py": 1, "a": 2, "b": 3}
    assert with_edits(tree, {"a": None, "b": 4, "c": 5, "gone": None}) == {"main.py": 1, "b": 4, "c": 5}
    assert tree == {"main.py": 1, "a": 2, "b": 3}


def test_every_form_of_a_tree_has_the_same_limits(tmp_path: Path) -> None:
    many = {f"f{number}.txt": "" for number in range(LIMITS.files)}
    wanted = f"{LIMITS.files + 1} files"
    with pytest.raises(HarnessError, match=wanted) as of_texts:
        check_texts({"main.py": "", **many})
    with pytest.raises(HarnessError, match=wanted) as of_edits:
        edited({"main.py": ("file", b"")}, dict(many))
    for name in ("main.py", *many):
        (tmp_path / name).touch()
    with pytest.raises(HarnessError, match=wanted) as of_folder:
        check_folder(tmp_path)
    with pytest.raises(HarnessError, match=wanted) as of_reading:
        read_tree(tmp_path)
    assert str(of_texts.value) == str(of_edits.value) == str(of_folder.value) == str(of_reading.value)


def test_git_and_compiled_code_are_no_part_of_a_folder(tmp_path: Path) -> None:
    for name in (".git", "__pycache__"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "odd name").write_bytes(bytes(10))
    (tmp_path / "main.py").touch()
    check_folder(tmp_path, SMALL)
    assert list(read_tree(tmp_path)) == ["main.py"]


@pytest.mark.parametrize(
    ("folders", "words"), [("d/" * 700, "120 characters"), (None, "more than 500 folders")]
)
def test_a_folder_too_deep_or_with_too_many_folders_is_refused_however_it_is_read(
    tmp_path: Path, folders: str | None, words: str
) -> None:
    (tmp_path / "main.py").touch()
    if folders is None:
        for index in range(501):
            (tmp_path / f"e{index}").mkdir()
    else:
        os.makedirs(tmp_path / folders)
    for read in (check_folder, read_tree):
        with pytest.raises(HarnessError, match=words):
            read(tmp_path)


def test_a_link_to_a_folder_is_an_entry_and_never_followed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "main.py").touch()
    (tree / "data").symlink_to(tmp_path)
    check_folder(tree)
    assert sorted(path.name for path in files_below(tree)) == ["data", "main.py"]
    with pytest.raises(HarnessError, match="not a regular file"):
        read_tree(tree)
