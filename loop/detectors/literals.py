"""The string literals of a module as they would read at run time: joined, concatenated and decoded where constant."""

from __future__ import annotations

import ast
import base64
import binascii
from collections.abc import Iterator

MOST_NESTED = 40
# As much as a file may hold: joining repeats the separator, and a short line comes to gigabytes.
MOST_LETTERS = 1 << 18
MOST_ALTOGETHER = 1 << 21  # letters of all strings of a module: eight times what a file may hold
DECODERS = frozenset(
    {"b64decode", "urlsafe_b64decode", "b32decode", "fromhex", "unhexlify", "b85decode", "a85decode"}
)


class TooMuchText(ValueError):
    """The strings of a module come to more than anybody would write: nested, each of them is read again."""

    def __str__(self) -> str:
        """The end of a sentence that starts with the file."""
        return (
            f"its strings come to more than {MOST_ALTOGETHER:,} letters; it joins or nests too many of them"
        )


def literals(module: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every string the module holds, docstrings left out, folded expressions included.

    Raises TooMuchText where they come to more than MOST_ALTOGETHER letters.
    """
    skipped, left = _docstrings(module), MOST_ALTOGETHER
    for node in ast.walk(module):
        if id(node) in skipped:
            continue
        text = folded(node)
        if text:
            left -= len(text)
            if left < 0:
                raise TooMuchText
            yield getattr(node, "lineno", 0), text


def folded(node: ast.AST, depth: int = 0) -> str | None:
    """The text that a constant expression comes to, or None when it is not constant text, or too long."""
    text = _folded(node, depth) if depth <= MOST_NESTED else None
    return text if text is None or len(text) <= MOST_LETTERS else None


def _folded(node: ast.AST, depth: int) -> str | None:
    if isinstance(node, ast.Constant):
        return _text(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = folded(node.left, depth + 1), folded(node.right, depth + 1)
        return left + right if left is not None and right is not None else None
    if isinstance(node, ast.JoinedStr):
        return "".join(folded(value, depth + 1) or "" for value in node.values)
    if isinstance(node, ast.Subscript) and _reverses(node.slice):
        inner = folded(node.value, depth + 1)
        return inner[::-1] if inner is not None else None
    return _call(node, depth) if isinstance(node, ast.Call) else None


def _call(node: ast.Call, depth: int) -> str | None:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in DECODERS and node.args:
        inner = folded(node.args[0], depth + 1)
        return _decoded(name, inner) if inner is not None else None
    if name == "join" and isinstance(node.func, ast.Attribute) and len(node.args) == 1:
        return _joined(folded(node.func.value, depth + 1), node.args[0], depth)
    if name == "chr" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
        value = node.args[0].value
        return chr(value) if isinstance(value, int) and 0 < value < 0x110000 else None
    if name in {"decode", "lower", "strip"} and isinstance(node.func, ast.Attribute):
        return folded(node.func.value, depth + 1)
    return None


def _joined(separator: str | None, items: ast.AST, depth: int) -> str | None:
    if separator is None or not isinstance(items, ast.List | ast.Tuple):
        return None
    parts = [text for item in items.elts if (text := folded(item, depth + 1)) is not None]
    long = len(separator) * len(parts) + sum(map(len, parts)) > MOST_LETTERS
    return separator.join(parts) if len(parts) == len(items.elts) and not long else None


def _decoded(name: str, text: str) -> str | None:
    decode = {"fromhex": bytes.fromhex, "unhexlify": binascii.unhexlify}.get(name) or getattr(base64, name)
    try:
        return str(decode(text), "utf-8", "replace")
    except ValueError:
        return None


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else None


def _reverses(part: ast.AST) -> bool:
    return (
        isinstance(part, ast.Slice)
        and part.lower is None
        and part.upper is None
        and isinstance(part.step, ast.UnaryOp)
        and isinstance(part.step.op, ast.USub)
    )


def _docstrings(module: ast.AST) -> set[int]:
    """The string constants that stand alone as a statement: prose, never used by the program."""
    return {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
