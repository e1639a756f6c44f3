"""Refusals and failed sign-ins are entries, also when the transaction around them is rolled back."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from governance.actions import expire_due, install_task
from governance.actions.base import act
from governance.actors import LOOP, Actor
from governance.audit.checkpoints import tick
from governance.audit.refusals import log_refusals
from governance.desk.signin import sign_in
from governance.errors import NotAllowed
from governance.models import AuditEntry
from tests.governance.cast import World


def refused_inside(world: World, then_fail: bool) -> None:
    """A refused act in the middle of another transaction, which goes on or is rolled back."""
    with transaction.atomic():
        with pytest.raises(NotAllowed):
            install_task(spec={"id": "other"}, spec_digest="0" * 64, by=world.cast.act("rita"))
        if then_fail:
            raise RuntimeError("the rest of the work failed")


@pytest.mark.parametrize("then_fail", [True, False])
def test_a_refusal_survives_the_transaction_around_it(
    lasting_world: World, signer_home: Path, then_fail: bool
) -> None:
    before = AuditEntry.objects.count()
    if then_fail:
        with pytest.raises(RuntimeError):
            refused_inside(lasting_world, then_fail)
    else:
        refused_inside(lasting_world, then_fail)
    assert AuditEntry.objects.count() == before
    assert (signer_home / "run" / "refusals.jsonl").stat().st_size > 0
    tick(timezone.now())
    refusal = AuditEntry.objects.get(seq=before)
    assert (refusal.action, refusal.outcome, refusal.actor) == (
        "task.install", "denied", lasting_world.cast.rita.ref,
    )  # fmt: skip
    assert "refused_at" in refusal.entry()["detail"]
    assert log_refusals() == 0 and AuditEntry.objects.count() == before + 1


def test_a_verb_made_later_keeps_its_refusals_as_well(lasting_world: World, signer_home: Path) -> None:
    @act("proposal.withdraw")
    def never(*, by: Actor) -> None:
        raise NotAllowed("Nobody may.")

    with transaction.atomic(), pytest.raises(NotAllowed):
        never(by=LOOP)
    assert log_refusals() == 1
    with pytest.raises(NotAllowed):
        never(by=LOOP)
    assert log_refusals() == 0
    assert AuditEntry.objects.filter(action="proposal.withdraw", outcome="denied").count() == 2


def test_a_file_of_refusals_left_over_from_a_crash_is_not_logged_twice(
    lasting_world: World, signer_home: Path
) -> None:
    refused_inside(lasting_world, then_fail=False)
    path = signer_home / "run" / "refusals.jsonl"
    kept = path.read_bytes()
    assert log_refusals() == 1
    path.write_bytes(kept)
    assert log_refusals() == 0
    assert AuditEntry.objects.filter(action="task.install", outcome="denied").count() == 1


def test_a_refusal_outside_a_transaction_is_logged_at_once(lasting_world: World) -> None:
    with pytest.raises(NotAllowed):
        expire_due(now=timezone.now(), by=lasting_world.cast.act("rita"))
    assert AuditEntry.objects.latest("seq").action == "proposal.expire_due"


def test_failed_sign_ins_are_entries_without_what_was_typed(
    world: World, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    monkeypatch.setenv("PAWL_PASSWORD", "not the pass phrase")
    for name, ref in (("rita", world.cast.rita.ref), ("my secret typed here", "unknown")):
        with pytest.raises(NotAllowed):
            sign_in(name)
        entry = AuditEntry.objects.latest("seq")
        assert (entry.action, entry.outcome, entry.actor) == ("person.sign_in", "denied", ref)
        assert name not in entry.body
        assert entry.entry()["detail"] == {"auth": "command"}
    client.post("/login/", {"username": "rita", "password": "wrong"})
    assert AuditEntry.objects.latest("seq").entry()["detail"] == {"auth": "session"}


def test_guessing_does_not_fill_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance.desk.authentication.MAX_NOTED", 2)
    monkeypatch.setenv("PAWL_PASSWORD", "guess")
    for _ in range(4):
        with pytest.raises(NotAllowed):
            sign_in("rita")
    assert AuditEntry.objects.filter(action="person.sign_in").count() == 2
