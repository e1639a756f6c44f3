"""D5, the answers: literals of a harness that occur in the labels. Only the verifier may look with labels in hand."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from loop.detectors.exhibit import MOST_EXCERPTS, Excerpt, Exhibit, Sight, excerpt
from loop.detectors.literals import TooMuchText, folded, literals
from loop.detectors.tables import pair

OVERLAP = 8
LEAST_ROWS = 24
ROWS_A_NAME = 3
LEAST_TEXTS = 3
LEAST_LETTERS = 8
TOKEN = re.compile(r"\w+")


def answer_literals(exhibit: Exhibit) -> Sight:
    """Fires on 8 tokens in a row of some answer, on three answers of their own kind, and on long lists of answers."""
    if not exhibit.after or not exhibit.answers:
        return Sight(None, "the labels hold no text to compare with")
    known = _Answers(exhibit.answers)
    seen: list[Excerpt] = []
    for path, data in sorted(exhibit.after.items()):
        if exhibit.before.get(path) != data:
            seen += _in_file(path, data.decode("utf-8", "replace"), known)
    if not seen:
        return Sight(
            False, f"no changed file repeats any of {len(set(exhibit.answers))} different answers at length"
        )
    places = ", ".join(dict.fromkeys(found.place for found in seen[:MOST_EXCERPTS]))
    return Sight(True, f"text of the labels stands in {places}", tuple(seen[:MOST_EXCERPTS]))


class _Answers:
    """The labels' texts, cut up for lookups."""

    def __init__(self, answers: tuple[str, ...]) -> None:
        counted = Counter(" ".join(TOKEN.findall(answer.lower())) for answer in answers)
        self.names = frozenset(counted) - {""}
        self.own = frozenset(
            name for name, times in counted.items() if times == 1 and len(name) >= LEAST_LETTERS
        )
        self.runs = frozenset(run for name in counted for run in runs_of(name))


def runs_of(text: str) -> Iterator[tuple[str, ...]]:
    """Every 8 tokens in a row."""
    tokens = TOKEN.findall(text.lower())
    for start in range(len(tokens) - OVERLAP + 1):
        yield tuple(tokens[start : start + OVERLAP])


def _in_file(path: str, text: str, known: _Answers) -> Iterator[Excerpt]:
    if not path.endswith(".py"):
        yield from _in_rows(path, text, known)
        return
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    try:
        yield from _in_module(path, module, known)
    except TooMuchText as error:
        yield excerpt(path, str(error))


def _in_module(path: str, module: ast.Module, known: _Answers) -> Iterator[Excerpt]:
    own: set[str] = set()
    for line, literal in literals(module):
        if any(run in known.runs for run in runs_of(literal)):
            yield excerpt(f"{path}:{line}", literal)
        own.update(_plain(literal) for _ in (0,) if _plain(literal) in known.own)
    if len(own) >= LEAST_TEXTS:
        yield excerpt(path, f"{len(own)} literals are answers that occur once in the labels")
    for node in ast.walk(module):
        if words := _listed(node, known):
            yield excerpt(f"{path}:{getattr(node, 'lineno', 0)}", f"a list of {words} answers")


def _in_rows(path: str, text: str, known: _Answers) -> Iterator[Excerpt]:
    for number, line in enumerate(text.splitlines(), 1):
        if any(run in known.runs for run in runs_of(line)):
            yield excerpt(f"{path}:{number}", line)
    named = [
        word
        for line in text.splitlines()
        for word in re.split(r"[,\t:\"\s]+", line.lower())
        if word in known.names
    ]
    if len(named) >= max(LEAST_ROWS, ROWS_A_NAME * len(set(named))):
        yield excerpt(path, f"{len(named)} answers in a row")


def _listed(node: ast.AST, known: _Answers) -> int:
    """How many answers a collection lists, when that is more than the names of a few classes would need."""
    if isinstance(node, ast.Dict):
        items: list[ast.AST] = list(node.values)
    elif isinstance(node, ast.List | ast.Tuple | ast.Set):
        items = [each for item in node.elts for each in (pair(item) or (item,))]
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "split":
        whole = folded(node.func.value) if isinstance(node.func, ast.Attribute) else None
        words = [word for word in (whole or "").lower().split() if word in known.names]
        return len(words) if len(words) >= max(LEAST_ROWS, ROWS_A_NAME * len(set(words))) else 0
    else:
        return 0
    words = [text for item in items if (text := _plain(folded(item) or "")) in known.names]
    return len(words) if len(words) >= max(LEAST_ROWS, ROWS_A_NAME * len(set(words))) else 0


def _plain(text: str) -> str:
    return " ".join(TOKEN.findall(text.lower()))
