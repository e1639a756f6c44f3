"""How people review, for those who own the rules: a verdict after four seconds is no look."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from governance.desk.base import Visitor, desk_page, need_role
from governance.models import Person, Review
from governance.roles import AUDITOR, OWNER

DAYS = 90
LISTED = 50


@dataclass(frozen=True, slots=True)
class Habit:
    """How one person reviews, over all their verdicts; None where no verdict of theirs was measured."""

    person: Person
    verdicts: int
    measured: int
    median_dwell_s: float | None
    all_files_viewed: float | None
    approved: float


@require_safe
@desk_page
def reviewers_page(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Per reviewer: verdicts, time between reading and verdict, files viewed, share approved; then the verdicts."""
    need_role(visitor, OWNER, AUDITOR)
    since = timezone.now() - timedelta(days=DAYS)
    given = Review.objects.filter(created_at__gte=since).select_related("person__user", "proposal")
    reviews = list(given.order_by("-created_at", "-pk"))
    context = {
        "here": "reviewers",
        "days": DAYS,
        "habits": habits(reviews),
        "reviews": reviews[:LISTED],
        "more": max(0, len(reviews) - LISTED),
    }
    return render(request, "desk/reviewers.html", context)


def habits(reviews: Sequence[Review]) -> list[Habit]:
    """Per reviewer, the busiest first."""
    by_person: dict[Person, list[Review]] = {}
    for review in reviews:
        by_person.setdefault(review.person, []).append(review)
    found = [_habit(person, given) for person, given in by_person.items()]
    return sorted(found, key=lambda habit: (-habit.verdicts, str(habit.person)))


def _habit(person: Person, given: list[Review]) -> Habit:
    dwells = [review.dwell_s for review in given if review.dwell_s is not None]
    files = [review for review in given if review.files_changed]
    whole = sum(review.files_viewed == review.files_changed for review in files)
    approved = sum(review.verdict == Review.Verdict.APPROVE for review in given)
    return Habit(
        person=person,
        verdicts=len(given),
        measured=len(dwells),
        median_dwell_s=statistics.median(dwells) if dwells else None,
        all_files_viewed=whole / len(files) if files else None,
        approved=approved / len(given),
    )
