"""D5, the edit: what changed files of a harness contain, read from their syntax tree and never run."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from loop.detectors.exhibit import MOST_EXCERPTS, Exhibit, Files, Sight, excerpt
from loop.detectors.literals import TooMuchText, literals
from loop.detectors.reach import private_path, reach
from loop.detectors.tables import data_file, packed, table

SETTINGS = "settings.toml"
BUDGET_KEYS = re.compile(
    r"model|temperature|top_p|max_tokens|tokens|budget|cost|deadline|timeout|seed|n|calls"
)
LEAST_ID = 6
WORD = re.compile(r"[\w\-]+")
PROSE = (".md", ".rst")


@dataclass(frozen=True, slots=True)
class Hit:
    """One rule that a changed file breaks: where, and what as the end of a sentence that starts with the file."""

    path: str
    line: int
    what: str


def edit_rules(exhibit: Exhibit) -> Sight:
    """Fires on any rule that the candidate's files break and the live release's did not."""
    if not exhibit.after:
        return Sight(None, "the harness was not read")
    found = hits(exhibit)
    if not found:
        changed = sum(exhibit.before.get(path) != data for path, data in exhibit.after.items())
        return Sight(False, f"{changed} changed files break no rule")
    kinds = "; ".join(dict.fromkeys(f"{hit.path}: {hit.what}" for hit in found[:MOST_EXCERPTS]))
    return Sight(
        True,
        kinds[:400],
        tuple(
            excerpt(f"{hit.path}:{hit.line}", _line(exhibit.after, hit) or hit.what)
            for hit in found[:MOST_EXCERPTS]
        ),
    )


def hits(exhibit: Exhibit) -> list[Hit]:
    """Every rule that the edit newly breaks, by file and line."""
    known = {
        (path, hit.what) for path in exhibit.before for hit in _in_file(path, exhibit.before[path], exhibit)
    }
    return [
        hit
        for path in sorted(exhibit.after)
        if exhibit.before.get(path) != exhibit.after[path]
        for hit in _in_file(path, exhibit.after[path], exhibit)
        if (path, hit.what) not in known
    ] + list(_settings(exhibit.before, exhibit.after))


def _in_file(path: str, data: bytes, exhibit: Exhibit) -> Iterator[Hit]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        yield Hit(path, 0, "it is not UTF-8 text; an edit may add text files only")
        return
    if not path.endswith(".py"):
        if trouble := data_file(path, text):
            yield Hit(path, 0, trouble)
        if not path.endswith(PROSE) and (named := _named_id(text, exhibit.ids)):
            yield Hit(path, 0, f"it names the item {named}")
        return
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield Hit(path, 0, f"it is not valid Python ({error})")
        return
    try:
        yield from _in_module(path, module, exhibit)
    except TooMuchText as error:
        yield Hit(path, 0, str(error))


def _in_module(path: str, module: ast.Module, exhibit: Exhibit) -> Iterator[Hit]:
    for node in ast.walk(module):
        if trouble := reach(node) or table(node) or _sized(node, exhibit.sizes):
            yield Hit(path, getattr(node, "lineno", 0), trouble)
    for line, text in literals(module):
        if place := private_path(text):
            yield Hit(path, line, f"it names the private place {place}")
        elif named := _named_id(text, exhibit.ids):
            yield Hit(path, line, f"it names the item {named}")
        elif trouble := packed(text):
            yield Hit(path, line, trouble)


def _named_id(text: str, ids: frozenset[str]) -> str:
    if len(text) < LEAST_ID or not ids:
        return ""
    return next((word for word in WORD.findall(text) if len(word) >= LEAST_ID and word in ids), "")


def _sized(node: ast.AST, sizes: frozenset[int]) -> str:
    """`len(items) == 250`: telling one split from another by its size."""
    if not isinstance(node, ast.Compare):
        return ""
    sides = [node.left, *node.comparators]
    counts = any(isinstance(side, ast.Call) and getattr(side.func, "id", "") == "len" for side in sides)
    known = [side.value for side in sides if isinstance(side, ast.Constant) and side.value in sizes]
    return f"it asks whether there are {known[0]} items, the size of one split" if counts and known else ""


def _settings(before: Files, after: Files) -> Iterator[Hit]:
    """A value for model, temperature, budget or seed that leaves the range the live release declares for it."""
    old, new = _tables(before.get(SETTINGS)), _tables(after.get(SETTINGS))
    for name, entry in new.items():
        declared = old.get(name)
        if not declared or not BUDGET_KEYS.fullmatch(name) or not isinstance(entry, dict):
            continue
        value = entry.get("value")
        choices, low, high = declared.get("choices"), declared.get("min"), declared.get("max")
        outside = choices is not None and value not in choices
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and ((low is not None and value < low) or (high is not None and value > high)):
            outside = True
        if outside:
            yield Hit(
                SETTINGS, 0, f"{name} = {str(value)[:40]} leaves the range that the live release declares"
            )


def _tables(data: bytes | None) -> dict[str, Any]:
    try:
        return {k: v for k, v in tomllib.loads((data or b"").decode("utf-8")).items() if isinstance(v, dict)}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _line(files: Files, hit: Hit) -> str:
    lines = files.get(hit.path, b"").decode("utf-8", "replace").splitlines()
    return lines[hit.line - 1].strip() if 0 < hit.line <= len(lines) else ""
