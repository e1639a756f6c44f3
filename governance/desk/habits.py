"""How people review, for those who own the rules: a verdict after four seconds is no look."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from governance.attention import habits
from governance.desk.base import Visitor, desk_page, need_role
from governance.models import Review
from governance.roles import AUDITOR, OWNER

DAYS = 90
LISTED = 50


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
