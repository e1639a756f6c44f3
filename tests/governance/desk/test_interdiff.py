"""A proposal that went stale, the one that follows it, and what changed in between for whoever judged the first."""

from __future__ import annotations

import pytest
from django.test import Client

from governance.actions import EvidenceItem, finish_verification, refresh_stale, review
from governance.actors import VERIFIER
from governance.desk.interdiff import former_review, interdiff, successor
from governance.digests import sha256_hex
from governance.errors import BadInput
from governance.models import Pointer, Proposal, Review
from governance.policy import bundled_text
from governance.submitting import submit_policy
from tests.governance.cast import (
    BETTER,
    FAIRER,
    PASSWORD,
    REASON,
    SEED,
    Tree,
    World,
    age,
    promoted,
    ready,
    say,
    unreadable,
    verifying,
)

pytestmark = pytest.mark.one_database

FORMER = "Five votes are worth their price; the interval says so."
FIVE: Tree = {**SEED, "settings.toml": ("file", b"votes = 5\n")}
NEXT: Tree = {**SEED, "settings.toml": ("file", b"votes = 7\n"), "main.py": ("file", b"print(3)\n")}


def as_person(world: World, name: str) -> Client:
    client = Client(headers={"host": "localhost"})
    client.force_login(getattr(world.cast, name).user)
    return client


def page_of(world: World, name: str, proposal: Proposal) -> str:
    return as_person(world, name).get(f"/proposals/{proposal.ref}/").content.decode()


def judged_then_stale(world: World, verdict: str = "approve") -> tuple[Proposal, Proposal]:
    """One that rita judged and that another promotion overtook, and the one proposed after it."""
    first = ready(world, NEXT)
    review(
        proposal=first,
        verdict=verdict,
        reason=FORMER,
        subject_digest=first.subject_digest,
        by=world.cast.act("rita"),
    )
    promoted(world, BETTER)
    first.refresh_from_db()
    second = ready(world, {**NEXT, "settings.toml": ("file", b"votes = 9\n")}, old=BETTER)
    return first, second


def test_a_stale_proposal_says_which_part_moved_and_leads_to_what_follows_it(world: World) -> None:
    first, second = judged_then_stale(world)
    assert first.status == "stale"
    assert successor(first) == second
    page = page_of(world, "ravi", first)
    moved = page.split("<h2>What moved</h2>")[1].split("</section>")[0]
    assert "the live version that it replaces" in moved
    assert world.seed.digest[:12] in moved and second.base[:12] in moved
    assert f"/proposals/{second.ref}/" in page
    assert successor(second) is None


def test_whoever_judged_the_first_sees_what_changed_and_their_own_words(world: World) -> None:
    first, second = judged_then_stale(world)
    page = page_of(world, "rita", second)
    since = page.split("What changed since you looked")[1].split("</section>")[0]
    assert f"/proposals/{first.ref}/" in since
    assert "the live version that it replaces" in since and "the harness" in since
    assert "settings.toml" in since and "main.py" not in since
    assert '<mark><span class="mi">7' in since or "<mark>" in since
    assert f">{FORMER}</textarea>" in page


def test_others_see_neither(world: World) -> None:
    _, second = judged_then_stale(world)
    page = page_of(world, "ravi", second)
    assert "What changed since you looked" not in page
    assert FORMER not in page


def test_only_an_approval_is_offered_again(world: World) -> None:
    _, second = judged_then_stale(world, "request_changes")
    page = page_of(world, "rita", second)
    assert "What changed since you looked" in page
    assert FORMER not in page


def test_approving_again_takes_the_password_and_the_subject_of_today(world: World) -> None:
    first, second = judged_then_stale(world)
    rita = as_person(world, "rita")
    form = {"act": "approve", "reason": FORMER, "subject_digest": second.subject_digest}
    assert rita.post(f"/proposals/{second.ref}/act/", form).status_code == 403
    old = {**form, "subject_digest": first.subject_digest, "password": PASSWORD}
    assert rita.post(f"/proposals/{second.ref}/act/", old).status_code == 409
    assert not second.reviews.exists()
    assert rita.post(f"/proposals/{second.ref}/act/", {**form, "password": PASSWORD}).status_code == 302
    assert Review.objects.get(proposal=second).subject_digest == second.subject_digest


def test_a_verdict_on_something_that_went_live_is_not_offered_for_the_next(world: World) -> None:
    done = promoted(world, BETTER)
    second = ready(world, NEXT, old=BETTER)
    assert former_review(second, world.cast.rita) is None
    assert done.reviews.filter(person=world.cast.rita).exists()
    assert "What changed since you looked" not in page_of(world, "rita", second)


def test_an_own_approval_that_expired_is_offered_on_the_same_proposal(world: World) -> None:
    proposal = ready(world, NEXT)
    say(world, "rita", proposal)
    age(proposal, hours=73)
    page = page_of(world, "rita", proposal)
    assert "Your verdict has expired; its subject is still the same." in page
    assert f">{REASON}</textarea>" in page


def test_a_moved_policy_is_named_without_any_file(world: World) -> None:
    proposal = ready(world, NEXT)
    say(world, "rita", proposal)
    other = submit_policy(
        text=bundled_text().replace("min_reason = 10", "min_reason = 12"),
        summary="",
        by=world.cast.act("olga"),
    )
    Proposal.objects.filter(pk=other.pk).update(status="approved")
    Pointer.objects.filter(key="policy").update(digest=other.target)
    refresh_stale()
    proposal.refresh_from_db()
    again = ready(world, NEXT)
    assert (proposal.status, again.pk == proposal.pk) == ("stale", False)
    since = page_of(world, "rita", again).split("What changed since you looked")[1].split("</section>")[0]
    assert "the policy in force" in since and "No file differs from what you judged." in since


def test_a_file_whose_texts_no_evidence_carries_is_listed_and_never_guessed(world: World) -> None:
    items = [EvidenceItem("comparison", "application/json", b"{}")]
    first = finish_verification(
        proposal=verifying(world, NEXT), passed=True, reason="", evidence=items, by=VERIFIER
    )
    say(world, "rita", first)
    promoted(world, BETTER)
    first.refresh_from_db()
    second = ready(world, {**NEXT, "settings.toml": ("file", b"votes = 9\n")}, old=BETTER)
    found = interdiff(first, second)
    assert found.unknown == ("settings.toml",)
    assert (dict(found.old), dict(found.new)) == ({}, {})
    assert "no evidence carries both of its texts" in page_of(world, "rita", second)


def test_an_interdiff_of_policies_compares_their_whole_texts(world: World) -> None:
    texts = [bundled_text().replace("min_reason = 10", f"min_reason = {least}") for least in (12, 14)]
    first, second = (submit_policy(text=text, summary="", by=world.cast.act("olga")) for text in texts)
    found = interdiff(first, second)
    assert {sha256_hex(found.old["policy.toml"][1]), sha256_hex(found.new["policy.toml"][1])} == {
        first.target,
        second.target,
    }


@pytest.mark.parametrize(("body", "words"), [(b"{", "not JSON"), (b'{"files": 3}', "malformed")])
def test_evidence_that_cannot_be_read_is_said_and_hides_nothing_else(
    world: World, body: bytes, words: str
) -> None:
    first, second = unreadable(world, FAIRER, body), unreadable(world, SEED, b'{"files": []}')
    say(world, "olga", first, "request_changes")
    with pytest.raises(BadInput, match=words):
        interdiff(first, second)
    page = page_of(world, "olga", second)
    assert words in page and "What changed since you looked" in page
