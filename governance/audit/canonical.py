"""RFC 8785 canonical JSON with the standard library alone, for the offline verifier."""

from __future__ import annotations

import hashlib
import json
from json.encoder import encode_basestring
from typing import Any


def canonical(value: Any) -> bytes:
    """The canonical bytes of a JSON value. Raises ValueError for what JSON cannot hold."""
    return _text(value).encode("utf-8")


def canonical_digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical bytes of a JSON value."""
    return hashlib.sha256(canonical(value)).hexdigest()


def parse_canonical(data: bytes) -> Any:
    """The value of canonical JSON bytes. Raises ValueError when the bytes are not exactly canonical."""
    value = json.loads(data)
    if canonical(value) != data:
        raise ValueError("the bytes are not canonical JSON (RFC 8785)")
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        if abs(value) >= 2**53:
            raise ValueError(f"{value} is too large for JSON")
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        return "[" + ",".join(_text(item) for item in value) + "]"
    if isinstance(value, dict):
        plain = all(name.isascii() for name in value)
        names = sorted(value) if plain else sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(_text(name) + ":" + _text(value[name]) for name in names) + "}"
    raise ValueError(f"{type(value).__name__} is not JSON")


def _number(value: float) -> str:
    """A float as ECMAScript prints it: shortest digits, plain from 1e-6 to below 1e21."""
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("JSON has no NaN and no infinity")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = whole + ("" if fraction == "0" else fraction)
    point -= len(digits) - len(digits.lstrip("0"))
    digits = digits.strip("0")
    if 0 < point <= 21:
        if point >= len(digits):
            return sign + digits.ljust(point, "0")
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1:+d}"
