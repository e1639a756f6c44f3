"""Checkpoints are made after the commit, from what is committed, and a rewritten table sets off the alarm."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone

from governance.actors import LOOP
from governance.assurance.verify import live_differences
from governance.audit.checkpoints import (
    HEARTBEAT,
    SIGN_EVERY,
    check_ready,
    get_signer,
    init_signer,
    latest,
    make_checkpoint,
    tick,
)
from governance.audit.log import record
from governance.audit.notes import open_checkpoint
from governance.audit.queries import inclusion
from governance.audit.signer import KEY_FILE, SigningRefused
from governance.audit.stored_tree import StoredTree
from governance.errors import AuditError
from governance.models import AuditEntry, AuditHead, Checkpoint

triggers = import_module("governance.migrations.0002_append_only")


def append(count: int = 1) -> None:
    for _ in range(count):
        with transaction.atomic():
            record(by=LOOP, action="campaign.started", subject=("campaign", "7"))


def as_owner(statement: str) -> None:
    """What only the table's owner can do: drop the triggers, change rows, put the triggers back."""
    with connection.cursor() as cursor:
        for each in [*triggers.drop_statements(connection.vendor), statement]:
            cursor.execute(each)
        for each in triggers.create_statements(connection.vendor):
            cursor.execute(each)


def test_a_checkpoint_states_size_and_root_and_opens_with_the_key(db: None, signer_home: Path) -> None:
    append(5)
    made = make_checkpoint()
    head = open_checkpoint(made.note.encode(), [get_signer().key()])
    assert (head.size, head.root.hex()) == (made.size, made.root) == (5, StoredTree(5).root().hex())
    assert make_checkpoint() == made == latest()
    append()
    assert make_checkpoint().size == 6
    assert live_differences() == []


def test_an_empty_log_has_nothing_to_sign(db: None, signer_home: Path) -> None:
    with pytest.raises(AuditError, match="empty"):
        make_checkpoint()


def test_a_checkpoint_inside_a_transaction_is_refused(transactional_db: None, signer_home: Path) -> None:
    append()
    with pytest.raises(AuditError, match="on_commit"), transaction.atomic():
        make_checkpoint()
    assert get_signer().last().size == 0


def test_a_rewritten_entry_is_not_signed_and_sets_off_the_alarm(db: None, signer_home: Path) -> None:
    append(6)
    make_checkpoint()
    as_owner(f"UPDATE governance_auditentry SET leaf = '{'0' * 64}' WHERE seq = 2")
    append()
    with pytest.raises(SigningRefused):
        make_checkpoint()
    alarm = AuditEntry.objects.latest("seq")
    assert (alarm.action, alarm.outcome, alarm.seq) == ("audit.alarm", "failed", 7)
    assert "does not grow" in alarm.entry()["reason"]
    assert latest() is not None and Checkpoint.objects.count() == 1


def test_a_log_set_back_to_an_old_copy_is_not_signed_and_stops_promotions(
    db: None, signer_home: Path
) -> None:
    append(6)
    make_checkpoint()
    check_ready()
    as_owner("DELETE FROM governance_auditentry WHERE seq >= 3")
    AuditHead.objects.update(size=3)
    with pytest.raises(AuditError, match="older than its signer"):
        check_ready()
    with pytest.raises(SigningRefused, match="cut or set back"):
        make_checkpoint()


def test_a_missing_entry_is_named(db: None, signer_home: Path) -> None:
    append(6)
    as_owner("DELETE FROM governance_auditentry WHERE seq = 2")
    with pytest.raises(AuditError, match="Entry 2 is missing"):
        make_checkpoint()


