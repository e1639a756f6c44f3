"""Six requirements of OWASP's Application Security Verification Standard 5.0, each by its number."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from governance.actions import hold, promote, stop
from governance.assurance.views import events_csv
from governance.errors import NotAllowed
from governance.models import Attempt, AuditEntry, Pointer
from tests.governance.cast import REASON, World, approved, make_adapter, ready, say
from tests.governance.desk.deciding_posts import governed_state, make_posts
from tests.governance.together import together

pytestmark = pytest.mark.one_database


def as_person(world: World, name: str) -> Client:
    client = Client(headers={"host": "localhost"}, raise_request_exception=False)
    client.force_login(getattr(world.cast, name).user)
    return client


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\0=1"])
def test_v1_2_10_exported_cells_are_no_formulas_and_quotes_are_doubled(world: World, formula: str) -> None:
    hold(digest=world.seed.digest, reason=REASON, by=world.cast.act("operator"))
    entry = AuditEntry.objects.latest("seq").entry()
    entry["reason"] = f'{formula} said "so",\ntwice'
    exported = events_csv([("ab" * 32, entry)]).decode()
    header, row = list(csv.reader(io.StringIO(exported)))
    assert dict(zip(header, row, strict=True))["reason"] == f'\'{formula} said "so",\ntwice'
    assert '""so""' in exported


def test_v2_3_5_what_matters_most_takes_several_people(world: World) -> None:
    weights = ready(world, adapter=make_adapter(world.task))
    say(world, "rita", weights)
    with pytest.raises(NotAllowed):
        promote(proposal=weights, reason=REASON, by=world.cast.act("operator"))
    with pytest.raises(NotAllowed, match="one each is all there is"):
        say(world, "rita", weights)
    with pytest.raises(NotAllowed, match="somebody else must decide"):
        say(world, "starter", weights)
    say(world, "ravi", weights)
    promote(proposal=weights, reason=REASON, by=world.cast.act("operator"))
    assert Pointer.objects.get(key="release:digits").digest == weights.target


@pytest.mark.parametrize("password", [{}, {"password": "guessed"}])
def test_v7_5_3_every_act_that_decides_asks_for_the_password_again(
    world: World, password: dict[str, str]
) -> None:
    posts = make_posts(world)
    before = governed_state()
    for post in posts:
        Attempt.objects.all().delete()
        answer = as_person(world, post.who).post(post.address, {**post.form, **password})
        assert answer.status_code == 403, post
        assert "The password is not yours" in answer.content.decode(), post
    assert governed_state() == before


def test_v15_4_2_a_check_and_the_act_that_depends_on_it_are_one(lasting_world: World) -> None:
    world = lasting_world
    proposal = approved(world)
    held = world.seed.digest
    refused = together(
        lambda: promote(proposal=proposal, reason=REASON, by=world.cast.act("operator")),
        lambda: stop(scope="", reason=REASON, by=world.cast.act("rita")),
        lambda: hold(digest=held, reason=REASON, by=world.cast.act("starter")),
    )
    moves = list(AuditEntry.objects.filter(action="pointer.move", outcome="allowed").order_by("seq"))
    stops = AuditEntry.objects.get(action="stop")
    went_live = Pointer.objects.get(key="release:digits").digest == proposal.target
    assert went_live == (len(refused) == 0)
    if went_live:
        assert moves[-1].seq < stops.seq


def test_v16_4_2_the_log_cannot_be_changed_nor_read_by_everybody(world: World) -> None:
    entry = AuditEntry.objects.earliest("seq")
    for change in (
        lambda: AuditEntry.objects.filter(pk=entry.pk).update(outcome="denied"),
        lambda: AuditEntry.objects.filter(pk=entry.pk).delete(),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    for name, status in (("rita", 403), ("outsider", 403), ("ada", 200)):
        assert as_person(world, name).get(f"/audit/{entry.seq}/").status_code == status


def test_v16_5_3_what_fails_on_the_way_does_not_happen(world: World) -> None:
    waiting, proposal = ready(world, adapter=make_adapter(world.task)), approved(world)
    before = governed_state()
    with connection.execute_wrapper(_refuse_entries), pytest.raises(DatabaseError):
        promote(proposal=proposal, reason=REASON, by=world.cast.act("operator"))
    assert governed_state() == before
    with connection.execute_wrapper(_refuse_entries), pytest.raises(DatabaseError):
        say(world, "rita", waiting)
    assert governed_state() == before


def _refuse_entries(
    execute: Callable[..., object], sql: str, params: object, many: bool, context: object
) -> object:
    if sql.startswith("INSERT") and "governance_auditentry" in sql:
        raise DatabaseError("The disk is full.")
    return execute(sql, params, many, context)
