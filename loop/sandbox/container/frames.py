"""What a container's first process says to the supervisor outside: frames on one pipe. Standard library only.

A frame is one byte of kind, four bytes of length (big endian) and that many bytes. Everything in it is the word of
a process that shares its container with a hostile program: the reader bounds what it takes and believes none of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

STARTED, LOG, USAGE, FILE, DATA, REFUSED, END = b"S", b"L", b"U", b"F", b"D", b"R", b"E"
KINDS = frozenset({STARTED, LOG, USAGE, FILE, DATA, REFUSED, END})
HEAD = struct.Struct(">cI")
MOST = 1 << 20


class BadFrame(Exception):
    """The bytes are no frames; whoever wrote them is not the program that was put there."""


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """One frame; `payload` has at most MOST bytes."""
    return HEAD.pack(kind, len(payload)) + payload


class FrameReader:
    """Cuts a stream of bytes into frames. Holds at most one frame and what one `feed` brought."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The (kind, payload) pairs that `data` completes. Raises BadFrame."""
        self._waiting += data
        while len(self._waiting) >= HEAD.size:
            kind, size = HEAD.unpack_from(self._waiting)
            if kind not in KINDS or size > MOST:
                raise BadFrame("the container's first process wrote something that is no frame")
            if len(self._waiting) < HEAD.size + size:
                return
            payload = bytes(self._waiting[HEAD.size : HEAD.size + size])
            del self._waiting[: HEAD.size + size]
            yield kind, payload