def test_an_entry_of_a_log_that_lost_another_one_is_shown_not_to_hold(db: None, signer_home: Path) -> None:
    append(6)
    checkpoint = make_checkpoint()
    entry = AuditEntry.objects.get(seq=5)
    whole = inclusion(entry, checkpoint)
    as_owner("DELETE FROM governance_auditentry WHERE seq = 2")
    broken = inclusion(entry, checkpoint)
    assert whole is not None and (whole["holds"], len(whole["path"])) == (True, 2)
    assert broken is not None and (broken["holds"], broken["path"]) == (False, [])


def test_a_tree_larger_than_the_log_is_refused(db: None) -> None:
    append(2)
    with pytest.raises(AuditError, match="Entry 2 is missing from the log; 9"):
        StoredTree(9).root()


def test_a_new_key_for_a_signed_log_is_refused(db: None, signer_home: Path) -> None:
    key = init_signer()
    assert init_signer() == key
    append()
    make_checkpoint()
    for name in ("audit-signer.key", "audit-signer.json"):
        (signer_home / "keys" / name).unlink()
    with pytest.raises(AuditError, match="restore the log's own key"):
        init_signer()
    with pytest.raises(AuditError):
        check_ready()


def test_upkeep_signs_what_is_new_and_beats_once_a_silent_day(db: None, signer_home: Path) -> None:
    now = timezone.now()
    assert tick(now) is None
    append(2)
    signed = tick(now)
    assert signed is not None and signed.size == 2
    assert tick(now) is None
    append()
    assert tick(now) is None
    after_a_minute = tick(now + timedelta(minutes=1, seconds=30))
    assert after_a_minute is not None and after_a_minute.size == 3
    beat = tick(now + timedelta(days=1, minutes=1))
    assert beat is not None and beat.size == 4
    assert AuditEntry.objects.latest("seq").action == "audit.heartbeat"


def test_upkeep_signs_and_beats_from_the_very_moment_on_when_it_is_due(db: None, signer_home: Path) -> None:
    append()
    signed, least = tick(timezone.now()), timedelta(microseconds=1)
    assert signed is not None
    append()
    assert tick(signed.time + SIGN_EVERY - least) is None
    assert tick(signed.time + SIGN_EVERY) is not None
    newest = AuditEntry.objects.latest("seq")
    assert tick(newest.time + HEARTBEAT - least) is None
    assert tick(newest.time + HEARTBEAT) is not None


def test_the_live_check_names_every_difference(db: None, signer_home: Path) -> None:
    append(6)
    make_checkpoint()
    as_owner("UPDATE governance_auditentry SET body = replace(body, 'campaign', 'champagne') WHERE seq = 2")
    as_owner("UPDATE governance_auditentry SET actor = 'somebody' WHERE seq = 3")
    as_owner("UPDATE governance_auditentry SET body = '{}' WHERE seq = 4")
    AuditHead.objects.update(size=9)
    found = " ".join(live_differences())
    for sentence in (
        "Entry 2 does not hash to its leaf", "Entry 3 has columns that differ", "Entry 4 is malformed",
        "The head counts 9 entries, the table has 6", "another root at 6", "not those that the signer signed at 6",
    ):  # fmt: skip
        assert sentence in found


def test_the_live_check_names_missing_entries_and_a_checkpoint_beyond_the_log(
    db: None, signer_home: Path
) -> None:
    append(4)
    assert live_differences() == []
    make_checkpoint()
    as_owner("DELETE FROM governance_auditentry WHERE seq = 1")
    found = " ".join(live_differences())
    assert "Entry 1 is missing; the next one is 2" in found
    assert "A checkpoint states 4 entries, the table has 3" in found


def test_the_live_check_sees_lost_triggers_and_a_lost_key(db: None, signer_home: Path) -> None:
    append()
    make_checkpoint()
    (signer_home / "keys" / KEY_FILE).unlink()
    with connection.cursor() as cursor:
        for statement in triggers.drop_statements(connection.vendor):
            cursor.execute(statement)
    found = live_differences()
    assert sum("lost the triggers" in sentence for sentence in found) == 4
    assert any("cannot be checked" in sentence for sentence in found)
