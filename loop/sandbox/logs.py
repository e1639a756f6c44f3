"""A program's log as untrusted text: what is kept of it, and how it is made harmless to look at."""

from __future__ import annotations

import unicodedata

KEPT_CONTROLS = frozenset("\n\t")
UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class LogKeeper:
    """Keeps the first `keep` bytes of what is fed to it and, of the rest, the last `keep` / 16; counts all of them.

    The beginning is what a flood cannot push out; the end is where a program says why it failed.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.total = 0
        self._first = bytearray()
        self._last = bytearray()

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the log."""
        self.total += len(data)
        room = self.keep - len(self._first)
        self._first += data[:room]
        self._last += data[room:]
        if len(self._last) > 2 * self._tail:
            del self._last[: -self._tail]

    @property
    def _tail(self) -> int:
        return max(self.keep // 16, 1)

    def text(self) -> str:
        """What is kept, escaped; a note stands where bytes were dropped."""
        last = bytes(self._last[-self._tail :])
        dropped = self.total - len(self._first) - len(last)
        note = f"\n[{dropped} bytes not kept]\n" if dropped else ""
        if not note:
            return escape(bytes(self._first) + last)
        return escape(bytes(self._first)) + note + escape(last)


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
