"""Holds, broken glass and roles from the pages: each by a form, a reason and the password."""

from __future__ import annotations

import pytest
from django.test import Client

from governance.actions import ReleaseDraft, register_release
from governance.actors import LOOP
from governance.lineage import ancestry, derived_from
from governance.models import Attempt, Hold, Proposal, Release
from governance.roster import roster_now
from tests.governance.cast import (
    BETTER,
    BOLDER,
    PASSWORD,
    REASON,
    World,
    change_role,
    make_adapter,
    make_harness,
    make_release,
    promoted,
)

pytestmark = pytest.mark.one_database

LONG = "Production answers are wrong and no former release is better."


def as_person(world: World, name: str) -> Client:
    client = Client(headers={"host": "localhost"})
    client.force_login(getattr(world.cast, name).user)
    return client


def post(world: World, name: str, address: str, form: dict[str, str]) -> tuple[int, str]:
    act = {"hold": "hold", "glass": "break_glass", "lift": "lift"}.get(address.split("/")[-2], "")
    sent = {"act": act, "reason": REASON, "password": PASSWORD, **form}
    answer = as_person(world, name).post(address, sent, follow=True)
    return answer.status_code, answer.content.decode()


def descend(world: World, parent: Release) -> Release:
    """A release made from another one, with another harness."""
    draft = ReleaseDraft(
        world.task, make_harness(world.task, BOLDER), make_adapter(world.task), parent, parent.binding, "test"
    )
    return register_release(draft=draft, by=LOOP)


def test_an_operator_holds_a_release_and_two_lift_it_from_the_pages(world: World) -> None:
    bad = make_release(world.task, BETTER)
    status, page = post(world, "operator", "/tasks/digits/hold/", {"digest": bad.digest})
    assert status == 200 and "is held; two people can lift it" in page
    assert '<span class="chip stale">held</span>' in page
    listed = as_person(world, "operator").get("/stops/").content.decode()
    assert bad.digest[:12] in listed and "Ask to lift</button>" in listed
    lift = {"digest": bad.digest}
    assert "a second person must ask too" in post(world, "operator", "/stops/lift/", lift)[1]
    page = as_person(world, "operator").get("/stops/").content.decode()
    assert "operator has already asked to lift this; it takes a second person." in page
    assert "Asked to lift it: operator." in page
    status, page = post(world, "operator", "/stops/lift/", lift)
    assert status == 403 and "has already asked" in page
    assert "The hold is lifted." in post(world, "starter", "/stops/lift/", lift)[1]
    assert not Hold.objects.filter(lifted_at=None).exists()


@pytest.mark.parametrize(
    ("name", "address", "form", "status", "words"),
    [
        ("rita", "/tasks/digits/hold/", {}, 403, "needs the role operator"),
        ("operator", "/tasks/digits/hold/", {"digest": "0" * 64}, 400, "Choose one of the task"),
        ("operator", "/tasks/digits/hold/", {"reason": "no"}, 400, "Give a reason of at least 10"),
        ("operator", "/stops/lift/", {}, 400, "is not held"),
        ("rita", "/tasks/digits/glass/", {}, 403, "needs the role operator"),
        ("operator", "/tasks/digits/glass/", {"live": "0" * 64}, 400, "The live release moved"),
        ("operator", "/tasks/digits/glass/", {}, 400, "Give a reason of at least 40"),
        ("rita", "/people/roles/", {"act": "grant"}, 403, "needs the role evaluator owner or operator"),
        ("operator", "/people/roles/", {"act": "grant", "reason": "x"}, 400, "at least 10 characters"),
        ("operator", "/people/roles/", {"act": "give"}, 400, "Choose whether the role"),
        ("operator", "/people/roles/", {"act": "grant", "person": "nobody"}, 400, "Choose a person"),
        ("operator", "/people/roles/", {"act": "revoke"}, 400, ""),
    ],
)
def test_refusals_come_back_in_words_with_what_was_typed(
    world: World, name: str, address: str, form: dict[str, str], status: int, words: str
) -> None:
    other = make_release(world.task, BETTER)
    least = {"digest": other.digest, "live": world.seed.digest, "person": "outsider", "role": "reviewer"}
    found, page = post(world, name, address, {**least, **form})
    assert (found, words in page) == (status, True)
    assert not Proposal.objects.exists() and not Hold.objects.exists()
    if found == 400 and address.startswith("/tasks"):
        assert f">{form.get('reason', REASON)}</textarea>" in page


