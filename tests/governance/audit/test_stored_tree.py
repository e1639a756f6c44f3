"""The tree as the database keeps it gives the same roots and proofs as the whole tree, from a few queries."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from governance.audit.checkpoints import get_signer, make_checkpoint
from governance.audit.stored_tree import StoredTree, store_nodes
from governance.audit.tree import Tree, leaf_hash, verify_consistency, verify_inclusion
from governance.errors import AuditError
from governance.models import AuditEntry, AuditHead, AuditNode
from tests.governance.audit.test_checkpoints import as_owner

LARGE = 2**16 + 2**8 + 77  # every stored level is used, and none ends evenly


def leaves(start: int, end: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(start, end)]


def fill(start: int, end: int) -> None:
    """Entries in the table as far as the tree sees them."""
    now = timezone.now()
    AuditEntry.objects.bulk_create(
        [
            AuditEntry(seq=seq, body="", leaf=leaf.hex(), time=now, action="a", outcome="allowed", actor="x")
            for seq, leaf in enumerate(leaves(start, end), start)
        ],
        batch_size=5_000,
    )
    AuditHead.objects.update_or_create(pk=1, defaults={"size": end})


@pytest.mark.parametrize("sizes", [[1, 2, 3], [255, 256, 257], [300, 700, 1000], [512, 513]])
def test_roots_and_proofs_are_those_of_the_whole_tree_however_the_log_grew(
    db: None, sizes: list[int]
) -> None:
    done = 0
    for size in sizes:
        fill(done, size)
        store_nodes(size)
        whole, stored, done = Tree(leaves(0, size)), StoredTree(size), size
        assert (len(stored), stored.root()) == (size, whole.root())
        for index in {0, 1, size // 3, 255, 256, size - 1}:
            if index < size:
                assert stored.leaf(index) == whole.leaf(index)
                assert stored.inclusion_proof(index) == whole.inclusion_proof(index)
                assert stored.consistency_proof(index) == whole.consistency_proof(index)
    assert AuditNode.objects.filter(level=8).count() == sizes[-1] // 256


@pytest.mark.one_database
def test_a_large_log_is_signed_and_proven_with_a_few_queries(
    db: None, signer_home: Path, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    fill(0, LARGE - 1)
    make_checkpoint()
    fill(LARGE - 1, LARGE)
    with django_assert_max_num_queries(16):
        checkpoint = make_checkpoint()
    root = bytes.fromhex(checkpoint.root)
    assert root == Tree(leaves(0, LARGE)).root()
    assert AuditNode.objects.filter(level=16).count() == 1
    picks = random.Random(4)
    for _ in range(20):
        index = picks.randrange(LARGE)
        stored = StoredTree(LARGE)
        with django_assert_max_num_queries(6):
            proof = stored.inclusion_proof(index)
        assert verify_inclusion(leaf_hash(b"%d" % index), index, LARGE, proof, root)
        old = picks.randrange(1, LARGE)
        old_root = StoredTree(old).root()
        assert verify_consistency(old, LARGE, stored.consistency_proof(old), old_root, root)
    assert get_signer().last().size == LARGE


def test_a_tree_with_a_hole_or_a_false_node_proves_nothing(db: None, signer_home: Path) -> None:
    fill(0, 600)
    checkpoint = make_checkpoint()
    with pytest.raises(TypeError):
        StoredTree(600).append(b"")
    with pytest.raises(IndexError):
        StoredTree(600).leaf(600)
    with connection.cursor() as cursor:
        for statement in (
            __import__("importlib")
            .import_module("governance.migrations.0004_audit_trees_witnesses_tokens")
            .drop_statements(connection.vendor)
        ):
            cursor.execute(statement)
        cursor.execute("UPDATE governance_auditnode SET hash = %s", ["0" * 64])
    proof = StoredTree(600).inclusion_proof(599)
    assert not verify_inclusion(leaf_hash(b"599"), 599, 600, proof, bytes.fromhex(checkpoint.root))
    AuditNode.objects.all().delete()
    with pytest.raises(AuditError, match="Node 0 of level 8 is missing"):
        StoredTree(600).root()
    as_owner("DELETE FROM governance_auditentry WHERE seq = 590")
    with pytest.raises(AuditError, match="Entry 590 is missing"):
        StoredTree(600).leaf(599)
