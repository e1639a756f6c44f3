"""Rules that tell a memorised table of answers from an ordinary constant."""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

LARGEST_TABLE = 200
HASHED_KEYS = 6
HEX_KEY = re.compile(r"[0-9a-f]{8,64}")
OPAQUE = re.compile(r"[A-Za-z0-9+/=_\-]{240,}|[0-9a-fA-F]{160,}")
PACKED = re.compile(r"[A-Za-z0-9]{40,}")
PACKED_ALPHABET = 12
LEAST_BITS = 0.8
ROWS = re.compile(r"\.(jsonl?|csv|tsv)$")


def table(node: ast.AST) -> str:
    """What is wrong with a collection literal, or an empty string."""
    if isinstance(node, ast.Dict):
        keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
        if len(keys) >= HASHED_KEYS and all(isinstance(key, str) and HEX_KEY.fullmatch(key) for key in keys):
            return f"it holds a table of {len(keys)} entries keyed by digests or ids"
        size = sum(isinstance(value, ast.Constant) for value in node.values)
    elif isinstance(node, ast.List | ast.Tuple | ast.Set):
        size = sum(isinstance(value, ast.Constant) for value in node.elts)
        size = max(size, sum(isinstance(each, ast.Constant) for value in node.elts for each in pair(value)))
    else:
        return ""
    return f"it holds a table of {size} constants, as a list of answers would" if size > LARGEST_TABLE else ""


def pair(node: ast.AST) -> Sequence[ast.AST]:
    """The two or three elements of a small tuple or list (a row of a table); nothing else."""
    return node.elts if isinstance(node, ast.Tuple | ast.List) and 2 <= len(node.elts) <= 3 else ()


def packed(text: str) -> str:
    """What is wrong with a string literal that holds data and not words, or an empty string."""
    blob = OPAQUE.search(text)
    if blob and bits(blob[0]) > 3.0:
        return f"it holds an opaque blob of {len(blob[0])} letters"
    for found in PACKED.finditer(text):
        letters = set(found[0])
        if 2 <= len(letters) <= PACKED_ALPHABET and bits(found[0]) >= LEAST_BITS and not _periodic(found[0]):
            return f"it holds {len(found[0])} letters of an alphabet of {len(letters)}, as packed answers would be"
    return ""


def data_file(path: str, text: str) -> str:
    """What is wrong with a data file that an edit brings, or an empty string."""
    if ROWS.search(path) and max(text.count("\n"), _entries(path, text)) > LARGEST_TABLE:
        return f"it holds more than {LARGEST_TABLE} rows of data"
    return packed(text)


def bits(text: str) -> float:
    """Shannon entropy of the letters, in bits a letter."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def _entries(path: str, text: str) -> int:
    if not path.endswith(".json"):
        return 0
    try:
        return sum(1 for _ in _leaves(json.loads(text)))
    except (ValueError, RecursionError):
        return 0


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _periodic(text: str) -> bool:
    return any(text == (text[:size] * len(text))[: len(text)] for size in range(1, 13))
