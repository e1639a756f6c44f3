"""What two sequences have in common, found in a time that nobody who writes one of them can stretch. Pure.

`difflib` alone takes the cube of the length where few different elements repeat: minutes for one line of 2,000 letters.
Here it sees short stretches only, between elements that stand once on each side (as in patience diff).
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

Block = tuple[int, int, int]  # where it starts on the old side, where on the new one, how long it is


class Matching(difflib.SequenceMatcher[str]):
    """A SequenceMatcher over two sequences that compares stretches of at most `most` pairs of elements.

    What lies in a longer stretch without an element that stands once on each side counts as changed.
    """

    def __init__(self, old: Sequence[str], new: Sequence[str], most: int) -> None:
        """Find what the sequences have in common."""
        super().__init__(None, old, new, autojunk=False)
        self._blocks = [*_merged(_blocks(old, new, most)), (len(old), len(new), 0)]

    def get_matching_blocks(self) -> list[difflib.Match]:
        """What both have in common, in order, and the empty block at the end that `difflib` expects."""
        return [difflib.Match(*block) for block in self._blocks]


def _blocks(old: Sequence[str], new: Sequence[str], most: int, *, divide: bool = True) -> Iterator[Block]:
    """What both begin and end with, and what is found between; a stretch that is too long is divided once."""
    head = _shared(zip(old, new, strict=False))
    tail = _shared(zip(reversed(old[head:]), reversed(new[head:]), strict=False))
    left, right = old[head : len(old) - tail], new[head : len(new) - tail]
    yield 0, 0, head
    if len(left) * len(right) <= most:
        between: Iterable[Block] = difflib.SequenceMatcher(
            None, left, right, autojunk=False
        ).get_matching_blocks()
    else:
        between = _divided(left, right, most) if divide else ()
    for a, b, size in between:
        yield head + a, head + b, size
    yield len(old) - tail, len(new) - tail, tail


def _divided(old: Sequence[str], new: Sequence[str], most: int) -> Iterator[Block]:
    """The elements that stand once on each side, and what is found between them."""
    for (left, right), (next_left, next_right) in pairwise(
        [(-1, -1), *_anchors(old, new), (len(old), len(new))]
    ):
        for a, b, size in _blocks(old[left + 1 : next_left], new[right + 1 : next_right], most, divide=False):
            yield left + 1 + a, right + 1 + b, size
        if next_left < len(old):
            yield next_left, next_right, 1


def _shared(pairs: Iterator[tuple[str, str]]) -> int:
    """How many pairs are equal before the first that is not."""
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """The places of elements that stand once on each side: as many as keep their order."""
    once = {element for element, count in Counter(new).items() if count == 1}
    once &= {element for element, count in Counter(old).items() if count == 1}
    where = {element: at for at, element in enumerate(new) if element in once}
    pairs = [(at, where[element]) for at, element in enumerate(old) if element in once]
    # smallest[n]: the least place on the new side at which n + 1 of them in order end, and ends[n] which pair that is;
    # before: of each pair, the one before it in the longest order that ends with it, or -1.
    smallest: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for number, (_, place) in enumerate(pairs):
        length = bisect_left(smallest, place)
        before.append(ends[length - 1] if length else -1)
        smallest[length : length + 1] = [place]
        ends[length : length + 1] = [number]
    kept = []
    at = ends[-1] if ends else -1
    while at >= 0:
        kept.append(pairs[at])
        at = before[at]
    return kept[::-1]


def _merged(blocks: Iterator[Block]) -> list[Block]:
    """Neighbours as one, and no empty ones: what `difflib` expects of blocks."""
    merged: list[Block] = []
    for left, right, size in blocks:
        if not size:
            continue
        last = merged[-1] if merged else (0, 0, 0)
        if merged and (last[0] + last[2], last[1] + last[2]) == (left, right):
            merged[-1] = *last[:2], last[2] + size
        else:
            merged.append((left, right, size))
    return merged
