"""A harness tree in memory: {posix path: text}. Pure checks, no file system."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from loop.agents.settings_file import SETTINGS, parse_settings
from loop.errors import HarnessError

MAIN = "main.py"
MAX_FILES = 64
MAX_FILE_BYTES = 256 * 1024
MAX_TREE_BYTES = 1024 * 1024
MAX_PATH = 120
SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")


def check_path(path: str) -> str:
    """`path` itself when it names a file inside the tree. Raises HarnessError otherwise."""
    parts = path.split("/")
    if not path or len(path) > MAX_PATH or not SAFE.issuperset(path):
        raise HarnessError(
            f"{path[:80]!r} is not a path of letters, digits and ._-/ up to {MAX_PATH} characters."
        )
    if any(part in ("", ".", "..") or part.startswith(".") for part in parts):
        raise HarnessError(f"{path!r} leaves the harness tree or is hidden; use a relative path inside it.")
    return path


def check_text(path: str, text: str) -> str:
    """`text` itself when it may be a file of the tree. Raises HarnessError otherwise."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise HarnessError(f"{path} holds characters that are not Unicode text.") from error
    if "\0" in text:
        raise HarnessError(f"{path} holds NUL characters; a harness is made of text files.")
    if size > MAX_FILE_BYTES:
        raise HarnessError(f"{path} has {size} bytes; a file of a harness may have {MAX_FILE_BYTES}.")
    return text


def with_edits(files: Mapping[str, str], edits: Mapping[str, str | None]) -> dict[str, str]:
    """The tree after edits; None removes a file."""
    out = {path: text for path, text in files.items() if edits.get(path, text) is not None}
    return out | {path: text for path, text in edits.items() if text is not None}


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str | None]:
    """The edits that make `new` of `old`."""
    out: dict[str, str | None] = {path: text for path, text in new.items() if old.get(path) != text}
    return out | {path: None for path in old if path not in new}


def check_tree(files: Mapping[str, str]) -> None:
    """Raise HarnessError unless the tree has main.py, Python that parses, text only, within the limits."""
    if MAIN not in files:
        raise HarnessError(f"The harness has no {MAIN}; it is what the sandbox runs.")
    if len(files) > MAX_FILES:
        raise HarnessError(f"The harness has {len(files)} files; it may have {MAX_FILES}.")
    for path, text in files.items():
        check_text(check_path(path), text)
        if path.endswith(".py"):
            check_python(path, text)
    total = sum(len(text.encode()) for text in files.values())
    if total > MAX_TREE_BYTES:
        raise HarnessError(f"The harness has {total} bytes; it may have {MAX_TREE_BYTES}.")
    if SETTINGS in files:
        parse_settings(files[SETTINGS])


def check_python(path: str, text: str) -> None:
    """Raise HarnessError with the line when `text` is not Python."""
    try:
        ast.parse(text, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        raise HarnessError(f"{path} is not valid Python (line {line}): {error}.") from error
