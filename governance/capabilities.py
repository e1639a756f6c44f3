"""What a change of the harness newly reaches for: the names in its Python, its size. Pure; nothing is run.

A reader of names is no sandbox: it decides how many people look, the sandbox decides what the program can do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from governance.diffs import MAX_BYTES, FileDiff, Tree, changed_lines, tree_diff

PYTHON: Final = frozenset({".py", ".pyw", ".pyi"})
_NAME: Final = re.compile(r"[A-Za-z_][\w.]{0,99}")
Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class Measures:
    """How large a change is and what it newly names. `lines` and `size` (bytes of those lines) count what is added
    and what is removed, None where a file cannot be shown as lines. `names` has an entry for each changed Python
    file or script: None where it cannot be read as Python.
    """

    lines: int | None
    size: int | None
    names: Mapping[str, Names | None]


def measure(old: Tree, new: Tree) -> Measures:
    """The measures of the change from `old` to `new` (trees of the paths that differ)."""
    files = tree_diff(old, new)
    lines = changed_lines(files)
    programs = [item.path for item in files if item.path in new and _is_program(item.path, new[item.path][1])]
    names = {
        path: new_names(old.get(path, ("", b""))[1], new[path][1]) if _is_python(path) else None
        for path in programs
    }
    return Measures(lines, None if lines is None else sum(_sizes(files)), names)


def new_names(old: bytes, new: bytes) -> Names | None:
    """The names that `new` uses and `old` does not; None when `new` is not Python. An unreadable `old` had none."""
    now = names_used(new)
    return None if now is None else now - (names_used(old) or frozenset())


def names_used(source: bytes) -> Names | None:
    """Every name that Python source uses, dotted where it is; aliases of imports are followed. None if unreadable.

    Texts that are a name by themselves count too, because getattr(x, "system") uses them.
    """
    if len(source) > MAX_BYTES:
        return None
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    nodes = list(ast.walk(tree))
    aliases = dict(pair for node in nodes for pair in _imports(node))
    found = set(aliases.values())
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and any(each.name == "*" for each in node.names):
            found.add(f"{node.module or ''}.*")
        found.update(_named(node, aliases))
    return frozenset(found)


def forbidden(names: Names, rules: tuple[str, ...]) -> list[str]:
    """The names among these that a rule forbids: the rule itself or anything below it (`os` forbids `os.path`)."""
    return sorted(name for name in names if any(_below(name, rule) for rule in rules))


def _below(name: str, rule: str) -> bool:
    """Whether a dotted name is the rule or begins with it; a rule with leading underscores counts at any place."""
    return f".{rule}." in f".{name}." if rule.startswith("__") else f"{name}.".startswith(f"{rule}.")


def _is_program(path: str, data: bytes) -> bool:
    return _is_python(path) or data.startswith(b"#!")


def _is_python(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in PYTHON


def _sizes(files: list[FileDiff]) -> Iterator[int]:
    for row in (row for item in files for hunk in item.hunks for row in hunk.rows if row.kind != "same"):
        yield from (len(line.text.encode("utf-8", "surrogatepass")) for line in (row.old, row.new) if line)


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(local name, dotted name) of what an import statement brings."""
    if isinstance(node, ast.Import):
        for each in node.names:
            yield each.asname or each.name, each.name
    elif isinstance(node, ast.ImportFrom):
        for each in node.names:
            yield each.asname or each.name, f"{node.module or ''}.{each.name}".strip(".")


def _named(node: ast.AST, aliases: Mapping[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield aliases.get(node.id, node.id)
    elif isinstance(node, ast.Attribute):
        yield _dotted(node, aliases)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
        yield node.value


def _dotted(node: ast.Attribute, aliases: Mapping[str, str]) -> str:
    parts = [node.attr]
    root: ast.expr = node.value
    while isinstance(root, ast.Attribute):
        parts.append(root.attr)
        root = root.value
    parts.append(aliases.get(root.id, root.id) if isinstance(root, ast.Name) else "")
    return ".".join(reversed(parts))
