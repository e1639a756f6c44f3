"""How often the database is asked: as often in a full instance as in an empty one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from governance.actions import ReleaseDraft, hold, lift_hold, promote, register_release, revert
from governance.actors import LOOP
from governance.lineage import ancestry, check_not_held, derived_from, live_descendants
from governance.models import Hold, Proposal, Release
from tests.governance.cast import REASON, World, approved
from tests.governance.proof.crowd import OPEN_EVERY, add_entries, add_proposals

PROMOTE, REVERT, INBOX = 70, 80, 14  # measured: 61 to 64, 70, 11


def count(act: Callable[[], object]) -> int:
    """How many statements an act sends."""
    with CaptureQueriesContext(connection) as seen:
        act()
    return len(seen)


def turn(world: World) -> tuple[int, int]:
    """The statements of a promotion and of the revert after it; then everything is as it was."""
    proposal = approved(world)
    by = world.cast.act("operator")
    sent = (
        count(lambda: promote(proposal=proposal, reason=REASON, by=by)),
        count(
            lambda: revert(key="release:digits", to_digest=world.seed.digest, reason=REASON, by=by),
        ),
    )
    for name in ("operator", "starter"):
        lift_hold(digest=proposal.target, reason=REASON, by=world.cast.act(name))
    return sent


def test_a_full_instance_costs_no_more_statements_than_an_empty_one(world: World) -> None:
    client = Client(headers={"host": "localhost"})
    client.force_login(world.cast.rita.user)
    turn(world)  # the first one makes what is made once
    empty, listed = turn(world), count(lambda: client.get(reverse("desk:inbox")))
    add_proposals(world, 3 * OPEN_EVERY)
    add_entries(300)
    turn(world)  # its checkpoint stores the nodes of the new entries
    full = turn(world)
    assert max(full[0], empty[0]) <= PROMOTE
    assert max(full[1], empty[1]) <= REVERT
    assert full[0] - empty[0] <= 3  # the tree is two blocks high
    assert full[1] - empty[1] <= 3
    assert listed <= INBOX
    assert count(lambda: client.get(reverse("desk:inbox"))) <= INBOX


def line_of(world: World, length: int) -> Release:
    """The last of so many releases, each made from the one before, the first from the seed."""
    release = world.seed
    for number in range(length):
        binding = {**release.binding, "runtime": f"{number:064}"}
        draft = ReleaseDraft(world.task, release.harness, None, release, binding, "test")
        release = register_release(draft=draft, by=LOOP)
    return release


def test_a_line_of_releases_is_walked_one_statement_a_generation(world: World) -> None:
    last = line_of(world, 9)
    with CaptureQueriesContext(connection) as seen:
        line = ancestry(last)
    assert len(line) == 11  # ten releases, one harness
    assert len(seen) == 11
    assert count(lambda: check_not_held(last)) == 1  # nothing is held, so nothing is walked
    assert count(lambda: live_descendants(world.seed.digest)) <= 20


def test_a_hold_asks_for_the_open_proposals_that_it_stops_only(world: World) -> None:
    proposal = approved(world)
    add_proposals(world, 3 * OPEN_EVERY)
    few = count(lambda: hold(digest=proposal.target, reason=REASON, by=world.cast.act("operator")))
    assert Proposal.objects.filter(status="quarantined").count() == 1
    assert few <= 40
    many = count(lambda: hold(digest=world.seed.digest, reason=REASON, by=world.cast.act("operator")))
    assert Proposal.objects.filter(status="quarantined").count() == 4
    assert many > few
    assert Hold.objects.count() == 2


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_large_family_is_found_in_parts(
    world: World, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("governance.lineage.AT_ONCE", at_once)
    for number in range(5):
        binding = {**world.seed.binding, "runtime": f"{number:064}"}
        draft = ReleaseDraft(world.task, world.seed.harness, None, world.seed, binding, "test")
        register_release(draft=draft, by=LOOP)
    assert derived_from(world.task, world.seed.digest) == list(Release.objects.order_by("pk"))
    assert len(derived_from(world.task, world.seed.harness.digest)) == 6
