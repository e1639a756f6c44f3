"""How closely reviewers look: measured at the desk, recorded with the verdict, shown to those who own the rules."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from governance.actions import mark_seen, review
from governance.actors import LOOP
from governance.attention import attention_of, file_marks, reading_began
from governance.desk.evidence import cards
from governance.desk.habits import habits
from governance.errors import NotAllowed
from governance.models import Attempt, AuditEntry, Evidence, Proposal, Review, Seen
from tests.governance.cast import (
    BETTER,
    BOLDER,
    PASSWORD,
    REASON,
    SEED,
    Tree,
    World,
    drafted,
    ready,
    say,
    unreadable,
)

pytestmark = pytest.mark.one_database

BOTH: Tree = {"main.py": ("file", b"print(2)\n"), "settings.toml": ("file", b"votes = 3\n")}


def as_person(world: World, name: str) -> Client:
    client = Client(headers={"host": "localhost"})
    client.force_login(getattr(world.cast, name).user)
    return client


def mark(client: Client, proposal: Proposal, index: str, seen: str = "1", **headers: str) -> int:
    answer = client.post(f"/proposals/{proposal.ref}/seen/", {"index": index, "seen": seen}, headers=headers)
    return answer.status_code


def approve(client: Client, proposal: Proposal) -> Review:
    form = {
        "act": "approve",
        "reason": REASON,
        "password": PASSWORD,
        "subject_digest": proposal.subject_digest,
    }
    assert client.post(f"/proposals/{proposal.ref}/act/", form).status_code == 302
    return Review.objects.get(proposal=proposal)


def test_what_a_reviewer_looked_at_is_kept_with_the_verdict_and_in_the_log(world: World) -> None:
    proposal = ready(world, BOTH)
    rita = as_person(world, "rita")
    rita.get(f"/proposals/{proposal.ref}/")
    assert mark(rita, proposal, "1") == 302
    assert (
        "&quot;passed&quot;: true"
        in rita.get(f"/proposals/{proposal.ref}/evidence/comparison/").content.decode()
    )
    given = approve(rita, proposal)
    assert given.dwell_s is not None and given.dwell_s >= 0
    counts = (given.files_viewed, given.files_changed, given.evidence_opened, given.evidence_given)
    assert counts == (1, 2, 1, 1)
    told = AuditEntry.objects.filter(action="proposal.review").latest("seq").entry()["detail"]["attention"]
    assert told == {
        "dwell_s": given.dwell_s,
        "files_changed": 2,
        "files_viewed": 1,
        "evidence_given": 1,
        "evidence_opened": 1,
    }


def test_the_time_runs_from_the_first_reading_of_this_subject(world: World) -> None:
    proposal = ready(world)
    as_person(world, "rita").get(f"/proposals/{proposal.ref}/")
    later = timezone.now() + timedelta(minutes=5)
    found = attention_of(proposal, world.cast.rita, world.cast.act("rita"), later)
    assert found.dwell_s is not None and 299 < found.dwell_s < 330
    say(world, "ravi", proposal)
    assert reading_began(proposal, world.cast.ravi) is None
    mark(as_person(world, "ravi"), proposal, "0")
    assert attention_of(proposal, world.cast.rita, world.cast.act("rita"), later).files_viewed == 0
    assert (
        reading_began(Proposal(ref="another", subject_digest=proposal.subject_digest), world.cast.rita)
        is None
    )
    proposal.subject_digest = "0" * 64
    assert attention_of(proposal, world.cast.rita, world.cast.act("rita"), later).dwell_s is None


def test_a_verdict_at_the_command_line_is_not_measured_and_never_zero(world: World) -> None:
    proposal = ready(world)
    as_person(world, "rita").get(f"/proposals/{proposal.ref}/")
    given = review(
        proposal=proposal,
        verdict="approve",
        reason=REASON,
        subject_digest=proposal.subject_digest,
        by=world.cast.rita.actor("command"),
    )
    columns = ("dwell_s", "files_changed", "files_viewed", "evidence_given", "evidence_opened")
    assert [getattr(given, column) for column in columns] == [None] * 5
    assert (
        "How closely was not measured."
        in as_person(world, "operator").get(f"/proposals/{proposal.ref}/").content.decode()
    )


def test_a_mark_holds_for_the_same_content_and_not_for_another(world: World) -> None:
    rita = as_person(world, "rita")
    first = ready(world, BOTH)
    mark(rita, first, "1")
    same, other = ready(world, BETTER), ready(world, BOLDER)
    assert "✓ Viewed" in rita.get(f"/proposals/{same.ref}/").content.decode()
    assert "✓ Viewed" not in rita.get(f"/proposals/{other.ref}/").content.decode()
    assert "✓ Viewed" not in as_person(world, "ravi").get(f"/proposals/{same.ref}/").content.decode()
    assert mark(rita, same, "0", "0") == 302
    assert not Seen.objects.filter(kind="file").exists()


def test_a_removed_file_has_a_mark_of_its_own(world: World) -> None:
    removed = ready(world, {"main.py": SEED["main.py"]})
    added = ready(world, {**SEED, "copy.toml": SEED["settings.toml"]})
    marks = file_marks(removed), file_marks(added)
    assert marks[0] and marks[1] and marks[0].isdisjoint(marks[1])


def test_the_mark_is_answered_with_the_button_alone_where_the_page_asks_so(world: World) -> None:
    proposal = ready(world)
    answer = as_person(world, "rita").post(
        f"/proposals/{proposal.ref}/seen/", {"index": "0", "seen": "1"}, headers={"HX-Request": "true"}
    )
    page = answer.content.decode()
    assert 'aria-pressed="true"' in page and "<html" not in page


@pytest.mark.parametrize("index", ["9", "x", ""])
def test_a_file_that_is_not_there_cannot_be_marked(world: World, index: str) -> None:
    assert mark(as_person(world, "rita"), ready(world), index) == 404


def test_a_diff_that_cannot_be_read_is_not_counted(world: World) -> None:
    proposal = unreadable(world, SEED, b"{")
    assert mark(as_person(world, "olga"), proposal, "0") == 404
    found = attention_of(proposal, world.cast.olga, world.cast.act("olga"), timezone.now())
    assert (found.files_changed, found.files_viewed) == (None, None)
    assert file_marks(drafted(world)) == set()


def test_a_mark_of_another_kind_is_none_of_a_file(world: World) -> None:
    proposal, rita = ready(world), world.cast.act("rita")
    marks = file_marks(proposal)
    assert marks
    for digest in marks:
        mark_seen(kind="evidence", digest=digest, seen=True, by=rita)
    assert attention_of(proposal, world.cast.rita, rita, timezone.now()).files_viewed == 0


def test_only_people_mark(world: World) -> None:
    with pytest.raises(NotAllowed, match="Only a person"):
        mark_seen(kind="file", digest="0" * 64, seen=True, by=LOOP)


def test_owners_see_how_people_review_and_reviewers_do_not(world: World) -> None:
    rita = as_person(world, "rita")
    quick, slow = ready(world, BETTER), ready(world, BOLDER)
    rita.get(f"/proposals/{quick.ref}/")
    mark(rita, quick, "0")
    approve(rita, quick)
    say(world, "rita", slow, "request_changes")
    Review.objects.filter(proposal=quick).update(dwell_s=4.0)
    Review.objects.filter(proposal=slow).update(dwell_s=120.0)
    found = habits(list(Review.objects.all()))
    assert [(habit.person, habit.verdicts, habit.measured) for habit in found] == [(world.cast.rita, 2, 2)]
    assert (found[0].median_dwell_s, found[0].all_files_viewed, found[0].approved) == (62.0, 0.5, 0.5)
    page = as_person(world, "olga").get("/reviewers/").content.decode()
    assert "1 min 2 s" in page and "50 %" in page and "1 of 1" in page
    assert as_person(world, "rita").get("/reviewers/").status_code == 403
    assert "/reviewers/" not in rita.get("/").content.decode()
    assert "/reviewers/" in as_person(world, "ada").get("/").content.decode()


def test_where_nothing_was_measured_the_page_says_so(world: World) -> None:
    assert "No verdict was given" in as_person(world, "olga").get("/reviewers/").content.decode()
    proposal = ready(world)
    say(world, "rita", proposal)
    Review.objects.update(dwell_s=None, files_viewed=None, files_changed=None, evidence_opened=None)
    page = as_person(world, "olga").get("/reviewers/").content.decode()
    assert page.count(">not measured<") == 5


def test_who_takes_a_mark_back_takes_no_other(world: World) -> None:
    marks = {("rita", "file", "1" * 64), ("rita", "evidence", "1" * 64), ("rita", "file", "2" * 64)}
    marks |= {("ravi", "file", "1" * 64)}
    for name, kind, digest in sorted(marks):
        mark_seen(kind=kind, digest=digest, seen=True, by=world.cast.act(name))
    mark_seen(kind="file", digest="1" * 64, seen=False, by=world.cast.act("rita"))
    left = {(str(mark.person), mark.kind, mark.digest) for mark in Seen.objects.all()}
    assert left == marks - {("rita", "file", "1" * 64)}


def test_marks_and_failures_have_names_for_the_reading_room(world: World) -> None:
    mark_seen(kind="file", digest="ab" * 32, seen=True, by=world.cast.act("rita"))
    assert str(Seen.objects.get()) == "file abababababab seen by rita"
    assert str(Attempt(key="account:rita")) == "failed for account:rita"


@pytest.mark.parametrize(
    ("body", "words"), [(b'{"old": 3, "new": {}}', ["old", "3"]), (b"[1, 2]", ["1,", "2"])]
)
def test_a_comparison_of_evaluators_in_another_shape_is_shown_as_it_is(
    world: World, body: bytes, words: list[str]
) -> None:
    odd = Evidence(name="rescored", media_type="application/json", sha256="0" * 64, size=len(body), body=body)
    (card,) = cards([odd])
    assert card.template in {"facts", "raw"}
    assert all(word in str(card.extra) for word in words)
