"""The Merkle tree against published vectors and, for every small size, against the definition."""

from __future__ import annotations

import pytest

from governance.audit.tree import (
    EMPTY_ROOT,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

# The test inputs and roots that certificate-transparency implementations publish for RFC 6962.
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
LEAVES = [leaf_hash(bytes([number])) for number in range(40)]


def defined_root(leaves: list[bytes]) -> bytes:
    """The Merkle tree hash word for word as RFC 6962 defines it."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(defined_root(leaves[:split]), defined_root(leaves[split:]))


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size: int) -> None:
    assert Tree(leaf_hash(data) for data in INPUTS[:size]).root().hex() == ROOTS[size]


def test_published_consistency_proof_from_6_to_8_is_made_and_accepted() -> None:
    tree = Tree(leaf_hash(data) for data in INPUTS)
    proof = tree.consistency_proof(6)
    assert [value.hex() for value in proof] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert verify_consistency(6, 8, proof, bytes.fromhex(ROOTS[6]), bytes.fromhex(ROOTS[8]))


def test_roots_and_proofs_hold_for_every_size_and_every_leaf() -> None:
    tree = Tree(LEAVES)
    for size in range(len(LEAVES) + 1):
        root = tree.root(size)
        assert root == defined_root(LEAVES[:size])
        for index in range(size):
            assert verify_inclusion(LEAVES[index], index, size, tree.inclusion_proof(index, size), root)
        for old in range(size + 1):
            proof = tree.consistency_proof(old, size)
            assert verify_consistency(old, size, proof, tree.root(old), root)


def test_a_changed_proof_proves_nothing() -> None:
    tree = Tree(LEAVES)
    for size in (1, 2, 3, 7, 8, 31, 40):
        root = tree.root(size)
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            leaf = LEAVES[index]
            assert not verify_inclusion(leaf, index, size, [*proof, root], root)
            assert not verify_inclusion(leaf, index + 1, size, proof, root)
            assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, root)
            for place in range(len(proof)):
                assert not verify_inclusion(leaf, index, size, proof[:place] + proof[place + 1 :], root)
                assert not verify_inclusion(leaf, index, size, _flipped(proof, place), root)


def test_a_rewritten_past_has_no_consistency_proof() -> None:
    honest = Tree(LEAVES)
    rewritten = Tree([*LEAVES[:3], leaf_hash(b"rewritten"), *LEAVES[4:]])
    for old in range(4, 40):
        proof = rewritten.consistency_proof(old)
        assert not verify_consistency(old, 40, proof, honest.root(old), rewritten.root())
        for place in range(len(proof)):
            cut = proof[:place] + proof[place + 1 :]
            assert not verify_consistency(
                old, 40, _flipped(proof, place), rewritten.root(old), rewritten.root()
            )
            assert not verify_consistency(old, 40, cut, rewritten.root(old), rewritten.root())


def test_impossible_sizes_are_refused() -> None:
    tree = Tree(LEAVES[:3])
    for call in (
        lambda: tree.root(4),
        lambda: tree.root(-1),
        lambda: tree.inclusion_proof(3),
        lambda: tree.inclusion_proof(-1),
        lambda: tree.consistency_proof(4),
    ):
        with pytest.raises(ValueError, match=r"leaf|leaves"):
            call()
    assert not verify_inclusion(LEAVES[0], 3, 3, [], tree.root())
    assert not verify_consistency(4, 3, [], tree.root(), tree.root())
    assert not verify_consistency(-1, 3, [], tree.root(), tree.root())
    assert not verify_consistency(0, 3, [], tree.root(), tree.root())
    assert not verify_consistency(3, 3, [tree.root()], tree.root(), tree.root())
    assert not verify_consistency(3, 3, [], tree.root(2), tree.root())
    assert not verify_consistency(1, 3, [], tree.root(1), tree.root())
    assert not verify_consistency(3, 5, [], tree.root(), tree.root())


def _flipped(proof: list[bytes], place: int) -> list[bytes]:
    changed = bytes([proof[place][0] ^ 1]) + proof[place][1:]
    return [*proof[:place], changed, *proof[place + 1 :]]
