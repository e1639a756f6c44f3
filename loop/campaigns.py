"""Campaigns: how one starts, what it does next, how it ends. The next act is always derived from the database."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from governance import actions
from governance.actors import LOOP, Actor
from governance.audit.log import Facts
from governance.digests import json_digest
from governance.models import Proposal, Release, Task
from governance.pointers import live_release
from governance.policy import GateDefaults, policy_in_force
from governance.rules import can, check_inbox, check_not_stopped
from governance.transitions import OPEN
from loop import outages
from loop.archive import best
from loop.contract import Budgets, Contract, Spent, check_budgets, query_level, trial_seeds
from loop.errors import BudgetSpent, TaskError
from loop.evidence import accepted
from loop.gate import planned_test, smallest_visible_gain
from loop.installed import InstalledTask, open_task
from loop.ledger import check_may_ask
from loop.models import Campaign, Generation, HiddenQuery, Verification
from loop.preflights import green_preflight

MOST_FAILURES = 3
USUAL_DISCORDANCE = 0.3


class Act(StrEnum):
    """What a campaign does next."""

    STEP = "step"
    BEGIN = "begin"
    SUBMIT = "submit"
    WAIT = "wait"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Next:
    """The next act with its reason; `generation` for STEP, the finishing status for FINISH."""

    act: Act
    reason: str = ""
    generation: Generation | None = None
    status: str = Campaign.Status.FINISHED


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks of a campaign before its contract is drawn up."""

    profile: str
    seed: int = 0
    levers: tuple[str, ...] = ("harness", "weights")
    budgets: Budgets = field(default_factory=Budgets)
    cache_replies: bool = False


def draw_up(task: InstalledTask, base: Release, wish: Wish) -> Contract:
    """The contract: the policy's and the task's rules for this wish, with everything in force named by digest.

    Raises TaskError for more hidden queries than the policy allows, BudgetSpent when the hidden set is used up.
    """
    policy, version = policy_in_force()
    if wish.budgets.hidden_queries > policy.gate.hidden_queries:
        raise TaskError(
            f"The policy allows {policy.gate.hidden_queries} hidden queries in a campaign, not "
            f"{wish.budgets.hidden_queries}; ask for fewer."
        )
    return Contract(
        **_hidden_terms(task, wish, policy.gate),
        task=task.row.slug,
        metric=task.spec.metric.name,
        higher_is_better=task.higher_is_better,
        evaluator=task.evaluator.digest,
        policy=version.digest,
        base_release=base.digest,
        profile=wish.profile,
        seed=wish.seed,
        levers=wish.levers,
        budgets=wish.budgets,
        cache_replies=wish.cache_replies,
    )


def _hidden_terms(task: InstalledTask, wish: Wish, policy: GateDefaults) -> dict[str, Any]:
    """What the contract says about the hidden test: levels, test, trials, slices, and what the set can show."""
    gate, budget = task.spec.gate, check_may_ask(task.evaluator, task.spec.gate.correction)
    alpha = policy.alpha if gate.alpha is None else gate.alpha
    smallest = policy.smallest_gain if gate.smallest_gain is None else gate.smallest_gain
    level = query_level(alpha, wish.budgets, policy.promotions, gate.correction, budget.next_place)
    items = task.spec.splits.get("hidden", 0)
    return {
        "alpha": alpha,
        "alpha_query": level,
        "promotions": policy.promotions,
        "smallest_gain": smallest,
        "correction": gate.correction,
        "test": planned_test(gate.trials, gate.cluster is not None),
        "trials": gate.trials,
        "trial_seeds": trial_seeds(wish.seed, gate.trials),
        "cluster": gate.cluster,
        "slices": gate.slices,
        "hidden_set": budget.hidden_set,
        "hidden_used": budget.used,
        "hidden_allowed": budget.allowed,
        "hidden_items": items,
        "discordance": USUAL_DISCORDANCE,
        "smallest_visible_gain": smallest_visible_gain(items, USUAL_DISCORDANCE, level, smallest),
    }


@dataclass(frozen=True, slots=True)
class Request:
    """Who asked over HTTP: for which person, under which key of the client's own, for what (a digest)."""

    person: str
    key: str
    digest: str


def start(task_row: Task, wish: Wish, by: Actor, request: Request | None = None) -> Campaign:
    """Start a campaign: the contract is hashed and logged in the transaction that creates it.

    A program starts it with a `request`, and the person whom it names is the starter.

    Raises TaskError when the task already has a running campaign or no green preflight for what is installed now,
    NotAllowed while it is stopped or too many proposals wait for people.
    """
    check_not_stopped(task_row.slug)
    check_inbox()
    if Campaign.objects.filter(task=task_row, status=Campaign.Status.RUNNING).exists():
        raise TaskError(f"A campaign on {task_row.slug} is already running; wait for it or stop it first.")
    task = open_task(task_row)
    rests_on = green_preflight(task)
    base = live_release(task_row)
    contract = draw_up(task, base, wish).as_json()
    with transaction.atomic():
        campaign = Campaign.objects.create(
            ref=str(uuid.uuid4()),
            task=task_row,
            profile=wish.profile,
            seed=wish.seed,
            contract=contract,
            contract_digest=json_digest(contract),
            spent=asdict(Spent()),
            base_release=base,
            preflight=rests_on,
            started_by=request.person if request else by.ref,
            request_key=request.key if request else None,
            request_digest=request.digest if request else "",
        )
        Generation.objects.create(campaign=campaign, number=0)
        actions.note_event(
            by=by,
            action="campaign.start",
            subject=("campaign", campaign.ref),
            facts=Facts(
                task=task_row.slug,
                after=campaign.contract_digest,
                on_behalf_of=request.person if request else "",
                detail={"contract": contract, "preflight": rests_on.ref},
            ),
        )
    return campaign


