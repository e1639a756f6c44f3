"""The desk: who sees what, what a form does, what a refusal says, and what the log keeps of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from governance import rules
from governance.actions import (
    ProposalDraft,
    open_proposal,
)
from governance.actors import LOOP
from governance.desk.acts import REASON_MAX
from governance.desk.base import Visitor
from governance.desk.turns import turn_of
from governance.models import AuditEntry, Person, Pointer, Proposal
from governance.policy import policy_now
from governance.roles import roles_of
from tests.desk_scene import Scene, make_scene
from tests.governance.cast import FAIRER, PASSWORD, REASON, World, make_release, make_world, say, unreadable
from tests.snapshot import remembered

pytestmark = pytest.mark.one_database

LogIn = Callable[[str], Client]


@pytest.fixture
def scene(db: None, signer_home: Path) -> Scene:
    return remembered("scene", signer_home, lambda: make_scene(make_world()))


@pytest.fixture
def world(scene: Scene) -> World:
    return scene.world


@pytest.fixture
def log_in(world: World) -> LogIn:
    """A browser of one of the cast, past the login page."""

    def as_person(name: str) -> Client:
        client = Client(headers={"host": "localhost"})
        assert client.post("/login/", {"username": name, "password": PASSWORD}).status_code == 302
        return client

    return as_person


def send(client: Client, proposal: Proposal, act: str, **changed: str) -> tuple[int, str]:
    """Post one act as the page's form does; the status and the text of the answer."""
    form = {"act": act, "reason": REASON, "password": PASSWORD, "subject_digest": proposal.subject_digest}
    answer = client.post(f"/proposals/{proposal.ref}/act/", form | changed)
    return answer.status_code, answer.content.decode()


def test_a_page_leads_to_deciding_only_where_something_is_left_to_decide(scene: Scene, log_in: LogIn) -> None:
    rita, proposal = log_in("rita"), scene.waiting
    link = 'href="#decide"'
    assert link in rita.get(f"/proposals/{proposal.ref}/").content.decode()
    assert send(rita, proposal, "reject")[0] == 302
    assert link not in rita.get(f"/proposals/{proposal.ref}/").content.decode()


def section(html: str, heading: str) -> str:
    """The part of a page between one h2 heading and the next section."""
    return html.split(f"<h2>{heading}", 1)[1].split("</section>", 1)[0]


def test_somebody_who_is_not_logged_in_is_asked_to_log_in(client: Client, scene: Scene) -> None:
    for address in ("/", f"/proposals/{scene.waiting.ref}/", "/tasks/", "/audit/"):
        answer = client.get(address, headers={"host": "localhost"})
        assert (answer.status_code, answer["Location"]) == (302, f"/login/?next={address}")


def test_a_wrong_password_is_answered_with_one_sentence(client: Client, world: World) -> None:
    answer = client.post("/login/", {"username": "rita", "password": "wrong"}, headers={"host": "localhost"})
    assert "do not match an active account" in answer.content.decode()


def test_a_superuser_who_is_no_person_sees_nothing(scene: Scene, log_in: LogIn) -> None:
    get_user_model().objects.create_superuser("root", password=PASSWORD)
    answer = log_in("root").get("/")
    assert answer.status_code == 403
    assert "belongs to no person known here" in answer.content.decode()


def test_a_person_without_a_role_sees_nothing(scene: Scene, log_in: LogIn) -> None:
    scene.world.cast.outsider.grants.all().delete()
    answer = log_in("outsider").get(f"/proposals/{scene.waiting.ref}/")
    assert answer.status_code == 403
    assert "You hold no role yet" in answer.content.decode()


def test_the_inbox_says_whose_turn_it_is(scene: Scene, log_in: LogIn) -> None:
    assert scene.waiting.title in section(log_in("rita").get("/").content.decode(), "Waiting for you")
    for name in ("ravi", "starter", "operator", "outsider"):
        html = log_in(name).get("/").content.decode()
        assert scene.waiting.title not in section(html, "Waiting for you")
        assert scene.waiting.title in section(html, "Open")


