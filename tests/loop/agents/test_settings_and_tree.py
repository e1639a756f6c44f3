"""Reading and changing settings.toml, the harness tree's rules, and kinds of failure."""

from __future__ import annotations

import difflib

import pytest

from loop.agents.failures import count_failures
from loop.agents.settings_file import Scalar, parse_settings, write_values
from loop.agents.tree import changes, check_texts
from loop.errors import HarnessError
from loop.harness_tree import LIMITS, check_path, with_edits
from loop.types import ModelCall
from tests.loop.agents.samples import HARNESS, MAIN, SETTINGS


def changed_lines(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


def test_settings_are_read_in_order_with_their_bounds() -> None:
    settings = parse_settings(SETTINGS)
    assert list(settings) == ["votes", "temperature", "style", "strict"]
    assert settings["votes"].choices == (1, 3, 5) and settings["temperature"].step == 0.25
    assert not settings["style"].searchable


def test_new_values_change_only_their_own_lines_and_keep_comments() -> None:
    new = write_values(SETTINGS, {"votes": 3, "style": 'a "b"', "strict": False})
    assert changed_lines(SETTINGS, new) == [
        "-value = 1          # asked once",
        "+value = 3          # asked once",
        '-value = "plain # not a comment"   # a comment',
        '+value = "a \\"b\\""   # a comment',
        "-value = true",
        "+value = false",
    ]
    assert parse_settings(new)["style"].value == 'a "b"'


def test_the_same_values_change_no_byte() -> None:
    values: dict[str, Scalar] = {name: entry.value for name, entry in parse_settings(SETTINGS).items()}
    assert write_values(SETTINGS, values) == SETTINGS


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_line_endings_are_kept(newline: str) -> None:
    text = SETTINGS.replace("\n", newline)
    assert write_values(text, {"votes": 5}).count(newline) == text.count(newline)


def test_a_layout_that_cannot_be_changed_safely_is_refused() -> None:
    with pytest.raises(HarnessError, match="line of its own"):
        write_values('votes = { value = 1, type = "int" }\n', {"votes": 2})
    with pytest.raises(HarnessError, match="does not declare shifts"):
        write_values(SETTINGS, {"shifts": 2})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a", "not valid TOML"),
        ("a = 1", "needs a value"),
        ('[a]\nvalue = 1\ntype = "number"', "one of int"),
        ('[a]\nvalue = 1.5\ntype = "int"', "not of type int"),
        ('[a]\nvalue = true\ntype = "int"', "not of type int"),
        ('[a]\nvalue = nan\ntype = "float"', "finite"),
        ('[a]\nvalue = 5\ntype = "int"\nmin = 0\nmax = 3', "outside 0 to 3"),
        ('[a]\nvalue = 1\ntype = "int"\nmin = 4\nmax = 3', "larger than max"),
        ('[a]\nvalue = 1\ntype = "int"\nmin = "x"', "min must be a number"),
        ('[a]\nvalue = "x"\ntype = "choice"', "needs choices"),
        ('[a]\nvalue = "x"\ntype = "choice"\nchoices = ["y"]', "not one of its choices"),
        ('[a]\nvalue = "x"\ntype = "choice"\nchoices = [[]]', "list of strings"),
        ('[a]\nvalue = 1\ntype = "int"\nmaximum = 3', "does not know maximum"),
    ],
)
def test_a_wrong_declaration_is_named(text: str, words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        parse_settings(text)


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", ".git/config", "a/.hidden", "a\\b", "x" * 200, "ü.py"],
)
def test_a_path_outside_the_tree_is_refused(path: str) -> None:
    with pytest.raises(HarnessError):
        check_path(path)


def test_edits_and_changes_are_each_others_inverse() -> None:
    edits = {"main.py": "x = 1\n", "new/file.txt": "hello", "prompts/ask.txt": None}
    edited = with_edits(HARNESS, edits)
    assert "prompts/ask.txt" not in edited and edited["main.py"] == "x = 1\n"
    assert changes(HARNESS, edited) == edits


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"other.py": ""}, "no main.py"),
        ({"main.py": "def"}, r"not valid Python \(line 1\)"),
        ({"main.py": MAIN, "lib.py": "x ="}, "lib.py is not valid Python"),
        ({"main.py": MAIN, "x.txt": "a\0b"}, "NUL"),
        ({"main.py": MAIN, "x.txt": "\ud800"}, "not Unicode"),
        ({"main.py": MAIN, "x.txt": "a" * (LIMITS.file_bytes + 1)}, "may have"),
        ({"main.py": MAIN, **{f"f{number}.txt": "" for number in range(LIMITS.files)}}, "501 files"),
        (
            {"main.py": MAIN, **{f"f{number}.txt": "a" * LIMITS.file_bytes for number in range(20)}},
            "21 files, 5 MiB",
        ),
        ({"main.py": MAIN, "settings.toml": "[a"}, "not valid TOML"),
        ({"main.py": MAIN, "../x": ""}, "leaves the harness"),
    ],
)
def test_a_tree_that_is_no_harness_is_refused(files: dict[str, str], words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        check_texts(files)


def call(item: str | None, status: int = 200, finish: str = "stop") -> ModelCall:
    reply = {"choices": [{"message": {"content": "x"}, "finish_reason": finish}]} if status == 200 else None
    return ModelCall(0, "openai", "task-model", "m", {}, reply, status, "", 1, 1, 0.0, 1.0, item)


def test_failures_are_told_apart_by_what_went_wrong() -> None:
    items = {"right": 1.0, "cut": 0.0, "blank": 0.0, "broken": 0.0, "slow": 0.0, "wrong": 0.0, "alone": 0.2}
    calls = [
        call("right", 502),
        call("cut", finish="length"),
        call("blank"),
        call("broken", 502),
        call("slow", 504),
        call("wrong"),
        call(None, 500),
    ]
    predictions = {
        name: {"id": name, "answer": "" if name in ("cut", "blank") else "three"}
        for name in items
        if name != "alone"
    }
    kinds = count_failures(items, calls, predictions)
    assert kinds == {"format": 2, "judgement": 1, "parse": 1, "timeout": 1, "tool": 1}
    assert count_failures(items, calls) == {"judgement": 4, "timeout": 1, "tool": 1}
