"""Pages of the loop: campaigns with live progress, and the trajectories of their rollouts. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, Max, Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from governance.desk.base import Visitor, desk_page, names_by_ref, whole_number
from loop import presenters
from loop.models import Campaign, Generation, HiddenQuery, Rollout, TrainingJob

STEPS_A_PAGE = 100
CAMPAIGNS_A_PAGE = 50
STOP_POLLING = 286  # htmx takes the answer in and asks no more


@require_safe
@desk_page
def campaign_list(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """All campaigns, newest first."""
    number = whole_number(request.GET.get("page"), 1, low=1)
    rows = _with_progress(Campaign.objects.order_by("-created_at"))
    start = (number - 1) * CAMPAIGNS_A_PAGE
    found = list(rows[start : start + CAMPAIGNS_A_PAGE + 1])
    context = {
        "here": "campaigns",
        "rows": [_summary(row) for row in found[:CAMPAIGNS_A_PAGE]],
        "newer": number - 1,
        "older": number + 1 if len(found) > CAMPAIGNS_A_PAGE else None,
    }
    return render(request, "loop/campaigns.html", context)


@require_safe
@desk_page
def running_strip(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """The running campaigns with their current step, as a fragment that the inbox asks for every 2 s."""
    rows = _with_progress(Campaign.objects.filter(status=Campaign.Status.RUNNING).order_by("-created_at"))
    return render(request, "loop/_running.html", {"rows": [_summary(row) for row in rows[:10]]})


@require_safe
@desk_page
def campaign_page(request: HttpRequest, visitor: Visitor, ref: str) -> HttpResponse:
    """One campaign: contract, budgets, generations, chart, hidden queries."""
    campaign = get_object_or_404(
        Campaign.objects.select_related("task", "base_release", "preflight"), ref=ref
    )
    names = names_by_ref([campaign.started_by])
    context = {
        **_live(campaign),
        "here": "campaigns",
        "contract": presenters.contract_facts(campaign),
        "started_by": names[campaign.started_by],
    }
    return render(request, "loop/campaign.html", context)


@require_safe
@desk_page
def campaign_live(request: HttpRequest, visitor: Visitor, ref: str) -> HttpResponse:
    """The moving part of a campaign's page, as a fragment that the page asks for every 2 s until it ends."""
    campaign = get_object_or_404(Campaign.objects.select_related("task"), ref=ref)
    context = _live(campaign)
    return render(request, "loop/_live.html", context, status=200 if context["running"] else STOP_POLLING)


@require_safe
@desk_page
def generation_page(request: HttpRequest, visitor: Visitor, ref: str, number: int) -> HttpResponse:
    """One generation: its decision, every exchange with the agent's model, its comparison with the parent."""
    row = get_object_or_404(Generation.objects.select_related("campaign"), campaign__ref=ref, number=number)
    context = {
        "here": "campaigns",
        "row": row,
        "calls": [presenters.exchange_view(call) for call in row.agent_calls.order_by("index")],
        "settings": presenters.decided_settings(row),
        "compared": presenters.compared(row),
    }
    return render(request, "loop/generation.html", context)


@require_safe
@desk_page
def rollout_page(request: HttpRequest, visitor: Visitor, pk: int) -> HttpResponse:
    """One rollout with its trajectory, 100 steps a page."""
    rows = Rollout.objects.select_related("release__task", "campaign", "generation")
    rollout = get_object_or_404(rows, pk=pk)
    steps = rollout.steps.order_by("index")
    item = request.GET.get("item", "")
    if item:
        steps = steps.filter(item_id=item)
    total = steps.count()
    pages = max(1, -(-total // STEPS_A_PAGE))
    number = whole_number(request.GET.get("page"), 1, low=1, high=pages)
    start = (number - 1) * STEPS_A_PAGE
    context = {
        "here": "campaigns",
        "rollout": rollout,
        "usage": presenters.used_by(rollout),
        "steps": [presenters.step_view(step) for step in steps[start : start + STEPS_A_PAGE]],
        "item": item,
        "item_score": rollout.items.get(item),
        "total": total,
        "page": number,
        "pages": pages,
        "first": start + 1 if total else 0,
        "last": min(start + STEPS_A_PAGE, total),
    }
    return render(request, "loop/rollout.html", context)


def _with_progress(rows: QuerySet[Campaign]) -> QuerySet[Campaign]:
    latest = Prefetch(
        "generations", Generation.objects.order_by("number").defer("decision", "comparison"), to_attr="turns"
    )
    counted = rows.annotate(turn_count=Count("generations"), best_known=Max("archive__score"))
    asked = Prefetch("hidden_queries", HiddenQuery.objects.select_related("verification"), to_attr="asked")
    return counted.select_related("task").prefetch_related(latest, asked)


def _summary(campaign: Campaign) -> dict[str, Any]:
    turns: Sequence[Generation] = campaign.turns  # type: ignore[attr-defined]  # prefetched by _with_progress
    budget = campaign.contract.get("budgets", {}).get("generations")
    known = [
        turn.score_after
        for turn in turns
        if turn.verdict in ("baseline", "kept") and turn.score_after is not None
    ]
    pick = max if presenters.direction_of(campaign) == "maximize" else min
    return {
        "campaign": campaign,
        "current": turns[-1] if turns else None,
        "done": sum(turn.step == Generation.Step.DONE for turn in turns),
        "budget": budget,
        "first": next((turn.score_before for turn in turns if turn.score_before is not None), None),
        "best": pick(known) if known else None,
        "metric": campaign.contract.get("metric", "score"),
        "waits": presenters.waits(campaign.asked),  # type: ignore[attr-defined]
    }


def _live(campaign: Campaign) -> dict[str, Any]:
    rollouts = Prefetch(
        "rollouts", Rollout.objects.order_by("pk").only("generation", "split", "outcome", "score")
    )
    turns = list(campaign.generations.order_by("number").prefetch_related(rollouts))
    jobs = TrainingJob.objects.filter(generation__campaign=campaign).order_by("generation__number")
    queries = list(
        HiddenQuery.objects.filter(campaign=campaign)
        .select_related("verification", "proposal", "release")
        .order_by("number")
    )
    done = sum(turn.step == Generation.Step.DONE and turn.number > 0 for turn in turns)
    return {
        "campaign": campaign,
        "running": campaign.status == Campaign.Status.RUNNING,
        "bars": presenters.budget_bars(campaign, done, len(queries)),
        "turns": [
            {
                "row": turn,
                "seconds": presenters.seconds_of(turn),
                "why": turn.reason or turn.decision.get("reason", ""),
            }
            for turn in turns
        ],
        "current": next((turn for turn in reversed(turns) if turn.step != Generation.Step.DONE), None),
        "chart": presenters.chart_of(campaign, turns),
        "metric": campaign.contract.get("metric", "score"),
        "training": [presenters.training_view(job) for job in jobs.select_related("generation")],
        "queries": queries,
        "waits": presenters.waits(queries),
    }
