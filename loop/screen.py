"""What an edit may not contain, read from the source and never run. Pure.

This is a tripwire for people's attention, not the boundary: the sandbox holds whatever the screen lets through.
"""

from __future__ import annotations

import ast

from loop.errors import HarnessError
from loop.repos import Tree

FORBIDDEN_IMPORTS = frozenset({"evaluate", "evaluator", "ctypes", "gc"})
FORBIDDEN_CALLS = frozenset({"_exit", "settrace", "setprofile"})
FORBIDDEN_PATHS = ("/labels", "/evaluator", "/outputs", "/hidden", "labels.jsonl")
LARGEST_TABLE = 200


def screen(old: Tree, new: Tree) -> None:
    """Raise HarnessError with the first tripwire that a changed file of `new` trips."""
    for path in sorted(new):
        if old.get(path) == new[path]:
            continue
        data = new[path][1]
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise HarnessError(f"{path} is not UTF-8 text; an edit may add text files only.") from error
        if path.endswith(".py"):
            _screen_python(path, text)


def _screen_python(path: str, text: str) -> None:
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise HarnessError(f"{path} is not valid Python ({error}); the edit is refused.") from error
    for node in ast.walk(module):
        trouble = _trouble(node)
        if trouble:
            line = getattr(node, "lineno", 0)
            raise HarnessError(f"{path}, line {line}: {trouble}; the edit is refused.")


def _trouble(node: ast.AST) -> str:
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
        )
        found = FORBIDDEN_IMPORTS.intersection(name.split(".")[0] for name in names)
        return f"it imports {sorted(found)[0]}" if found else ""
    if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_CALLS:
        return f"it reaches for {node.attr}"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        named = [part for part in FORBIDDEN_PATHS if part in node.value]
        return f"it names the evaluator's path {named[0]}" if named else ""
    return _table(node)


def _table(node: ast.AST) -> str:
    if isinstance(node, ast.Dict):
        size = sum(isinstance(value, ast.Constant) for value in node.values)
    elif isinstance(node, ast.List | ast.Tuple | ast.Set):
        size = sum(isinstance(value, ast.Constant) for value in node.elts)
    else:
        return ""
    return f"it holds a table of {size} constants, as a list of answers would" if size > LARGEST_TABLE else ""
