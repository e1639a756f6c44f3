"""RFC 6962 Merkle trees: pure, standard library only. Hashes are 32 bytes, indexes count from 0."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry's bytes as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows leaf by leaf; it keeps the hash of every full subtree, so proofs are quick."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        """Start from leaf hashes (32 bytes each), in order."""
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        """The number of leaves."""
        return len(self._levels[0])

    def leaf(self, index: int) -> bytes:
        """One leaf hash. Raises IndexError beyond the tree."""
        return self._levels[0][index]

    def full(self, level: int, index: int) -> bytes:
        """The hash of full subtree number `index` among those of 2**level leaves."""
        return self._levels[level][index]

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash; full subtrees above it are hashed once."""
        level, value = 0, leaf
        self._levels[0].append(value)
        while len(self._levels[level]) % 2 == 0:
            value = node_hash(self._levels[level][-2], value)
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(value)

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves (all by default). Raises ValueError beyond the tree."""
        size = len(self) if size is None else size
        if not 0 <= size <= len(self):
            raise ValueError(f"The tree has {len(self)} leaves; it has no root at {size}.")
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """The path from leaf `index` to the root at `size`. Raises ValueError when there is no such leaf."""
        size = len(self) if size is None else size
        if not 0 <= index < size <= len(self):
            raise ValueError(f"There is no leaf {index} in a tree of {size} of {len(self)} leaves.")
        path, low, high = [], 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return path[::-1]

    def consistency_proof(self, old: int, size: int | None = None) -> list[bytes]:
        """Hashes that tie the root at `old` to the root at `size`; empty when old is 0 or equals size.

        Raises ValueError when `old` is beyond `size`.
        """
        size = len(self) if size is None else size
        if not 0 <= old <= size <= len(self):
            raise ValueError(f"There is no proof from {old} to {size} in a tree of {len(self)} leaves.")
        if old in (0, size):
            return []
        path, low, high, whole = [], 0, size, True
        while old != high:
            middle = low + _split(high - low)
            if old <= middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low, whole = middle, False
        if not whole:
            path.append(self._range(low, high))
        return path[::-1]

    def _range(self, low: int, high: int) -> bytes:
        """The hash over leaves low..high-1 of an aligned part of the tree."""
        width = high - low
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self.full(level, low >> level)
        middle = low + _split(width)
        return node_hash(self._range(low, middle), self._range(middle, high))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that `leaf` is number `index` of `size` under `root` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    position, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            value = node_hash(sibling, value)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and value == root


def verify_consistency(old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> bool:
    """Whether `proof` shows that the tree only grew from `old` to `size` (RFC 9162, 2.1.4.2)."""
    if not 0 < old < size:
        expected = EMPTY_ROOT if old == 0 else root
        return 0 <= old <= size and not proof and old_root == expected
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    position, last = old - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_value = new_value = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_value, new_value = node_hash(sibling, old_value), node_hash(sibling, new_value)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new_value = node_hash(new_value, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old_value == old_root and new_value == root


def _split(width: int) -> int:
    """The largest power of two below `width` (width > 1)."""
    return 1 << (width - 1).bit_length() - 1