def test_the_glass_is_broken_from_the_page_and_waits_for_two_others(world: World) -> None:
    other = make_release(world.task, BETTER)
    page = as_person(world, "operator").get("/tasks/digits/").content.decode()
    assert "Reason, at least 40 characters" in page and 'minlength="40"' in page
    assert "goes back by itself after 4 h 0 min" in page
    status, page = post(
        world,
        "operator",
        "/tasks/digits/glass/",
        {"digest": other.digest, "live": world.seed.digest, "reason": LONG},
    )
    assert status == 200 and "two other operators must approve" in page
    proposal = Proposal.objects.get()
    assert (proposal.kind, proposal.status) == ("break_glass", "ready")
    assert LONG in page


def test_who_may_not_see_disabled_buttons_with_the_reason(world: World) -> None:
    page = as_person(world, "rita").get("/tasks/digits/").content.decode()
    assert page.count("This needs the role operator; rita does not hold it.") >= 4
    assert "Your password, to confirm" not in page
    people = as_person(world, "rita").get("/people/").content.decode()
    assert "Give the role</button>" in people and "Your password, to confirm" not in people


def test_a_change_of_roles_is_proposed_from_the_page_and_changes_nothing_yet(world: World) -> None:
    before = roster_now()
    form = {"person": "outsider", "role": "reviewer", "act": "grant"}
    status, page = post(world, "operator", "/people/roles/", form)
    assert status == 200 and "two evaluator owners decide about it" in page
    proposal = Proposal.objects.get()
    assert (proposal.kind, proposal.lane, proposal.status) == ("roles", "roles", "ready")
    assert world.cast.outsider.ref in proposal.excluded
    assert roster_now() == before
    taken = post(world, "olga", "/people/roles/", {"person": "rita", "role": "reviewer", "act": "revoke"})
    assert taken[0] == 200 and Proposal.objects.count() == 2


def test_a_young_role_is_shown_as_one_that_does_not_count(world: World) -> None:
    change_role(world, "outsider", "reviewer", "grant")
    page = as_person(world, "ada").get("/people/").content.decode()
    assert page.count("does not count yet") == 1
    world.cast.outsider.user.is_active = False
    world.cast.outsider.user.save()
    assert ">inactive</span>" in as_person(world, "ada").get("/people/").content.decode()


def test_what_derives_from_a_release_is_previewed_before_it_is_held(world: World) -> None:
    first = promoted(world, BETTER).release
    assert first is not None
    child = descend(world, first)
    grandchild = register_release(
        draft=ReleaseDraft(
            world.task, child.harness, None, child, {**child.binding, "runtime": "z" * 64}, "test"
        ),
        by=LOOP,
    )
    assert derived_from(world.task, first.digest) == [first, child, grandchild]
    assert derived_from(world.task, child.harness.digest) == [child, grandchild]
    for digest in (first.digest, child.digest, child.harness.digest):
        expected = [release for release in Release.objects.order_by("pk") if digest in ancestry(release)]
        assert derived_from(world.task, digest) == expected
    page = as_person(world, "rita").get(f"/tasks/digits/?from={first.digest}").content.decode()
    panel = page.split('id="derived"')[1].split("</section>")[0]
    assert "3, itself included" in panel and ">live<" in panel
    nothing = as_person(world, "rita").get("/tasks/digits/?from=abc").content.decode()
    assert "No release of this task is, or was made from, that." in nothing


def test_wrong_passwords_at_these_forms_count_like_all_others(world: World) -> None:
    other = make_release(world.task, BETTER)
    post(world, "operator", "/tasks/digits/hold/", {"digest": other.digest, "password": "wrong"})
    assert Attempt.objects.filter(key="step-up:operator").count() == 1
