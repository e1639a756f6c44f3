"""Requests by content: the key of one, and where two of them differ. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

SHOWN = 60
ABSENT = object()


def settled(value: Any) -> Any:
    """JSON with one form for each number, so that a database that writes 1.0 as 1 changes no key."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: settled(entry) for key, entry in value.items()}
    return [settled(entry) for entry in value] if isinstance(value, list) else value


def content_key(value: Any) -> str:
    """SHA-256 (hex) of a JSON value by its content: the order of keys and the form of numbers do not count."""
    text = json.dumps(settled(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(recorded: Any, asked: Any, where: str = "") -> Iterator[str]:
    """A phrase for each place where `asked` is not what was recorded, in order of the path."""
    if isinstance(recorded, Mapping) and isinstance(asked, Mapping):
        for key in sorted({*recorded, *asked}):
            path = f"{where}.{key}" if where else str(key)
            yield from differences(recorded.get(key, ABSENT), asked.get(key, ABSENT), path)
    elif isinstance(recorded, list) and isinstance(asked, list):
        for index in range(max(len(recorded), len(asked))):
            pair = [side[index] if index < len(side) else ABSENT for side in (recorded, asked)]
            yield from differences(pair[0], pair[1], f"{where}[{index}]")
    elif recorded is ABSENT or asked is ABSENT or content_key(recorded) != content_key(asked):
        shown = tuple(_around(side, recorded, asked) for side in (recorded, asked))
        yield f"{where} is {shown[1]}, recorded was {shown[0]}"


def _around(side: Any, recorded: Any, asked: Any) -> str:
    """One side of a difference as text; long strings from a little before the first difference."""
    if side is ABSENT:
        return "absent"
    if not (isinstance(recorded, str) and isinstance(asked, str)):
        return _short(json.dumps(side))
    pairs = enumerate(zip(recorded, asked, strict=False))
    first = next((at for at, (one, other) in pairs if one != other), min(len(recorded), len(asked)))
    start = max(0, first - SHOWN // 3)
    return ("…" if start else "") + _short(json.dumps(side[start:]))


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
