"""Diffs as HTML, drawn from the two blobs themselves: highlighted, changed words marked, nothing hidden. Pure.

Nothing that a candidate can write (attributes files, file names, odd line ends, control characters) changes
what is shown: governance.diffs compares the blobs, this module only draws what it found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, TypeAlias

from django.utils.safestring import SafeString, mark_safe
from pygments.lexer import Lexer
from pygments.lexers.configs import IniLexer, TOMLLexer
from pygments.lexers.data import JsonLexer, YamlLexer
from pygments.lexers.markup import MarkdownLexer
from pygments.lexers.python import PythonLexer
from pygments.lexers.shell import BashLexer
from pygments.token import STANDARD_TYPES, Token, _TokenType

from governance.desk.visible import visible
from governance.diffs import FLAGS, FileDiff, Hunk, Line, Tree, pack, tree_diff, unpack
from governance.errors import BadInput

View: TypeAlias = Literal["unified", "split"]
Spans: TypeAlias = tuple[tuple[str, str], ...]  # (CSS class, text) pieces of one line

HIGHLIGHT_MAX = 200_000  # characters; longer files are shown plain
LAZY_ROWS = 600  # files with more rows are drawn when somebody opens them
_LEXERS: dict[str, type[Lexer]] = {
    "py": PythonLexer,
    "toml": TOMLLexer,
    "json": JsonLexer,
    "jsonl": JsonLexer,
    "md": MarkdownLexer,
    "sh": BashLexer,
    "cfg": IniLexer,
    "ini": IniLexer,
    "yaml": YamlLexer,
    "yml": YamlLexer,
}
_NO_LINE_END = '<span class="ctl" title="the file does not end with a line feed">no line end</span>'


@dataclass(frozen=True, slots=True)
class Blobs:
    """The two texts of one file, split into highlighted lines; a side that is absent or not text has none."""

    old: tuple[Spans, ...]
    new: tuple[Spans, ...]


@dataclass(frozen=True, slots=True)
class ShownFile:
    """One file of a diff as the page lists it; `html` is None while the file is too long to be drawn at once."""

    index: int
    diff: FileDiff
    flags: tuple[str, ...]
    html: SafeString | None


def packed(old: Tree, new: Tree) -> bytes:
    """Two trees as the bytes that the functions below take (and that the evidence `diff` holds)."""
    return json.dumps(pack(old, new)).encode()


def shown_files(packed: bytes, view: View) -> list[ShownFile]:
    """Every file of the evidence `diff`, short ones drawn. Raises BadInput when the evidence is malformed."""
    files = _files(packed)
    return [
        ShownFile(
            index=index,
            diff=file,
            flags=tuple(FLAGS[flag] for flag in file.flags),
            html=render_file(packed, index, view) if _rows(file) <= LAZY_ROWS else None,
        )
        for index, (file, _, _) in enumerate(files)
    ]


@lru_cache(maxsize=256)
def render_file(packed: bytes, index: int, view: View) -> SafeString:
    """One file of the evidence `diff` as an HTML table, or a sentence where there are no lines to show.

    Raises BadInput when the evidence is malformed or has no such file.
    """
    files = _files(packed)
    if index >= len(files):
        raise BadInput(f"The diff has {len(files)} files; there is no file {index + 1}.")
    file, old, new = files[index]
    if not file.hunks:
        return _without_lines(file)
    blobs = Blobs(_highlight(file.path, old), _highlight(file.path, new))
    draw = _split_hunk if view == "split" else _unified_hunk
    columns = _SPLIT_COLUMNS if view == "split" else _UNIFIED_COLUMNS
    body: list[str] = []
    shown_to = 1
    for hunk in file.hunks:
        body.append(_gap(hunk.old_start - shown_to if hunk.old_count else 0))
        body.extend(draw(hunk, blobs))
        shown_to = hunk.old_start + hunk.old_count
    body.append(_gap(len(blobs.old) + 1 - shown_to if blobs.old else 0))
    rows = "".join(body)
    return mark_safe(
        f'<table class="diff diff-{view}">{columns}<tbody>{rows}</tbody></table>'
    )  # parts are escaped


@lru_cache(maxsize=32)
def _files(packed: bytes) -> tuple[tuple[FileDiff, str, str], ...]:
    try:
        old, new = unpack(json.loads(packed))
    except ValueError as error:
        raise BadInput("The evidence `diff` is not JSON, so nothing can be reviewed by it.") from error
    files = tree_diff(old, new)
    return tuple((file, _text(old.get(file.path)), _text(new.get(file.path))) for file in files)


def _text(blob: tuple[str, bytes] | None) -> str:
    return blob[1].decode("utf-8", "surrogateescape") if blob else ""


def _rows(file: FileDiff) -> int:
    return sum(len(hunk.rows) for hunk in file.hunks)


def _without_lines(file: FileDiff) -> SafeString:
    if "binary" in file.flags or "oversize" in file.flags:
        sentence = f"{visible(file.path)} cannot be shown as lines; compare its digests: "
        digests = f"{file.old_sha256 or 'absent'} → {file.new_sha256 or 'absent'}"
        return mark_safe(
            f'<p class="body break">{sentence}<code>{digests}</code></p>'
        )  # hex digests, escaped path
    if file.status != "modified":
        return mark_safe(f'<p class="body">An empty file is {file.status}.</p>')  # a fixed word
    modes = f"{file.old_mode or 'absent'} → {file.new_mode or 'absent'}"
    return mark_safe(f'<p class="body">No line differs; the mode changes: {visible(modes)}.</p>')  # escaped


@lru_cache(maxsize=256)
def _highlight(path: str, text: str) -> tuple[Spans, ...]:
    plain = tuple((("", line),) for line in _lines(text))
    lexer = _LEXERS.get(path.rsplit(".", 1)[-1].lower())
    if lexer is None or len(text) > HIGHLIGHT_MAX:
        return plain
    shown: list[list[tuple[str, str]]] = [[]]
    for _, token, value in lexer().get_tokens_unprocessed(text):
        for part in _lines(value):
            shown[-1].append((_css_class(token), part))
            if part.endswith("\n"):
                shown.append([])
    lines = tuple(tuple(line) for line in shown if line)
    joined = ["".join(part for _, part in line) for line in lines]
    return lines if joined == _lines(text) else plain  # a lexer that loses characters is not to be trusted


def _lines(text: str) -> list[str]:
    """Lines with their line feeds; nothing else ends a line, so a carriage return can never hide one."""
    *whole, rest = text.split("\n")
    return [line + "\n" for line in whole] + ([rest] if rest else [])


def _css_class(token: _TokenType) -> str:
    while token is not Token and token not in STANDARD_TYPES:
        token = token.parent
    return STANDARD_TYPES.get(token, "")


def _code(line: Line, side: Sequence[Spans]) -> str:
    """The HTML of one line: its highlighted pieces, cut at the borders of its marks."""
    spans = side[line.number - 1]
    parts: list[str] = []
    at = 0
    for css, raw in spans:
        text = raw.removesuffix("\n")
        edges = {0, len(text)} | {
            edge - at for mark in line.marks for edge in mark if 0 < edge - at < len(text)
        }
        cuts = sorted(edges)
        for start, end in pairwise(cuts):
            shown: str = visible(text[start:end])
            shown = f'<span class="{css}">{shown}</span>' if css else shown
            marked = any(low <= at + start < high for low, high in line.marks)
            parts.append(f"<mark>{shown}</mark>" if marked else shown)
        at += len(text)
    return "".join(parts) + ("" if spans[-1][1].endswith("\n") else _NO_LINE_END)


_UNIFIED_COLUMNS = (
    '<colgroup><col class="num"><col class="num"><col class="sign"><col></colgroup>'
    '<thead class="sr"><tr><th>Old line</th><th>New line</th><th>Change</th><th>Text</th></tr></thead>'
)
_SPLIT_COLUMNS = (
    '<colgroup><col class="num"><col><col class="num"><col></colgroup>'
    '<thead class="sr"><tr><th>Old line</th><th>Old text</th><th>New line</th><th>New text</th></tr></thead>'
)


def _unified_hunk(hunk: Hunk, blobs: Blobs) -> Iterator[str]:
    for sign, line, other in hunk.unified():
        kind = {" ": "same", "-": "del", "+": "add"}[sign]
        old = "" if sign == "+" else line.number
        new = other if sign == " " else line.number if sign == "+" else ""
        code = _code(line, blobs.new if sign == "+" else blobs.old)
        yield (
            f'<tr class="{kind}"><td class="num">{old}</td><td class="num">{new}</td>'
            f'<td class="sign">{sign.strip()}</td><td class="code">{code}</td></tr>'
        )


def _split_hunk(hunk: Hunk, blobs: Blobs) -> Iterator[str]:
    for row in hunk.rows:
        same = row.kind == "same"
        left = _half(row.old, blobs.old, "" if same else "del")
        right = _half(row.new, blobs.new, "" if same else "add")
        yield f"<tr>{left}{right}</tr>"


def _half(line: Line | None, side: Sequence[Spans], css: str) -> str:
    if line is None:
        return '<td class="num none"></td><td class="code none"></td>'
    return f'<td class="num {css}">{line.number}</td><td class="code {css}">{_code(line, side)}</td>'


def _gap(lines: int) -> str:
    if lines <= 0:
        return ""
    noun = "line" if lines == 1 else "lines"
    return f'<tr class="gap"><td colspan="4">{lines} unchanged {noun}</td></tr>'
