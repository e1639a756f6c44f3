"""A program's log as untrusted text: what is kept of it, and how it is made harmless to look at."""

from __future__ import annotations

import unicodedata

KEPT_CONTROLS = frozenset("\n\t")
UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class LogKeeper:
    """Keeps the last `keep` bytes of what is fed to it and counts all of them."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.total = 0
        self._tail = bytearray()

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the log."""
        self.total += len(data)
        self._tail += data
        if len(self._tail) > 2 * self.keep:
            del self._tail[: -self.keep]

    def text(self) -> str:
        """The kept tail, escaped; says first how much was dropped before it."""
        tail = bytes(self._tail[-self.keep :])
        dropped = self.total - len(tail)
        note = f"[{dropped} earlier bytes not kept]\n" if dropped else ""
        return note + escape(tail)


def escape(data: bytes) -> str:
    """`data` as text in which control, bidirectional, zero-width and undecodable bytes are visible escapes.

    Line feeds and tabs stay. The text may still lie; it cannot move a cursor, reorder a line or hide.
    """
    text = data.decode("utf-8", errors="backslashreplace").replace("\r\n", "\n")
    return "".join(char if _harmless(char) else _visible(char) for char in text)


def _harmless(char: str) -> bool:
    return char in KEPT_CONTROLS or unicodedata.category(char) not in UNSAFE_CATEGORIES


def _visible(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
