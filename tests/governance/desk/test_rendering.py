"""Diffs are drawn from blobs, highlighted, with nothing hidden and nothing executable."""

from __future__ import annotations

import json

import pytest

from governance.desk.rendering import LAZY_ROWS, render_file, shown_files
from governance.desk.visible import visible
from governance.diffs import pack
from governance.errors import BadInput

Tree = dict[str, tuple[str, bytes]]


def packed(old: str | None, new: str | None, path: str = "main.py") -> bytes:
    trees: list[Tree] = [{path: ("file", text.encode())} if text is not None else {} for text in (old, new)]
    return json.dumps(pack(*trees)).encode()


def test_changed_words_are_marked_inside_highlighted_lines() -> None:
    html = render_file(packed("votes = 1\n", "votes = 7\n"), 0, "unified")
    assert '<mark><span class="mi">1</span></mark>' in html
    assert '<mark><span class="mi">7</span></mark>' in html
    assert "<mark>votes" not in html


def test_a_kind_of_word_without_a_colour_of_its_own_has_that_of_the_wider_kind() -> None:
    html = render_file(packed("votes: few\n", "votes: many\n", "settings.yaml"), 0, "unified")
    assert '<mark><span class="l">many</span></mark>' in html


def test_markup_in_a_blob_is_escaped() -> None:
    html = render_file(packed("a\n", "<script>alert(1)</script>\n", "notes.txt"), 0, "unified")
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("character", "picture"),
    [
        ("\u202e", "[U+202E]"),
        ("\u200b", "[U+200B]"),
        ("\x1b", "\u241b"),
        ("\r", "\u240d"),
        ("\x7f", "\u2421"),
        ("\u2028", "[U+2028]"),
        ("\U000e0041", "[U+E0041]"),
    ],
)
@pytest.mark.parametrize("path", ["main.py", "notes.txt"])
def test_a_character_that_could_deceive_is_shown_as_a_picture(
    character: str, picture: str, path: str
) -> None:
    html = render_file(packed("x = 1\n", f"x = {character}2\n", path), 0, "split")
    assert picture in html
    assert character not in html


def test_tabs_and_line_feeds_are_not_pictures() -> None:
    assert visible("a\tb\nc") == "a\tb\nc"


def test_a_line_feed_that_goes_missing_at_the_end_is_shown() -> None:
    html = render_file(packed("a = 1\n", "a = 1"), 0, "unified")
    assert html.count("no line end") == 1
    assert '<tr class="del">' in html and '<tr class="add">' in html


def test_unchanged_lines_between_changes_are_counted() -> None:
    old = "".join(f"line {at}\n" for at in range(40))
    new = old.replace("line 5\n", "line five\n").replace("line 30\n", "line thirty\n")
    html = render_file(packed(old, new, "notes.txt"), 0, "unified")
    assert [part.rsplit(">", 1)[1] + " unchanged lines" for part in html.split(" unchanged lines")[:-1]] == [
        "2 unchanged lines",
        "18 unchanged lines",
        "6 unchanged lines",
    ]


def test_an_added_file_shows_every_line_as_added_side_by_side() -> None:
    html = render_file(packed(None, "one\ntwo\n", "notes.txt"), 0, "split")
    assert html.count('class="code add"') == 2
    assert html.count('class="code none"') == 2
    assert "unchanged" not in html


def test_a_removed_file_shows_every_line_as_removed() -> None:
    html = render_file(packed("one\ntwo\n", None, "notes.txt"), 0, "unified")
    assert html.count('<tr class="del">') == 2
    assert "unchanged" not in html


def test_a_binary_file_is_listed_with_its_digests() -> None:
    trees: list[Tree] = [{}, {"weights.bin": ("file", b"\x00\xff")}]
    (file,) = shown_files(json.dumps(pack(*trees)).encode(), "unified")
    assert file.flags == ("is not text",)
    assert file.html is not None and file.diff.new_sha256 in file.html


def test_a_change_of_mode_alone_is_said_in_words() -> None:
    trees: list[Tree] = [{"run": ("file", b"x\n")}, {"run": ("exec", b"x\n")}]
    (file,) = shown_files(json.dumps(pack(*trees)).encode(), "split")
    assert file.html is not None and "file → exec" in file.html


def test_an_empty_file_that_is_added_is_said_in_words() -> None:
    (file,) = shown_files(packed(None, ""), "unified")
    assert file.html is not None and "empty" in file.html


def test_a_long_diff_is_left_to_be_drawn_when_it_is_opened() -> None:
    body = packed("", "".join(f"x{at}\n" for at in range(LAZY_ROWS + 1)), "notes.txt")
    (file,) = shown_files(body, "unified")
    assert file.html is None
    assert render_file(body, 0, "unified").count("<tr") == LAZY_ROWS + 2  # and the heading


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"files": [{}]}'])
def test_malformed_evidence_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        shown_files(body, "unified")


def test_a_file_that_the_diff_does_not_have_is_refused() -> None:
    with pytest.raises(BadInput, match="has 1 files"):
        render_file(packed("a\n", "b\n"), 1, "unified")
