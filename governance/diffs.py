"""Differences between two trees, from their blobs: every path, every mode, nothing that a candidate could hide. Pure.

A tree is {posix path: (mode, bytes)}, mode one of `file`, `exec`, `link`. The evidence `diff` holds the blobs
(`pack`), the desk unpacks them (`unpack`) and draws `tree_diff`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from governance.digests import sha256_hex
from governance.errors import BadInput
from governance.matching import Matching

Blob = tuple[str, bytes]
Tree = Mapping[str, Blob]

MAX_BYTES: Final = 400_000
MAX_LINES: Final = 10_000
MAX_MARKED: Final = 2_000
MAX_STRETCH: Final = 250_000
MAX_EFFORT: Final = 400_000_000
CONTEXT: Final = 3

FLAGS: Final = {
    "link": "is a symbolic link",
    "mode": "changes its mode",
    "binary": "is not text",
    "oversize": "is too large to be shown here",
    "bidi": "contains characters that reorder text on screen",
    "invisible": "contains characters that do not show on screen",
    "control": "contains control characters",
    "case": "differs from another path only by upper and lower case",
    "path": "has a path with characters that do not show or reorder text",
}
BIDI: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200d\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
_TOKEN: Final = re.compile(r"\w+|\s+|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fineness:
    """How many pairs of lines, and of words in a line, are compared at once: the fewer, the more has changed."""

    lines: int
    words: int

    @classmethod
    def of(cls, blobs: list[bytes]) -> Fineness:
        """What keeps the comparison of all these within seconds: a stretch of n pairs costs at most n to the 1.5."""
        lines, letters = sum(blob.count(b"\n") + 1 for blob in blobs), sum(map(len, blobs))
        return cls(*(min(MAX_STRETCH, MAX_EFFORT // max(1, count)) for count in (lines, letters)))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one side: its number from 1, its text without the line end, and the marked [start, end) spans."""

    number: int
    text: str
    marks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row side by side; `old` or `new` is None where that side has nothing."""

    kind: Literal["same", "changed", "removed", "added"]
    old: Line | None
    new: Line | None


@dataclass(frozen=True, slots=True)
class Hunk:
    """Neighbouring rows; starts and counts as in a unified diff (start counted from 1)."""

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    rows: tuple[Row, ...]

    def unified(self) -> Iterator[tuple[Literal[" ", "-", "+"], Line, int | None]]:
        """The rows as (sign, line, the other side's line number for context lines), removals before additions."""
        pending: list[Line] = []
        for row in self.rows:
            if row.kind == "same" and row.old and row.new:
                yield from (("+", line, None) for line in pending)
                pending = []
                yield " ", row.old, row.new.number
                continue
            if row.old:
                yield "-", row.old, None
            if row.new:
                pending.append(row.new)
        yield from (("+", line, None) for line in pending)


@dataclass(frozen=True, slots=True)
class FileDiff:
    """One path that differs. Modes and digests are empty on the side where the path does not exist.

    `flags` are keys of FLAGS. `hunks` is empty for binary and oversize files; `added` and `removed` count lines
    (None where they cannot be counted).
    """

    path: str
    status: Literal["added", "removed", "modified"]
    old_mode: str
    new_mode: str
    old_sha256: str
    new_sha256: str
    hunks: tuple[Hunk, ...]
    flags: tuple[str, ...]
    added: int | None
    removed: int | None


def tree_diff(old: Tree, new: Tree) -> list[FileDiff]:
    """Every path whose mode or bytes differ, sorted by path."""
    folded = Counter(path.casefold() for path in {*old, *new})
    changed = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    fine = Fineness.of([tree[path][1] for tree in (old, new) for path in changed if path in tree])
    return [
        _file_diff(path, (old.get(path), new.get(path)), folded[path.casefold()] > 1, fine)
        for path in changed
    ]


def changed_lines(files: list[FileDiff]) -> int | None:
    """Lines added and removed over all files, or None when one of them cannot be counted."""
    counts = [count for item in files for count in (item.added, item.removed)]
    return None if None in counts else sum(count for count in counts if count is not None)


def pack(old: Tree, new: Tree) -> dict[str, Any]:
    """The blobs of every path that differs, as the JSON of the evidence `diff`."""
    changed = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    return {
        "files": [
            {"path": path, "old": _pack_blob(old.get(path)), "new": _pack_blob(new.get(path))}
            for path in changed
        ]
    }


def unpack(packed: Any) -> tuple[dict[str, Blob], dict[str, Blob]]:
    """(old, new) trees of the paths in the evidence `diff`. Raises BadInput when it is malformed."""
    try:
        files = packed["files"]
        old = {item["path"]: _unpack_blob(item["old"]) for item in files if item["old"] is not None}
        new = {item["path"]: _unpack_blob(item["new"]) for item in files if item["new"] is not None}
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise BadInput(
            f"The evidence `diff` is malformed ({error!r}); make it with governance.diffs.pack."
        ) from error
    return old, new


def _pack_blob(blob: Blob | None) -> dict[str, str] | None:
    if blob is None:
        return None
    mode, data = blob
    try:
        return {"mode": mode, "text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"mode": mode, "base64": base64.b64encode(data).decode("ascii")}


def _unpack_blob(blob: Mapping[str, str]) -> Blob:
    if "base64" in blob:
        return blob["mode"], base64.b64decode(blob["base64"], validate=True)
    return blob["mode"], blob["text"].encode("utf-8")


def _file_diff(path: str, blobs: tuple[Blob | None, Blob | None], clashes: bool, fine: Fineness) -> FileDiff:
    old, new = blobs
    texts = [_text(blob) for blob in blobs]
    oversize = any(blob is not None and len(blob[1]) > MAX_BYTES for blob in blobs)
    hunks: tuple[Hunk, ...] = ()
    added = removed = None
    if None not in texts and not oversize:
        before, after = (_lines(text or "") for text in texts)
        oversize = max(len(before), len(after)) > MAX_LINES
        if not oversize:
            hunks = tuple(_hunks(before, after, fine))
            rows = [row for hunk in hunks for row in hunk.rows]
            added = sum(row.new is not None for row in rows if row.kind != "same")
            removed = sum(row.old is not None for row in rows if row.kind != "same")
    return FileDiff(
        path=path,
        status="added" if old is None else "removed" if new is None else "modified",
        old_mode=old[0] if old else "",
        new_mode=new[0] if new else "",
        old_sha256=sha256_hex(old[1]) if old else "",
        new_sha256=sha256_hex(new[1]) if new else "",
        hunks=hunks,
        flags=tuple(_flags(path, blobs, texts, {"oversize": oversize, "case": clashes})),
        added=added,
        removed=removed,
    )


def _flags(
    path: str,
    blobs: tuple[Blob | None, Blob | None],
    texts: list[str | None],
    known: dict[str, bool],
) -> Iterator[str]:
    modes = [blob[0] for blob in blobs if blob]
    whole = "".join(text for text in texts if text)
    odd_path = any(rule.search(path) for rule in (BIDI, INVISIBLE, CONTROL))
    facts = known | {
        "link": "link" in modes,
        "mode": len(set(modes)) > 1 or (blobs[0] is None and modes == ["exec"]),
        "binary": None in texts,
        "bidi": bool(BIDI.search(whole)),
        "invisible": bool(INVISIBLE.search(whole)),
        "control": bool(CONTROL.search(whole)),
        "path": odd_path,
    }
    return (flag for flag in FLAGS if facts[flag])


def _text(blob: Blob | None) -> str | None:
    """The blob as text ('' where there is none), or None when it is not text."""
    if blob is None:
        return ""
    if b"\0" in blob[1]:
        return None
    try:
        return blob[1].decode("utf-8")
    except UnicodeDecodeError:
        return None


def _lines(text: str) -> list[str]:
    """Lines with their ends, split at line feeds only (what a program reads, not what Unicode calls a line)."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _hunks(old: list[str], new: list[str], fine: Fineness) -> Iterator[Hunk]:
    matcher = Matching(old, new, fine.lines)
    words = fine.words if len(old) + len(new) <= MAX_MARKED * 2 else 0
    for group in matcher.get_grouped_opcodes(CONTEXT):
        rows: list[Row] = []
        for tag, low, high, start, stop in group:
            if tag == "equal":
                rows += [
                    Row("same", _line(old, i), _line(new, j))
                    for i, j in zip(range(low, high), range(start, stop), strict=True)
                ]
            else:
                rows += _changed_rows((old, low, high), (new, start, stop), words)
        first, last = group[0], group[-1]
        old_count, new_count = last[2] - first[1], last[4] - first[3]
        yield Hunk(first[1] + (old_count > 0), old_count, first[3] + (new_count > 0), new_count, tuple(rows))


def _changed_rows(
    old: tuple[list[str], int, int], new: tuple[list[str], int, int], words: int
) -> Iterator[Row]:
    before, low, high = old
    after, start, stop = new
    for offset in range(max(high - low, stop - start)):
        left = _line(before, low + offset) if low + offset < high else None
        right = _line(after, start + offset) if start + offset < stop else None
        if left and right:
            yield Row("changed", *(_marked(left, right, words) if words else (left, right)))
        elif left:
            yield Row("removed", left, None)
        else:
            yield Row("added", None, right)


def _line(lines: list[str], index: int) -> Line:
    return Line(index + 1, lines[index].removesuffix("\n"))


def _marked(old: Line, new: Line, words: int) -> tuple[Line, Line]:
    """Both lines with the words that differ marked; lines with little in common are left whole."""
    if max(len(old.text), len(new.text)) > MAX_MARKED:
        return old, new
    left, right = _TOKEN.findall(old.text), _TOKEN.findall(new.text)
    matcher = Matching(left, right, words)
    if matcher.ratio() < 0.3:
        return old, new
    changes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    return (
        Line(old.number, old.text, _spans(left, [(code[1], code[2]) for code in changes])),
        Line(new.number, new.text, _spans(right, [(code[3], code[4]) for code in changes])),
    )


def _spans(tokens: list[str], ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    offsets = [0]
    for token in tokens:
        offsets.append(offsets[-1] + len(token))
    return tuple((offsets[low], offsets[high]) for low, high in ranges if high > low)
