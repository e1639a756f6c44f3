"""Diffs from blobs: nothing that changed can hide."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.diffs import (
    FLAGS,
    MAX_BYTES,
    MAX_LINES,
    MAX_MARKED,
    FileDiff,
    changed_lines,
    pack,
    tree_diff,
    unpack,
)
from governance.matching import Matching

Tree = dict[str, tuple[str, bytes]]


def _one(old: bytes | None, new: bytes | None, modes: tuple[str, str] = ("file", "file")) -> FileDiff:
    before = {} if old is None else {"x": (modes[0], old)}
    after = {} if new is None else {"x": (modes[1], new)}
    (only,) = tree_diff(before, after)
    return only


def _text(diff: FileDiff, side: str) -> list[str]:
    return [
        getattr(row, side).text for hunk in diff.hunks for row in hunk.rows if getattr(row, side) is not None
    ]


def test_equal_trees_have_no_difference() -> None:
    assert tree_diff({"a": ("file", b"1")}, {"a": ("file", b"1")}) == []


def test_added_removed_and_modified_paths_are_all_listed_in_order() -> None:
    old: Tree = {"gone": ("file", b"1\n"), "same": ("file", b"1"), "x": ("file", b"1")}
    new: Tree = {"new": ("file", b"1\n2\n"), "same": ("file", b"1"), "x": ("file", b"2")}
    found = [(diff.path, diff.status, diff.added, diff.removed) for diff in tree_diff(old, new)]
    assert found == [("gone", "removed", 0, 1), ("new", "added", 2, 0), ("x", "modified", 1, 1)]
    assert changed_lines(tree_diff(old, new)) == 5


def test_changed_words_are_marked_on_both_sides() -> None:
    diff = _one(b"votes = 1  # few\n", b"votes = 30  # few\n")
    (row,) = diff.hunks[0].rows
    assert row.kind == "changed"
    assert row.old and row.new
    assert [row.old.text[low:high] for low, high in row.old.marks] == ["1"]
    assert [row.new.text[low:high] for low, high in row.new.marks] == ["30"]


def test_lines_with_nothing_in_common_are_not_marked() -> None:
    (row,) = _one(b"import os\n", b"zzzz(((99)))\n").hunks[0].rows
    assert row.old and row.old.marks == ()


@pytest.mark.parametrize(("longest", "marked"), [(MAX_MARKED, True), (MAX_MARKED + 1, False)])
def test_words_are_marked_in_lines_up_to_a_length(longest: int, marked: bool) -> None:
    line = b"votes = 1 #".ljust(longest, b"-")
    (row,) = _one(line, line.replace(b"1", b"3")).hunks[0].rows
    assert row.old and row.new and (bool(row.old.marks), bool(row.new.marks)) == (marked, marked)


def test_unchanged_lines_far_away_are_left_out_and_near_ones_numbered() -> None:
    old = "".join(f"line {n}\n" for n in range(1, 41)).encode()
    diff = _one(old, old.replace(b"line 20\n", b"line twenty\n"))
    (hunk,) = diff.hunks
    assert (hunk.old_start, hunk.old_count, hunk.new_start, hunk.new_count) == (17, 7, 17, 7)
    assert [sign for sign, _, _ in hunk.unified()] == [" ", " ", " ", "-", "+", " ", " ", " "]
    assert [row.old.number for row in hunk.rows if row.old] == list(range(17, 24))


def test_removals_come_before_additions_in_the_unified_form() -> None:
    (hunk,) = _one(b"a\nb\n", b"c\nd\ne\n").hunks
    assert [(sign, line.text) for sign, line, _ in hunk.unified()] == [
        ("-", "a"),
        ("-", "b"),
        ("+", "c"),
        ("+", "d"),
        ("+", "e"),
    ]


def test_an_attributes_file_cannot_hide_another_file() -> None:
    new: Tree = {".gitattributes": ("file", b"* -diff\n"), "main.py": ("file", b"evil()\n")}
    shown = tree_diff({"main.py": ("file", b"good()\n")}, new)
    assert [diff.path for diff in shown] == [".gitattributes", "main.py"]
    assert _text(shown[1], "new") == ["evil()"]


@pytest.mark.parametrize(
    ("diff", "flag"),
    [
        (_one(None, b"/etc/passwd", ("file", "link")), "link"),
        (_one(b"x", b"x", ("file", "exec")), "mode"),
        (_one(None, b"x", ("file", "exec")), "mode"),
        (_one(b"x", b"\xff\xfe"), "binary"),
        (_one(b"x", b"a\x00b"), "binary"),
        (_one(b"x", b"y" * (MAX_BYTES + 1)), "oversize"),
        (_one(b"x", b"y\n" * (MAX_LINES + 1)), "oversize"),
        (_one(b"x", "if a\u202e b".encode()), "bidi"),
        (_one(b"x", "a\u200bb".encode()), "invisible"),
        (_one(b"x", b"\x1b[2Jgone"), "control"),
        (_one("a\u202eb".encode(), b"ab"), "bidi"),
    ],
)
def test_what_could_deceive_a_reader_is_flagged(diff: FileDiff, flag: str) -> None:
    assert flag in diff.flags
    assert flag in FLAGS


def test_plain_text_is_not_flagged() -> None:
    assert _one("grüße\n".encode(), "größe\t\r\n".encode()).flags == ()


def test_binary_and_oversize_files_are_listed_without_lines() -> None:
    for diff in (_one(b"x", b"\0"), _one(None, b"y" * (MAX_BYTES + 1))):
        assert (diff.hunks, diff.added, diff.removed) == ((), None, None)
        assert changed_lines([diff]) is None


def test_paths_that_differ_by_case_only_are_flagged() -> None:
    (diff,) = tree_diff({"Main.py": ("file", b"1")}, {"Main.py": ("file", b"1"), "main.py": ("file", b"2")})
    assert diff.flags == ("case",)


def test_a_path_that_reorders_text_is_flagged() -> None:
    (diff,) = tree_diff({}, {"a\u202eyp.txt": ("file", b"1")})
    assert diff.flags == ("path",)


def test_a_line_separator_of_unicode_does_not_start_a_line_but_shows_as_control() -> None:
    diff = _one(b"", "a\u2028b\n".encode())
    assert _text(diff, "new") == ["a\u2028b"]
    assert "control" in diff.flags


def test_a_file_that_becomes_empty_and_one_that_loses_its_last_line_end_are_shown() -> None:
    assert _one(b"x\n", b"").removed == 1
    ends = _one(b"x\n", b"x")
    assert (ends.added, ends.removed) == (1, 1)


TREES = st.dictionaries(
    st.sampled_from(["a", "b/c", "main.py"]),
    st.tuples(
        st.sampled_from(["file", "exec", "link"]), st.one_of(st.binary(max_size=30), st.just(b"x\ny\n"))
    ),
)


@given(TREES, TREES)
def test_packing_loses_nothing_of_what_differs(old: Tree, new: Tree) -> None:
    before, after = unpack(json.loads(json.dumps(pack(old, new))))
    assert before == {path: blob for path, blob in old.items() if new.get(path) != blob}
    assert after == {path: blob for path, blob in new.items() if old.get(path) != blob}
    assert [diff.path for diff in tree_diff(before, after)] == [diff.path for diff in tree_diff(old, new)]


LINES = st.lists(st.sampled_from(["a", "b", "a b", ""]), max_size=12)


@given(LINES, LINES)
def test_both_sides_and_the_unified_form_agree(old: list[str], new: list[str]) -> None:
    before, after = ("".join(f"{line}\n" for line in lines).encode() for lines in (old, new))
    for diff in tree_diff({"x": ("file", before)}, {"x": ("file", after)}):
        for hunk in diff.hunks:
            signs = [(sign, line.number) for sign, line, _ in hunk.unified()]
            assert [n for sign, n in signs if sign in " -"] == [
                row.old.number for row in hunk.rows if row.old
            ]
            assert sum(sign in " +" for sign, _ in signs) == hunk.new_count
            for row in hunk.rows:
                if row.old:
                    assert row.old.text == old[row.old.number - 1]
                if row.new:
                    assert row.new.text == new[row.new.number - 1]


LONG = " ".join("ab"[at % 2] for at in range(MAX_MARKED // 2))
FEW = b"".join(b"%d\n" % (at % 50) for at in range(MAX_LINES))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (FEW, b"".join(b"%d\n" % (at * 7 % 50) for at in range(MAX_LINES))),
        (
            b"".join(b"%d\n" % at for at in range(MAX_LINES)),
            b"".join(b"%d\n" % (at | 1) for at in range(MAX_LINES)),
        ),
        (b"".join(b"%d\n" % (at >> 1) for at in range(MAX_LINES)), FEW),
        (f"{LONG}\n".encode() * 200, (LONG.replace("a b a", "b a c") + "\n").encode() * 200),
    ],
    ids=["few different lines", "every second line", "every line twice", "few different words"],
)
def test_what_is_made_to_be_compared_for_hours_is_compared_in_seconds_and_shown_whole(
    old: bytes, new: bytes
) -> None:
    began = time.process_time()
    files = tree_diff(
        {f"{at}": ("file", old) for at in range(5)}, {f"{at}": ("file", new) for at in range(5)}
    )
    assert time.process_time() - began < 30
    for found in files:
        rows = [row for hunk in found.hunks for row in hunk.rows]
        gone = [row.old.text for row in rows if row.old and row.kind != "same"]
        came = [row.new.text for row in rows if row.new and row.kind != "same"]
        same = old.decode().splitlines()
        assert len(same) - len(gone) + len(came) == len(new.decode().splitlines())


@given(
    old=st.lists(st.sampled_from("abcdefgh")),
    new=st.lists(st.sampled_from("abcdefgh")),
    most=st.integers(0, 30),
)
def test_however_little_is_compared_the_changes_lead_from_one_side_to_the_other(
    old: list[str], new: list[str], most: int
) -> None:
    matcher = Matching(old, new, most)
    made = []
    for tag, low, high, start, stop in matcher.get_opcodes():
        made += new[start:stop] if tag != "equal" else old[low:high]
        assert (old[low:high] == new[start:stop]) == (tag == "equal")
    assert made == new
    assert all(block.size for block in matcher.get_matching_blocks()[:-1])


def test_what_stands_once_on_each_side_divides_what_is_too_long_to_compare() -> None:
    def common(old: str, new: str, most: int) -> list[str]:
        blocks = Matching(list(old), list(new), most).get_matching_blocks()[:-1]
        return [old[block.a : block.a + block.size] for block in blocks]

    assert common("aaxbbyccz", "ddxeezffy", 4) == ["x", "z"]
    assert common("abaxb-aay", "cbaxa-bay", 1) == ["bax", "-", "ay"]
    assert common("aabb", "baab", 3) == ["b", "b"]
    assert common("aabb", "baab", 9) == ["aa", "b"]
