"""Which files the trusted core is: its acts, and everything of governance/ that they import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).parents[2]
CORE, FOLDER = "governance.actions", REPO / "governance"


def module_of(path: Path) -> str:
    """The dotted name of a file of this repository."""
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(FOLDER.rglob("*.py"))}


def imported(path: Path) -> Iterator[str]:
    """Every name that a file's import statements could mean as a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)


def closure() -> set[str]:
    """The modules of governance/actions/ and everything of governance that they import, however far away."""
    found: set[str] = set()
    waiting = [name for name in FILES if name == CORE or name.startswith(f"{CORE}.")]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [each for each in imported(FILES[name]) if each in FILES]
    return found
