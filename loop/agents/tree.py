"""A harness tree as an agent holds it: {posix path: text}. Pure checks, no file system."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from loop.agents.settings_file import SETTINGS, parse_settings
from loop.errors import HarnessError
from loop.harness_tree import check_size, check_tree


def check_text(path: str, text: str) -> str:
    """`text` itself when it may be a file of the tree. Raises HarnessError otherwise."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise HarnessError(f"{path} holds characters that are not Unicode text.") from error
    if "\0" in text:
        raise HarnessError(f"{path} holds NUL characters; a harness is made of text files.")
    check_size(path, size)
    return text


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str | None]:
    """The edits that make `new` of `old`."""
    out: dict[str, str | None] = {path: text for path, text in new.items() if old.get(path) != text}
    return out | {path: None for path in old if path not in new}


def check_texts(files: Mapping[str, str]) -> None:
    """Raise HarnessError unless the files are a harness (loop.harness_tree), of text only and of Python that parses."""
    for path, text in files.items():
        check_text(path, text)
    check_tree({path: len(text.encode()) for path, text in files.items()})
    for path, text in files.items():
        if path.endswith(".py"):
            check_python(path, text)
    if SETTINGS in files:
        parse_settings(files[SETTINGS])


def check_python(path: str, text: str) -> None:
    """Raise HarnessError with the line when `text` is not Python."""
    try:
        ast.parse(text, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        raise HarnessError(f"{path} is not valid Python (line {line}): {error}.") from error
