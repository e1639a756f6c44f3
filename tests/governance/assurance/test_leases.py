"""Serving leases: what the signer signs, what serving believes, and when none is given."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from governance.actions import hold, resume, stop
from governance.actors import Actor
from governance.assurance.bundle_parts import parse_proof
from governance.assurance.leases import REFUSED, grant_lease
from governance.assurance.receipt import LeaseInvalid, Moved, check_lease, check_receipt
from governance.assurance.receipts import make_receipt
from governance.audit.checkpoints import get_signer, key_files, make_checkpoint
from governance.audit.lease import (
    LEASE,
    LoggedMove,
    ServingLease,
    lease_of,
    lease_text,
    open_lease,
    parse_lease,
)
from governance.audit.notes import (
    NoteError,
    TreeHead,
    checkpoint_text,
    format_note,
    make_key,
    open_checkpoint,
    open_note,
    open_rotation,
    parse_checkpoint,
)
from governance.audit.signer import FileSigner, SigningRefused
from governance.audit.stored_tree import StoredTree
from governance.audit.tokens import create_token
from governance.audit.tree import Tree, leaf_hash
from governance.errors import AuditError, BadInput, NotAllowed
from governance.models import AuditEntry, Checkpoint, Pointer, Release, Task
from tests.governance.cast import REASON, World

NONCE = "0123456789abcdef" * 2
KEY = "release:digits"


@pytest.fixture
def bearer(auditor: Actor) -> dict[str, str]:
    """The header of a consumer that may read."""
    return {"Authorization": f"Bearer {create_token(name='serving', by=auditor)}"}


def lease_at(now: datetime) -> ServingLease:
    """A lease as its text says it."""
    return ServingLease("pawl/log-1", KEY, "d" * 64, 3, 17, NONCE, now)


def logged() -> LoggedMove:
    """The last move of the pointer, as the signed log has it."""
    receipt = make_receipt(KEY)
    proof = parse_proof(receipt["proof"].encode(), "proof")
    return LoggedMove(receipt["entry"].encode(), proof.index, tuple(proof.hashes), proof.checkpoint)


def ask(client: Client, bearer: dict[str, str], nonce: str = NONCE, task: str = "digits") -> Any:
    """The answer over HTTP."""
    return client.get(f"/api/v1/tasks/{task}/lease?nonce={nonce}", headers=bearer)


def test_a_lease_has_one_form_and_no_other_note_is_read_as_one() -> None:
    now = datetime(2026, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    text = lease_text(lease_at(now))
    assert parse_lease(text) == lease_at(now)
    assert text.splitlines()[-1] == "2026-05-01T12:00:00.500Z"
    with pytest.raises(NoteError, match="three lines"):
        parse_checkpoint(text)
    for other in (
        checkpoint_text(TreeHead("pawl/serving-lease/v1", 3, bytes(32))),
        text.replace("v1", "v2"),
        text + "\n",
        text.replace("\n3\n", "\n03\n"),
        text.replace("\n3\n", "\nthree\n"),
        text.replace("500Z", "500+00:00"),
        text.replace("500Z", "500"),
        text.replace("12:00", "25:00"),
        lease_text(replace(lease_at(now), key=f"{KEY}\nmore")),
    ):
        with pytest.raises(NoteError):
            parse_lease(other)


def test_what_is_live_is_leased_for_thirty_seconds_and_checked_offline(
    world: World, history: Checkpoint, client: Client, bearer: dict[str, str]
) -> None:
    before = AuditEntry.objects.count()
    asked = timezone.now()
    answer = ask(client, bearer).json()
    answered = timezone.now()
    entries = AuditEntry.objects.filter(seq__gte=before).values_list("action", flat=True)
    assert list(entries) == ["audit.read"]
    ask(client, bearer)
    assert AuditEntry.objects.count() == before + 1, "a lease is no entry"
    keys = [get_signer().key()]
    moved = check_receipt(answer["receipt"], keys, KEY, answer["release"])
    lease = check_lease(answer["lease"], keys, moved, NONCE, timezone.now())
    assert (lease.digest, lease.generation, lease.seq) == (world.seed.digest, 2, moved.seq)
    assert asked - timedelta(milliseconds=1) <= lease.not_after - LEASE <= answered
    with pytest.raises(NoteError):
        open_checkpoint(answer["lease"].encode(), keys)
    with pytest.raises(NoteError):
        open_rotation(answer["lease"].encode(), keys[0])
    with pytest.raises(NoteError):
        open_lease(Checkpoint.objects.latest("size").note.encode(), keys)


def test_serving_refuses_every_lease_but_the_one_it_asked_for(world: World, history: Checkpoint) -> None:
    now, keys = timezone.now(), [get_signer().key()]
    grant = grant_lease(world.task, NONCE, now)
    moved = check_receipt(grant.receipt, keys, KEY, world.seed.digest)
    check_lease(grant.lease, keys, moved, NONCE, now)
    cases: list[tuple[str, Moved, str, datetime, str]] = [
        (grant.lease, moved, "f" * 32, now, "answers another request"),
        (grant.lease, moved, NONCE, now + LEASE, "set both clocks right"),
        (grant.lease, replace(moved, generation=1), NONCE, now, "the receipt of"),
        (grant.lease, replace(moved, digest="0" * 64), NONCE, now, "the receipt of"),
        (grant.lease, replace(moved, seq=1), NONCE, now, "the receipt of"),
        (grant.lease, replace(moved, key="release:other"), NONCE, now, "the receipt of"),
        ("\ud800", moved, NONCE, now, "cannot be checked"),
    ]
    for note, shown, nonce, at, sentence in cases:
        with pytest.raises(LeaseInvalid, match=sentence):
            check_lease(note, keys, shown, nonce, at)
    for place in range(0, len(grant.lease), 7):
        changed = grant.lease[:place] + chr(ord(grant.lease[place]) ^ 1) + grant.lease[place + 1 :]
        with pytest.raises(LeaseInvalid):
            check_lease(changed, keys, moved, NONCE, now)
    with pytest.raises(LeaseInvalid, match="no known key"):
        check_lease(grant.lease, [make_key(keys[0].name, bytes(32))], moved, NONCE, now)


def test_a_lease_of_another_log_is_none(tmp_path: Path) -> None:
    mine, other = FileSigner(tmp_path / "a"), FileSigner(tmp_path / "b")
    key, stranger = mine.create(), other.create()
    secret = other._secret()[1]
    text = lease_text(lease_at(timezone.now()))
    note = format_note(text, stranger, secret.sign(text.encode()))
    assert open_note(note, [key, stranger]) == text
    with pytest.raises(NoteError, match="another log"):
        open_lease(note, [key, stranger])


@pytest.mark.parametrize("scope", ["", "digits"])
def test_no_lease_is_given_while_a_stop_covers_the_task(
    world: World, client: Client, bearer: dict[str, str], scope: str
) -> None:
    assert ask(client, bearer).status_code == 200
    stop(scope=scope, reason=REASON, by=world.cast.act("rita"))
    answer = ask(client, bearer)
    assert answer.status_code == 409 and "was stopped on" in answer.json()["error"]
    assert client.get("/api/v1/tasks/digits/live", headers=bearer).status_code == 200
    for name in ("operator", "olga"):
        resume(scope=scope, reason=REASON, by=world.cast.act(name))
    assert ask(client, bearer).status_code == 200


def test_a_stop_of_another_task_changes_nothing(world: World, client: Client, bearer: dict[str, str]) -> None:
    stop(scope="other", reason=REASON, by=world.cast.act("rita"))
    assert ask(client, bearer).status_code == 200


def test_what_is_held_but_live_stays_leased_until_it_is_reverted(
    world: World, client: Client, bearer: dict[str, str]
) -> None:
    hold(digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    assert ask(client, bearer).json()["release"] == world.seed.digest


def test_a_consumer_is_told_what_is_wrong(
    world: World, client: Client, bearer: dict[str, str], settings: Settings
) -> None:
    for nonce in ("", "0" * 31, "g" * 32, "A" * 32):
        assert ask(client, bearer, nonce).status_code == 400
    assert ask(client, bearer, task="nothing").status_code == 404
    assert ask(client, {}).status_code == 401
    assert client.post(f"/api/v1/tasks/digits/lease?nonce={NONCE}", headers=bearer).status_code == 405
    settings.SIGNER_EXTERNAL, settings.SIGNER_SOCKET = True, Path(settings.PAWL_HOME) / "nobody"
    answer = ask(client, bearer)
    assert answer.status_code == 503 and "does not answer" in answer.json()["error"]
    Task.objects.create(slug="empty", title="Empty", spec={}, spec_digest="0" * 64)
    assert ask(client, bearer, task="empty").status_code == 404


def test_a_pointer_that_the_log_did_not_move_is_not_leased_and_the_refusal_is_one_entry(
    world: World, client: Client, bearer: dict[str, str]
) -> None:
    Pointer.objects.filter(key=KEY).update(generation=7)
    for _ in range(2):
        answer = ask(client, bearer)
        assert answer.status_code == 503 and "the log's last move at 0" in answer.json()["error"]
    Release.objects.filter(pk=world.seed.pk).update(binding={"base_model": "x"})
    Pointer.objects.filter(key=KEY).update(generation=0)
    assert "do not give its digest" in ask(client, bearer).json()["error"]
    refused = AuditEntry.objects.filter(action=REFUSED).order_by("seq")
    assert [(row.outcome, row.object_id, row.task) for row in refused] == [("denied", KEY, "digits")] * 2


def test_the_signer_leases_what_its_own_log_made_live_and_nothing_else(world: World) -> None:
    make_checkpoint()
    signer, move, now = get_signer(), logged(), timezone.now()
    half = timedelta(seconds=15)
    signer.sign_lease(move, NONCE, now + half)
    ready = AuditEntry.objects.filter(action="pointer.move").first()
    entry = AuditEntry.objects.exclude(action="pointer.move").latest("seq")
    assert ready is not None
    size = open_checkpoint(move.checkpoint, [signer.key()]).size
    other = replace(
        move,
        entry=entry.body.encode(),
        index=entry.seq,
        proof=tuple(StoredTree(size).inclusion_proof(entry.seq)),
    )
    cases: list[tuple[LoggedMove, str, datetime, str]] = [
        (move, "short", now + half, "nonce"),
        (move, NONCE, now + LEASE + half, "at most 30 seconds"),
        (move, NONCE, now - half, "not in the past"),
        (move, NONCE, (now + half).replace(tzinfo=None), "not in the past"),
        (replace(move, entry=move.entry + b" "), NONCE, now + half, "is not number"),
        (replace(move, index=move.index + 1), NONCE, now + half, "is not number"),
        (other, NONCE, now + half, "not of a move"),
        (replace(move, checkpoint=b"x"), NONCE, now + half, "no signatures"),
    ]
    for asked, nonce, ends, sentence in cases:
        with pytest.raises(SigningRefused, match=sentence):
            signer.sign_lease(asked, nonce, ends)
    stranger = FileSigner(Path(key_files().folder) / "other")
    stranger.create()
    tree = Tree([leaf_hash(b"{}")])
    odd = LoggedMove(b"{}", 0, (), stranger.sign(1, tree.root(1), []))
    with pytest.raises(SigningRefused, match="entry is malformed"):
        stranger.sign_lease(odd, NONCE, now + half)
    with pytest.raises(SigningRefused, match="no known key"):
        stranger.sign_lease(move, NONCE, now + half)


def test_a_lease_ends_after_now_and_thirty_seconds_later_at_the_latest(world: World) -> None:
    make_checkpoint()
    move, keys, now = logged(), [get_signer().key()], timezone.now()
    least = timedelta(microseconds=1)
    for ends in (now, now + LEASE + least):
        with pytest.raises(NoteError, match="not in the past"):
            lease_of(move, keys, NONCE, ends, now)
    for ends in (now + least, now + LEASE):
        assert lease_of(move, keys, NONCE, ends, now).not_after == ends


def test_while_a_key_is_changed_a_lease_carries_both_signatures(world: World) -> None:
    signer = get_signer()
    old = signer.key()
    new = open_rotation(signer.prepare_rotation(), old)
    note = signer.sign_lease(logged(), NONCE, timezone.now() + LEASE / 2)
    assert open_lease(note, [old]) == open_lease(note, [new])


def test_nothing_live_is_nothing_to_lease(world: World) -> None:
    empty = Task.objects.create(slug="empty", title="Empty", spec={}, spec_digest="0" * 64)
    with pytest.raises(BadInput, match="no live release"):
        grant_lease(empty, NONCE, timezone.now())
    stop(scope="empty", reason=REASON, by=world.cast.act("rita"))
    with pytest.raises(NotAllowed):
        grant_lease(empty, NONCE, timezone.now())
    with pytest.raises(AuditError, match="no lease"):
        grant_lease(world.task, NONCE, timezone.now(), span=2 * LEASE)
