"""The signer signs only what grew, remembers across restarts, and everything else fails closed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance.audit.notes import open_checkpoint, parse_key
from governance.audit.signer import KEY_FILE, NEXT_FILE, STATE_FILE, FileSigner, SigningRefused
from governance.audit.tree import Tree, leaf_hash
from governance.errors import AuditError

LEAVES = [leaf_hash(bytes([number])) for number in range(20)]


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    made = FileSigner(tmp_path)
    made.create()
    return made


def sign(signer: FileSigner, tree: Tree, size: int, since: int | None = None) -> bytes:
    since = signer.last().size if since is None else since
    return signer.sign(size, tree.root(size), tree.consistency_proof(since, size))


def test_a_growing_log_is_signed_and_the_signature_opens(signer: FileSigner) -> None:
    tree = Tree(LEAVES)
    for size in (1, 2, 7, 7, 20):
        head = open_checkpoint(sign(signer, tree, size), [signer.key()])
        assert (head.size, head.root, head.origin) == (size, tree.root(size), signer.key().name)
        assert signer.last() == head


def test_the_same_log_is_signed_again_with_the_same_bytes(signer: FileSigner) -> None:
    tree = Tree(LEAVES)
    assert sign(signer, tree, 9) == sign(signer, tree, 9)


def test_a_rewritten_log_is_refused_by_a_restarted_signer(signer: FileSigner) -> None:
    sign(signer, Tree(LEAVES), 12)
    rewritten = Tree([*LEAVES[:3], leaf_hash(b"rewritten"), *LEAVES[4:]])
    again = FileSigner(signer.folder)
    for size in (12, 13, 20):
        with pytest.raises(SigningRefused, match="does not grow"):
            sign(again, rewritten, size)
    assert again.last().size == 12


def test_a_shorter_log_or_a_proof_from_elsewhere_is_refused(signer: FileSigner) -> None:
    tree = Tree(LEAVES)
    sign(signer, tree, 12)
    with pytest.raises(SigningRefused):
        signer.sign(8, tree.root(8), [])
    with pytest.raises(SigningRefused):
        sign(signer, tree, 15, since=11)
    with pytest.raises(SigningRefused):
        signer.sign(20, tree.root(20), [])


def test_key_and_memory_are_private_and_the_key_reads_as_a_note_key(signer: FileSigner) -> None:
    assert (signer.folder / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert (signer.folder / STATE_FILE).stat().st_mode & 0o777 == 0o600
    assert parse_key(str(signer.key())) == signer.key()
    assert (signer.folder / KEY_FILE).read_text().startswith("PRIVATE+KEY+pawl/log-")


def test_a_second_key_is_never_made(signer: FileSigner) -> None:
    with pytest.raises(AuditError, match="exists"):
        signer.create()
    sign(signer, Tree(LEAVES), 3)
    (signer.folder / KEY_FILE).unlink()
    with pytest.raises(AuditError, match="exists"):
        signer.create()


def test_making_the_signer_goes_on_after_it_was_killed_half_way(signer: FileSigner) -> None:
    (signer.folder / KEY_FILE).unlink()
    key = signer.create()
    signer.check_ready()
    assert signer.last().origin == key.name


def test_without_a_key_nothing_is_ready(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="setup"):
        FileSigner(tmp_path).check_ready()


@pytest.mark.parametrize(
    "content", ["", "{}", '{"size": 3}', '{"origin":"x","size":"many","root":"00"}', "\xff"]
)
def test_a_damaged_memory_stops_signing(signer: FileSigner, content: str) -> None:
    (signer.folder / STATE_FILE).write_text(content)
    with pytest.raises(AuditError, match="memory"):
        signer.check_ready()
    with pytest.raises(AuditError):
        signer.sign(1, Tree(LEAVES).root(1), [])


def test_a_missing_memory_stops_signing(signer: FileSigner) -> None:
    (signer.folder / STATE_FILE).unlink()
    with pytest.raises(AuditError, match="memory"):
        signer.check_ready()


def test_a_memory_of_another_log_stops_signing(signer: FileSigner) -> None:
    state = json.loads((signer.folder / STATE_FILE).read_text())
    (signer.folder / STATE_FILE).write_text(json.dumps({**state, "origin": "pawl/other"}))
    with pytest.raises(AuditError, match="its memory of pawl/other"):
        signer.check_ready()


def test_a_key_that_others_can_read_is_not_used(signer: FileSigner) -> None:
    (signer.folder / KEY_FILE).chmod(0o640)
    with pytest.raises(AuditError, match="chmod 600"):
        signer.check_ready()


@pytest.mark.parametrize("damage", ["", "PRIVATE+KEY+a+b", "PUBLIC+KEY+pawl/x+00000000+AQ==", "\xff\xfe"])
def test_a_damaged_key_is_not_used(signer: FileSigner, damage: str) -> None:
    (signer.folder / KEY_FILE).write_text(damage)
    with pytest.raises(AuditError, match="key"):
        signer.check_ready()


def test_a_key_whose_id_does_not_fit_is_not_used(signer: FileSigner) -> None:
    path = signer.folder / KEY_FILE
    parts = path.read_text().split("+", 4)
    path.write_text("+".join([*parts[:3], "00000000", parts[4]]))
    with pytest.raises(AuditError, match="note format"):
        signer.check_ready()


def logged_rotation(signer: FileSigner) -> tuple[bytes, Tree]:
    """The entry of a prepared rotation, and a signed log that holds nothing else."""
    entry = json.dumps({"detail": {"note": signer.prepare_rotation().decode()}}).encode()
    tree = Tree([leaf_hash(entry)])
    sign(signer, tree, 1)
    return entry, tree


def test_the_key_changes_to_the_one_that_the_signed_log_names(signer: FileSigner) -> None:
    old = signer.key()
    entry, tree = logged_rotation(signer)
    other = json.dumps({"detail": {"note": signer.prepare_rotation().decode(), "more": 1}}).encode()
    with pytest.raises(SigningRefused, match="Entry 0 is not in the log of 1 entries"):
        signer.finish_rotation(other, 0, tree.inclusion_proof(0))
    assert signer.key() == old
    assert signer.finish_rotation(entry, 0, tree.inclusion_proof(0)) == signer.key() != old


def test_the_key_does_not_change_to_one_that_was_prepared_after_the_log_named_another(
    signer: FileSigner,
) -> None:
    old = signer.key()
    entry, tree = logged_rotation(signer)
    (signer.folder / NEXT_FILE).unlink()
    signer.prepare_rotation()
    with pytest.raises(SigningRefused, match="another key than the one that was prepared"):
        signer.finish_rotation(entry, 0, tree.inclusion_proof(0))
    assert signer.key() == old


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match="cannot be used"):
        FileSigner(tmp_path / "file" / "keys").create()