def promise(campaign: Campaign) -> str:
    """What the hidden set can show under this contract, said before the campaign starts."""
    contract = Contract.from_json(campaign.contract)
    if contract.smallest_visible_gain is None:
        seen = "too few hidden items to show any gain"
    else:
        seen = (
            f"the smallest gain they can show is about {contract.smallest_visible_gain:.3f} "
            f"(4 times in 5, if {contract.discordance:.0%} of them change)"
        )
    return (
        f"Contract {campaign.contract_digest[:12]}: {contract.budgets.generations} generations, "
        f"{contract.budgets.hidden_queries} hidden queries at level {contract.alpha_query:.2g} each; "
        f"{contract.hidden_items} hidden items, {seen}. "
        f"This hidden set has answered {contract.hidden_used} of {contract.hidden_allowed} queries in all campaigns."
    )


def next_act(campaign: Campaign) -> Next:
    """What the campaign does next, from its rows alone."""
    generations = list(campaign.generations.order_by("number"))
    last = generations[-1]
    if last.step != Generation.Step.DONE:
        return Next(Act.STEP, generation=last)
    if not campaign.archive.exists():
        return Next(Act.FINISH, f"The baseline has no score: {last.reason}", status=Campaign.Status.FAILED)
    over = _over(campaign, generations)
    if not over:
        free, why_not = can(check_inbox)
        return Next(Act.BEGIN) if free else Next(Act.WAIT, why_not)
    return _ending(campaign, over)


def begin_generation(campaign: Campaign) -> None:
    """Open the next generation."""
    last = campaign.generations.order_by("number").last()
    assert last is not None
    Generation.objects.create(campaign=campaign, number=last.number + 1)


def finish(campaign: Campaign, outcome: Next) -> None:
    """End a campaign with its reason, on the row and in the log."""
    Campaign.objects.filter(pk=campaign.pk).update(
        status=outcome.status, status_reason=outcome.reason, finished_at=timezone.now()
    )
    actions.note_event(
        by=LOOP,
        action="campaign.finish",
        subject=("campaign", campaign.ref),
        facts=Facts(task=campaign.task.slug, reason=outcome.reason, detail={"status": str(outcome.status)}),
    )


def stop(campaign: Campaign, reason: str, by: Actor) -> None:
    """Stop a running campaign; the step in progress is refused at its commit. Raises TaskError if it is not running."""
    with transaction.atomic():
        running = Campaign.objects.filter(pk=campaign.pk, status=Campaign.Status.RUNNING)
        changed = running.update(
            status=Campaign.Status.STOPPED,
            status_reason=reason,
            fence=F("fence") + 1,
            finished_at=timezone.now(),
        )
        if changed != 1:
            raise TaskError(f"Campaign {campaign.ref[:8]} is not running; there is nothing to stop.")
        actions.note_event(
            by=by,
            action="campaign.stop",
            subject=("campaign", campaign.ref),
            facts=Facts(task=campaign.task.slug, reason=reason),
        )


def _over(campaign: Campaign, generations: list[Generation]) -> str:
    """Why no further generation is begun, or an empty string."""
    contract = Contract.from_json(campaign.contract)
    last = generations[-1]
    if last.verdict == Generation.Verdict.STOPPED:
        return f"The agent stopped: {last.reason}"
    if last.number >= contract.budgets.generations:
        return f"Generation {last.number} of {contract.budgets.generations} is done."
    tail = generations[-MOST_FAILURES:]
    if len(tail) == MOST_FAILURES and all(row.verdict == Generation.Verdict.FAILED for row in tail):
        return f"{MOST_FAILURES} generations in a row failed, the last one with: {last.reason}"
    try:
        check_budgets(Spent(**campaign.spent), contract.budgets)
    except BudgetSpent as error:
        return str(error)
    return ""


def _ending(campaign: Campaign, over: str) -> Next:
    query = HiddenQuery.objects.filter(campaign=campaign).select_related("verification").first()
    if query is None:
        top = best(accepted(campaign), Contract.from_json(campaign.contract).higher_is_better)
        if top.release == campaign.base_release.digest:
            return Next(Act.FINISH, f"{over} Nothing better than the live release was found.")
        waiting = Proposal.objects.filter(target=top.release, status__in=OPEN).first()
        if waiting is not None:
            return Next(Act.FINISH, f"{over} The best release is proposed already, as {waiting.ref[:8]}.")
        return Next(Act.SUBMIT, over)
    verification = query.verification
    if verification.status == Verification.Status.WAITING:
        return Next(Act.WAIT, outages.words(verification))
    if verification.status in {Verification.Status.QUEUED, Verification.Status.RUNNING}:
        return Next(Act.WAIT, "The verifier is at work.")
    short = query.proposal.ref[:8]
    if verification.status == Verification.Status.OUTAGE:
        reason = f"{over} The best release has no hidden result (proposal {short}): {verification.reason}"
        return Next(Act.FINISH, reason, status=Campaign.Status.FAILED)
    if verification.bit:
        return Next(
            Act.FINISH, f"{over} The best release passed the hidden test; proposal {short} waits for review."
        )
    return Next(Act.FINISH, f"{over} The best release did not pass the hidden test (proposal {short}).")
