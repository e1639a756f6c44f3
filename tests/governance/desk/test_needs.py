"""What the page of a proposal says it still needs, in every stage of its life."""

from __future__ import annotations

import json

import pytest

from governance import rules
from governance.actions import acknowledge, break_glass, promote, revert
from governance.desk.needs import needs_of
from governance.models import Evidence, Proposal
from governance.roles import OPERATOR
from tests.governance.cast import (
    BOLDER,
    FAIRER,
    REASON,
    World,
    age,
    drafted,
    make_release,
    make_world,
    promoted,
    ready,
    say,
    submit_evaluator,
    verifying,
)

pytestmark = pytest.mark.one_database

WHY = "Every answer since midnight is wrong and no former release reads the new scans."


def needed(proposal: Proposal, blind: bool = False) -> list[tuple[str, str]]:
    """(state, sentence) of each need."""
    proposal.refresh_from_db()
    evidence = list(proposal.evidence.all())
    found = needs_of(proposal, rules.standing(proposal), evidence, blind)
    return [(need.state, need.sentence) for need in found]


def test_before_it_is_verified_it_lacks_its_evidence_and_has_no_date(world: World) -> None:
    assert needed(drafted(world)) == [
        ("unmet", "Not verified yet; nobody can decide before that."),
        ("unmet", "The lane asks for the evidence “comparison”, which is missing."),
        ("unmet", "Approval by 2 different reviewers: 0 of 2 count today."),
    ]
    assert needed(verifying(world))[0] == (
        "unmet",
        "The verifier is at work; nobody can decide before it is done.",
    )


def test_once_it_is_verified_it_waits_for_people_until_a_date(world: World) -> None:
    proposal = ready(world)
    verified, carries, approval, until = needed(proposal)
    assert verified == ("met", "Verified, and its subject is fixed.")
    assert carries == ("met", "Carries the evidence that the lane asks for (comparison).")
    assert approval == ("unmet", "Approval by a reviewer: 0 of 1 count today.")
    assert proposal.expires_at is not None
    assert until == ("info", f"Expires on {rules.minute(proposal.expires_at)} unless promoted by then.")
    say(world, "rita", proposal)
    assert needed(proposal)[2] == ("met", "Approval by a reviewer: 1 of 1 count today.")


def test_it_cools_off_from_its_last_approval_on(world: World) -> None:
    proposal = submit_evaluator(world.task, FAIRER, world.cast.act("operator"))
    waits = "Cools off for 24 hours after the last approval needed."
    assert ("unmet", waits) in needed(proposal)
    assert ("info", waits) in needed(proposal, blind=True)
    for name in ("olga", "otto"):
        say(world, name, proposal)
    (cooling,) = (need for need in needed(proposal) if "cools off" in need[1])
    assert cooling[0] == "unmet" and "cools off for 24 hours" in cooling[1]
    age(proposal, hours=25)
    assert ("met", "Cooled off for 24 hours.") in needed(proposal)


def test_what_went_live_at_once_waits_for_its_review_and_an_emergency_for_its_end(
    db: None, signer_home: object
) -> None:
    more = {"rita": (OPERATOR,), "otto": (OPERATOR,)}
    world = make_world(more)
    proposal = promoted(world)
    assert needed(proposal) == [("met", "Promoted.")]
    by = world.cast.act("operator")
    back = revert(key=proposal.key, to_digest=world.seed.digest, reason=REASON, by=by)
    assert needed(back) == [
        ("met", "Promoted."),
        ("unmet", "It went live at once and waits for its review afterwards."),
    ]
    acknowledge(proposal=back, reason="The former release reads them all.", by=world.cast.act("rita"))
    assert needed(back) == [
        ("met", "Promoted."),
        ("met", "Reviewed afterwards by rita: The former release reads them all."),
    ]
    emergency = break_glass(release=make_release(world.task, BOLDER), reason=WHY, by=by)
    for name in ("rita", "otto"):
        say(world, name, emergency)
    promote(proposal=emergency, reason=REASON, by=by)
    emergency.refresh_from_db()
    assert emergency.reverts_at is not None
    assert needed(emergency)[1] == (
        "unmet",
        f"Unless a reviewer looks at it, it goes back by itself on {rules.minute(emergency.reverts_at)}.",
    )


QUERIES = ("info", "Hidden query 2 of 20 that its campaign may ask.")
ANSWERS = ("info", "The hidden set has answered 11 of 40 queries, all campaigns together.")


@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        ({"used": 2, "allowed": 20, "epoch_used": 11, "epoch_allowed": 40}, [QUERIES, ANSWERS]),
        ({"used": 2, "allowed": 20, "epoch_used": 11}, [QUERIES]),
        ({"used": None, "allowed": 20, "epoch_used": 11, "epoch_allowed": 40}, [ANSWERS]),
        ([2, 20], []),
    ],
)
def test_the_ledger_is_told_as_far_as_it_states_numbers(
    world: World, ledger: object, said: list[tuple[str, str]]
) -> None:
    proposal = ready(world)
    body = json.dumps(ledger).encode()
    Evidence.objects.create(
        proposal=proposal, name="ledger", media_type="application/json", sha256="0" * 64, size=1, body=body
    )
    assert [need for need in needed(proposal) if "idden" in need[1]] == said