def test_an_approved_proposal_waits_for_an_operator(scene: Scene, log_in: LogIn) -> None:
    say(scene.world, "rita", scene.waiting)
    assert "your turn to promote" in log_in("operator").get("/").content.decode()


def test_the_inbox_and_the_rules_agree_for_everybody(scene: Scene) -> None:
    say(scene.world, "rita", scene.waiting)
    policy = policy_now()
    turns = set()
    for proposal in Proposal.objects.all():
        for person in Person.objects.all():
            turn = turn_of(proposal, Visitor(person, roles_of(person)), policy, timezone.now())
            by = person.actor("session")
            allowed = {
                "promote": rules.can_promote(proposal, by)[0],
                "acknowledge": rules.can_acknowledge(proposal, by)[0],
                "review": rules.can_review(proposal, by)[0] and proposal.status != "approved",
            }
            assert [name for name, may in allowed.items() if may] == ([turn] if turn else [])
            turns.add(turn)
    assert "promote" in turns


def test_a_longer_inbox_asks_no_more_of_the_database(
    scene: Scene, log_in: LogIn, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    rita = log_in("rita")
    with django_assert_max_num_queries(14) as few:
        rita.get("/")
    for number in range(4):
        release = make_release(scene.world.task, {"main.py": ("file", b"print(%d)\n" % number)})
        draft = ProposalDraft("promote", scene.world.task, release, None, "One more", "")
        open_proposal(draft=draft, by=LOOP)
    with django_assert_max_num_queries(len(few)):
        assert rita.get("/").content.decode().count("harness outside") >= 4


def test_a_proposal_page_shows_its_evidence_and_its_diff(scene: Scene, log_in: LogIn) -> None:
    html = log_in("outsider").get(f"/proposals/{scene.waiting.ref}/").content.decode()
    for expected in (
        "+0.0925",
        "3.9e-05",
        "exact McNemar",
        "of 20 hidden queries used",
        "The harness lever has stalled",
        "Scans of another size",
        "prompts/retry.md",
        "most_common",
        scene.waiting.subject_digest,
        "It brings another adapter and changes the harness.",
    ):
        assert expected in html, expected


def test_a_proposal_page_shows_its_guarded_slices_and_how_often_the_hidden_set_was_asked(
    scene: Scene, log_in: LogIn
) -> None:
    page = log_in("rita").get(f"/proposals/{scene.waiting.ref}/").content.decode()
    assert "ink=faint" in page
    assert page.count(">held<") == 2
    assert "The hidden set has answered 11 of 40 queries, all campaigns together." in page


def test_the_diff_can_be_read_side_by_side(scene: Scene, log_in: LogIn) -> None:
    page = log_in("rita").get(f"/proposals/{scene.waiting.ref}/?view=split").content.decode()
    assert "diff-split" in page and "diff-unified" not in page


def test_one_file_of_the_diff_can_be_asked_for(scene: Scene, log_in: LogIn) -> None:
    rita = log_in("rita")
    address = f"/proposals/{scene.waiting.ref}/files/"
    assert "Counter" in rita.get(f"{address}0/").content.decode()
    assert rita.get(f"{address}99/").status_code == 404


def test_reading_the_evidence_is_recorded_once_for_each_person_and_subject(
    scene: Scene, log_in: LogIn
) -> None:
    rita, otto = log_in("rita"), log_in("otto")
    for client in (rita, rita, otto):
        client.get(f"/proposals/{scene.waiting.ref}/")
    readings = AuditEntry.objects.filter(action="evidence.read", object_id=scene.waiting.ref)
    cast = scene.world.cast
    assert sorted(readings.values_list("actor", flat=True)) == sorted([cast.rita.ref, cast.otto.ref])
    assert readings[0].entry()["subject_digest"] == scene.waiting.subject_digest


def test_a_reviewer_gives_their_verdict_before_seeing_those_of_others(scene: Scene, log_in: LogIn) -> None:
    rita = log_in("rita")
    page = rita.get(f"/proposals/{scene.waiting.ref}/").content.decode()
    assert "1 verdict given; shown once you gave yours" in page
    assert REASON not in page and "1 of 2" not in page
    assert send(rita, scene.waiting, "approve", reason="My own reading of it.")[0] == 302
    page = rita.get(f"/proposals/{scene.waiting.ref}/").content.decode()
    assert REASON in page and "My own reading of it." in page


def test_somebody_who_cannot_review_sees_the_verdicts(scene: Scene, log_in: LogIn) -> None:
    page = log_in("operator").get(f"/proposals/{scene.waiting.ref}/").content.decode()
    assert REASON in page and "1 of 2 count today" in page


def test_refused_buttons_are_disabled_and_say_why(scene: Scene, log_in: LogIn) -> None:
    page = log_in("starter").get(f"/proposals/{scene.waiting.ref}/").content.decode()
    why = "starter started or proposed this change, so somebody else must decide."
    assert re.search(r'value="approve"[^>]*disabled', page)
    assert page.count(why) >= 2
    page = log_in("rita").get(f"/proposals/{scene.waiting.ref}/").content.decode()
    assert re.search(r'value="promote"[^>]*disabled', page)
    assert not re.search(r'value="approve"[^>]*disabled', page)
    assert "autofocus" not in page


def test_a_proposal_goes_from_review_to_live_and_back(scene: Scene, log_in: LogIn) -> None:
    rita, operator = log_in("rita"), log_in("operator")
    assert send(rita, scene.waiting, "approve")[0] == 302
    assert send(operator, scene.waiting, "promote")[0] == 302
    scene.waiting.refresh_from_db()
    assert scene.waiting.status == "promoted"
    page = operator.get(f"/proposals/{scene.waiting.ref}/").content.decode()
    assert f"Revert to {scene.waiting.base[:12]}" in page
    assert send(operator, scene.waiting, "revert")[0] == 302
    scene.waiting.refresh_from_db()
    assert scene.waiting.status == "reverted"
    back = Proposal.objects.get(kind="revert")
    assert back.target == scene.promoted.target and back.review_due
    assert "your turn to acknowledge" in rita.get("/").content.decode()
    acknowledge = r'value="acknowledge"[^>]*'
    page = rita.get(f"/proposals/{back.ref}/").content.decode()
    assert re.search(acknowledge, page) and not re.search(f"{acknowledge}disabled", page)
    assert 'value="revert"' not in page
    page = operator.get(f"/proposals/{back.ref}/").content.decode()
    assert re.search(f"{acknowledge}disabled", page)
    assert send(rita, back, "acknowledge")[0] == 302
    back.refresh_from_db()
    assert not back.review_due


@pytest.mark.parametrize("act", ["approve", "promote"])
def test_a_decision_needs_the_password_again(scene: Scene, log_in: LogIn, act: str) -> None:
    status, page = send(log_in("rita"), scene.waiting, act, password="guess", reason="A long text, kept.")
    assert status == 403
    assert "The password is not yours, so nothing was done" in page
    assert ("A long text, kept." in page) == (act == "approve")
    refused = AuditEntry.objects.get(action="desk.step_up")
    assert (refused.outcome, refused.actor) == ("denied", scene.world.cast.rita.ref)
    assert not scene.waiting.reviews.filter(person=scene.world.cast.rita).exists()


def test_a_verdict_on_another_subject_is_refused_and_nothing_is_lost(scene: Scene, log_in: LogIn) -> None:
    status, page = send(
        log_in("rita"), scene.waiting, "approve", subject_digest="0" * 64, reason="Kept text."
    )
    assert status == 409
    assert "is not what this proposal is now" in page and "Kept text." in page
    assert not scene.waiting.reviews.filter(person=scene.world.cast.rita).exists()


def test_a_verdict_without_a_reason_is_refused(scene: Scene, log_in: LogIn) -> None:
    status, page = send(log_in("rita"), scene.waiting, "reject", reason="no")
    assert status == 400
    assert "Give a reason of at least 10 characters" in page
    status, page = send(log_in("rita"), scene.waiting, "reject", reason="x" * (REASON_MAX + 1))
    assert status == 400
    assert f"keep it under {REASON_MAX:,}" in page
    assert not scene.waiting.reviews.filter(person=scene.world.cast.rita).exists()


def test_an_operator_takes_an_open_proposal_back(scene: Scene, log_in: LogIn) -> None:
    operator = log_in("operator")
    assert 'value="withdraw"' in operator.get(f"/proposals/{scene.waiting.ref}/").content.decode()
    assert send(operator, scene.waiting, "withdraw")[0] == 302
    scene.waiting.refresh_from_db()
    assert (scene.waiting.status, scene.waiting.status_reason) == ("withdrawn", REASON)


def test_an_inbox_without_a_policy_says_that_there_is_none(scene: Scene, log_in: LogIn) -> None:
    rita = log_in("rita")
    Pointer.objects.filter(key="policy").delete()
    page = rita.get("/")
    assert page.status_code == 200
    assert "No policy is in force" in page.content.decode()


def test_an_act_by_the_wrong_person_is_refused_with_the_rules_sentence(scene: Scene, log_in: LogIn) -> None:
    status, page = send(log_in("outsider"), scene.waiting, "approve")
    assert status == 403
    assert "This needs the role reviewer; outsider does not hold it." in page
    status, _ = send(log_in("outsider"), scene.waiting, "dance")
    assert status == 400


def test_a_form_without_its_token_changes_nothing(scene: Scene) -> None:
    client = Client(enforce_csrf_checks=True, headers={"host": "localhost"})
    client.force_login(scene.world.cast.rita.user)
    status, page = send(client, scene.waiting, "approve")
    assert status == 403
    assert "This form belongs to another session" in page
    assert not scene.waiting.reviews.filter(person=scene.world.cast.rita).exists()


def test_nobody_can_approve_a_diff_that_cannot_be_shown(world: World, log_in: LogIn) -> None:
    proposal = unreadable(world, FAIRER, b'{"files": 1}')
    olga = log_in("olga")
    page = olga.get(f"/proposals/{proposal.ref}/").content.decode()
    assert re.search(r'value="approve"[^>]*disabled', page)
    assert not re.search(r'value="reject"[^>]*disabled', page)
    status, page = send(olga, proposal, "approve")
    assert status == 403 and "The diff cannot be shown, so this cannot be approved." in page
    assert not proposal.reviews.exists()


def test_a_failed_proposal_says_why_and_offers_nothing(scene: Scene, log_in: LogIn) -> None:
    page = log_in("rita").get(f"/proposals/{scene.failed.ref}/").content.decode()
    assert "Verification failed" in page and "not certain enough" in page
    assert 'value="approve"' not in page


def test_an_address_that_names_nothing_gets_one_clear_sentence(scene: Scene, log_in: LogIn) -> None:
    answer = log_in("rita").get("/proposals/nothing/")
    assert answer.status_code == 404
    assert "There is nothing at this address" in answer.content.decode()


def test_no_page_has_inline_scripts_or_styles_and_all_have_the_policy(scene: Scene, log_in: LogIn) -> None:
    auditor = log_in("olga")
    pages = [
        "/",
        f"/proposals/{scene.waiting.ref}/",
        f"/proposals/{scene.waiting.ref}/?view=split",
        "/tasks/",
        "/tasks/digits/",
        "/audit/",
        "/audit/0/",
        "/nowhere/",
    ]
    for address in pages:
        answer = auditor.get(address)
        html = answer.content.decode()
        assert "default-src 'self'" in answer["Content-Security-Policy"], address
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html), address
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html)), address


def test_the_live_release_under_both_evaluators_stands_side_by_side_without_a_difference(
    world: World, log_in: LogIn
) -> None:
    proposal = unreadable(world, FAIRER, b'{"files": []}')
    page = log_in("olga").get(f"/proposals/{proposal.ref}/").content.decode()
    card = page.split("The live release under both evaluators", 1)[1].split("</section>")[0]
    assert "0.75" in card and "0.5" in card and "12 of 250" in card
    assert "they are never compared" in card and "0.25" not in card
