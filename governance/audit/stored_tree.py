"""The log's tree as the database keeps it: proofs and roots that read a few hundred rows, whatever the log's size."""

from __future__ import annotations

from functools import lru_cache

from governance.audit.tree import Tree, node_hash
from governance.errors import AuditError
from governance.models import AuditEntry, AuditNode

STEP = 8  # every eighth level is stored; the levels between are hashed again when asked for
WIDTH = 1 << STEP


class StoredTree(Tree):
    """The tree over the first `size` entries, read in blocks of 256 hashes as they are needed."""

    def __init__(self, size: int) -> None:
        """Nothing is read yet. Raises AuditError later, wherever an entry turns out to be missing."""
        super().__init__()
        self._size = size
        self._block = lru_cache(maxsize=64)(self._read_block)

    def __len__(self) -> int:
        """The number of leaves."""
        return self._size

    def leaf(self, index: int) -> bytes:
        """One leaf hash. Raises IndexError beyond the tree."""
        if not 0 <= index < self._size:
            raise IndexError(index)
        return self.full(0, index)

    def append(self, leaf: bytes) -> None:
        """A stored tree grows by entries only. Raises TypeError."""
        raise TypeError("Append to the log, not to its tree.")

    def full(self, level: int, index: int) -> bytes:
        """The hash of full subtree number `index` among those of 2**level leaves."""
        stored, rest = divmod(level, STEP)
        first = index << rest
        block = self._block(stored * STEP, first >> STEP)
        return block.full(rest, (first & WIDTH - 1) >> rest)

    def _read_block(self, level: int, number: int) -> Tree:
        low, high = number * WIDTH, min((number + 1) * WIDTH, self._size >> level)
        if level == 0:
            rows = AuditEntry.objects.filter(seq__gte=low, seq__lt=high).order_by("seq")
            found = list(rows.values_list("seq", "leaf"))
        else:
            nodes = AuditNode.objects.filter(level=level, index__gte=low, index__lt=high).order_by("index")
            found = list(nodes.values_list("index", "hash"))
        for expected, (index, _) in enumerate(found, low):
            if index != expected:
                raise AuditError(
                    f"{_what(level, expected)} is missing from the log (the next one is {index})."
                )
        if len(found) != high - low:
            raise AuditError(
                f"{_what(level, low + len(found))} is missing from the log; {self._size} were expected."
            )
        return Tree(bytes.fromhex(value) for _, value in found)


def store_nodes(size: int) -> None:
    """Keep the hash of every full subtree below `size` at every eighth level. Call it under the log's lock."""
    tree = StoredTree(size)
    level = STEP
    while size >> level:
        known = (
            AuditNode.objects.filter(level=level).order_by("-index").values_list("index", flat=True).first()
        )
        start = 0 if known is None else known + 1
        for low in range(start, size >> level, 1_000):
            numbers = range(low, min(low + 1_000, size >> level))
            AuditNode.objects.bulk_create(
                AuditNode(level=level, index=number, hash=_parent(tree, level, number).hex())
                for number in numbers
            )
        level += STEP


def _parent(tree: Tree, level: int, index: int) -> bytes:
    return node_hash(tree.full(level - 1, 2 * index), tree.full(level - 1, 2 * index + 1))


def _what(level: int, index: int) -> str:
    return f"Entry {index}" if level == 0 else f"Node {index} of level {level}"
