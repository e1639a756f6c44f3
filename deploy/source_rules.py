"""Rules about the source that no tool checks: small, flat files, and the training stack kept apart.

No Python file over 400 lines, no function over 50; only the trainer's files and the transformers engine, which run
in processes of their own, import torch and what stands on it. Exceptions are listed here.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

MAX_FILE = 400
MAX_FUNCTION = 50
EXCEPTIONS: dict[str, str] = {}  # "path" or "path::function" -> why it may be longer
TRAINING_STACK = frozenset({"torch", "transformers", "peft", "trl", "accelerate", "datasets"})
MAY_IMPORT_IT = ("loop/training/trainer*.py", "loop/serving/transformers_engine.py", "tests/*")
_SKIPPED = frozenset({".venv", ".git", "var", "migrations", "staticfiles", "node_modules", "__pycache__"})


def python_files(root: Path) -> Iterator[Path]:
    """Every Python file of the project, migrations and generated folders left out."""
    for path in sorted(root.iterdir()):
        if path.name in _SKIPPED:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from python_files(path)
        elif path.suffix == ".py":
            yield path


def too_long(root: Path) -> list[str]:
    """One sentence for each file or function that is over its limit."""
    found = []
    for name, tree, lines in _parsed(root):
        if lines > MAX_FILE and name not in EXCEPTIONS:
            found.append(f"{name} has {lines} lines; split it (at most {MAX_FILE}).")
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION and f"{name}::{node.name}" not in EXCEPTIONS:
                    at = f"{name}:{node.lineno}"
                    found.append(f"{at} {node.name} has {length} lines; split it (at most {MAX_FUNCTION}).")
    return found


def training_imports(root: Path) -> list[str]:
    """One sentence for each import of the training stack in a file that must stay free of it."""
    found = []
    for name, tree, _lines in _parsed(root):
        if any(fnmatch(name, pattern) for pattern in MAY_IMPORT_IT):
            continue
        for node in ast.walk(tree):
            for module in _imported(node):
                if module.partition(".")[0] in TRAINING_STACK:
                    found.append(
                        f"{name} imports {module}; only the trainer and the transformers engine may."
                    )
    return found


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return []


def _parsed(root: Path) -> Iterator[tuple[str, ast.AST, int]]:
    """Name, syntax tree and number of lines of each file; ruff reports those that do not parse."""
    for path in python_files(root):
        source = path.read_text(encoding="utf-8")
        name = path.relative_to(root).as_posix()
        with contextlib.suppress(SyntaxError):
            yield name, ast.parse(source, name), source.count("\n")
