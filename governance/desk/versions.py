"""What is live for each task, what was, and how versions descend from each other."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from governance import actions, rules
from governance.desk.acts import Refusal, check_step_up, posted_reason, refusal_of
from governance.desk.base import Visitor, desk_page, names_by_ref
from governance.errors import GovernanceError, Stale
from governance.lineage import derived_from
from governance.models import Hold, Pointer, PointerMove, Proposal, Release, Task, Version
from governance.pointers import POLICY_KEY, current_digest, evaluator_key, release_key
from governance.policy import policy_now
from governance.transitions import OPEN

RELEASES_SHOWN = 500
DEEPEST = 8  # steps of indentation


@dataclass(frozen=True, slots=True)
class Node:
    """One release in the lineage. `depth` counts its ancestors that are shown, up to DEEPEST; `parent` is a digest."""

    release: Release
    live: bool
    was_live: bool
    depth: int
    parent: str


@require_safe
@desk_page
def task_list(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """Every installed task with its live release, and the policy in force."""
    tasks = list(Task.objects.order_by("slug"))
    pointers = {pointer.key: pointer for pointer in Pointer.objects.all()}
    open_ones: dict[int, int] = defaultdict(int)
    for task_id in Proposal.objects.filter(status__in=OPEN, task__isnull=False).values_list(
        "task_id", flat=True
    ):
        open_ones[task_id] += 1
    rows = [
        {
            "task": task,
            "live": pointers.get(release_key(task)),
            "evaluator": pointers.get(evaluator_key(task)),
            "open": open_ones[task.pk],
        }
        for task in tasks
    ]
    policy = Version.objects.filter(kind=Version.Kind.POLICY, digest=current_digest(POLICY_KEY)).first()
    return render(request, "desk/tasks.html", {"here": "tasks", "rows": rows, "policy": policy})


@require_safe
@desk_page
def task_page(request: HttpRequest, visitor: Visitor, slug: str) -> HttpResponse:
    """One task: history of its live release, lineage of its releases, evaluator epochs, policy."""
    return page_of(request, visitor, get_object_or_404(Task, slug=slug), None)


@require_POST
@desk_page
def task_revert(request: HttpRequest, visitor: Visitor, slug: str) -> HttpResponse:
    """Make a former live release live again; a refusal shows the page again with the rule's sentence."""
    task = get_object_or_404(Task, slug=slug)
    key = release_key(task)
    try:
        if request.POST.get("live", "") != current_digest(key):
            raise Stale("The live release moved since you opened this page; look again before you revert.")
        reason = posted_reason(request)
        check_step_up(request, visitor, ("pointer", key))
        to_digest = request.POST.get("digest", "")
        proposal = actions.revert(key=key, to_digest=to_digest, reason=reason, by=visitor.actor)
    except GovernanceError as error:
        return page_of(request, visitor, task, refusal_of(error, request))
    messages.success(request, "Reverted: the earlier release is live again.")
    return redirect("desk:proposal", proposal.ref)


def page_of(request: HttpRequest, visitor: Visitor, task: Task, refusal: Refusal | None) -> HttpResponse:
    """The page of a task, with what was refused, if anything."""
    key = release_key(task)
    live = current_digest(key)
    moves = list(PointerMove.objects.filter(key=key).order_by("-generation"))
    epochs = list(PointerMove.objects.filter(key=evaluator_key(task)).order_by("-generation"))
    policy = Version.objects.filter(kind=Version.Kind.POLICY, digest=current_digest(POLICY_KEY)).first()
    may_revert, why_not = rules.can_revert(visitor.actor)
    former = list(dict.fromkeys(move.digest for move in moves if move.digest != live))
    names = names_by_ref({move.moved_by for move in [*moves, *epochs]})
    context: dict[str, Any] = {
        "here": "tasks",
        "task": task,
        "live": live,
        "moves": [{"move": move, "by": names[move.moved_by]} for move in moves],
        "epochs": [{"move": move, "by": names[move.moved_by]} for move in epochs],
        "policy": policy,
        "tree": lineage(task, live, {move.digest for move in moves}),
        "former": former,
        "may_revert": may_revert,
        "why_not": why_not,
        "refusal": refusal,
        "chosen": request.POST.get("digest", ""),
        **_emergencies(request, visitor, task),
    }
    return render(request, "desk/task.html", context, status=refusal.status if refusal else 200)


def _emergencies(request: HttpRequest, visitor: Visitor, task: Task) -> dict[str, Any]:
    """What the forms for holding and breaking the glass need, and the preview of what derives from a release."""
    may_break, why_not_break = rules.can(lambda: rules.check_may_break_glass(visitor.actor))
    origin = request.GET.get("from", "")[:64]
    held = Hold.objects.filter(lifted_at__isnull=True).values_list("digest", flat=True)
    return {
        "glass": policy_now().break_glass,
        "may_break": may_break,
        "why_not_break": why_not_break,
        "origin": origin,
        "derived": derived_from(task, origin) if origin else [],
        "held": set(held),
    }


def lineage(task: Task, live: str, was_live: set[str]) -> list[Node]:
    """The newest releases of a task, each below the release that it was made from, oldest first."""
    newest = Release.objects.filter(task=task).select_related("harness", "adapter").order_by("-pk")
    rows = {row.pk: row for row in newest[:RELEASES_SHOWN]}
    children: dict[int | None, list[Release]] = defaultdict(list)
    for row in rows.values():
        children[row.parent_id if row.parent_id in rows else None].append(row)
    nodes: list[Node] = []
    waiting = [(root, 0) for root in children[None]]  # newest first, so that the oldest is taken first
    while waiting:
        row, depth = waiting.pop()
        parent = rows[row.parent_id].digest if row.parent_id in rows else ""
        was = row.digest in was_live and row.digest != live
        nodes.append(Node(row, row.digest == live, was, min(depth, DEEPEST), parent))
        waiting += [(child, depth + 1) for child in children[row.pk]]
    return nodes
