"""One hidden test of one release, asked for by a person outside of any run of the loop (`manage.py verify`).

It is held to the same terms as a campaign's: a contract fixed before anything runs, public-val rollouts of both arms,
one query of the hidden set's ledger, the verifier's own worker, and a proposal that people decide about. So it is kept
as a campaign without generations, which has ended when it begins. Its query has the level that a campaign's would have,
with all the queries that the policy allows one: asking again and again by hand is no cheaper.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from governance import actions
from governance.actors import LOOP, Actor
from governance.audit.log import Facts
from governance.digests import json_digest
from governance.errors import GovernanceError
from governance.lineage import check_not_held
from governance.models import Proposal, Release
from governance.pointers import live_release, release_key
from governance.policy import policy_now
from governance.rules import check_inbox, check_may_install, check_not_stopped
from governance.transitions import OPEN
from loop.campaigns import Wish, draw_up
from loop.contract import Budgets, Contract, Spent
from loop.errors import LoopError, TaskError
from loop.installed import InstalledTask, open_task
from loop.ledger import check_may_ask, claim_place, hidden_set_of
from loop.models import Campaign, HiddenQuery, Verification
from loop.preflights import green_preflight
from loop.rollouts import PUBLIC_VAL, Purpose, roll_out

PROFILE = "person"  # no agent takes part
Say = Callable[[str], None]


def ask(release: Release, seed: int, by: Actor, say: Say) -> Verification:
    """Roll both releases out on public-val, then queue the verifier with one query of the hidden set.

    `say` is told what is done. Nothing of the hidden set is spent before both public rollouts have a score. Raises
    NotAllowed unless an operator asks, while the task is stopped or the inbox is too long; TaskError without a green
    preflight, or for a release that is live or proposed already; BudgetSpent when the hidden set is used up.
    """
    against = _checked(release, by)
    task = open_task(release.task)
    rests_on = green_preflight(task)
    policy = policy_now()
    budgets = Budgets(generations=0, hidden_queries=policy.gate.hidden_queries)
    contract = draw_up(task, against, Wish(PROFILE, seed, (), budgets))
    terms = contract.as_json()
    campaign = Campaign.objects.create(
        ref=str(uuid.uuid4()),
        task=release.task,
        profile=PROFILE,
        seed=seed,
        contract=terms,
        contract_digest=json_digest(terms),
        status=Campaign.Status.FINISHED,
        status_reason=f"One hidden test of release {release.digest[:12]}, which a person asked for; no generation.",
        spent=asdict(Spent()),
        base_release=against,
        preflight=rests_on,
        started_by=by.ref,
        finished_at=timezone.now(),
    )
    try:
        for arm in (against, release):
            say(f"rolling out {arm.digest[:12]} on {PUBLIC_VAL}")
            _measure(task, arm, campaign, contract)
        return _submit(task, campaign, release, by)
    except (LoopError, GovernanceError) as error:
        failed = {"status": Campaign.Status.FAILED, "status_reason": f"Nothing was asked: {error}"}
        Campaign.objects.filter(pk=campaign.pk).update(**failed)
        raise


def _checked(release: Release, by: Actor) -> Release:
    """The live release to compare with. Raises what `ask` raises for what cannot be asked."""
    check_may_install(by)
    check_not_stopped(release.task.slug)
    check_inbox()
    check_not_held(release, None)
    against = live_release(release.task)
    if against == release:
        raise TaskError(f"Release {release.digest[:12]} is live; there is nothing to compare it with.")
    known = Proposal.objects.filter(
        key=release_key(release.task), target=release.digest, base=against.digest, status__in=OPEN
    ).first()
    if known is not None:
        raise TaskError(
            f"Release {release.digest[:12]} is proposed already, as {known.ref[:8]} ({known.status})."
        )
    return against


def _measure(task: InstalledTask, release: Release, campaign: Campaign, contract: Contract) -> None:
    """Raises LoopError when the release has no public-val score."""
    spent = Spent(**Campaign.objects.values_list("spent", flat=True).get(pk=campaign.pk))
    purpose = Purpose(
        campaign=campaign,
        generation=None,
        seed=contract.seed,
        tokens_left=contract.budgets.tokens - spent.tokens,
        cost_left_usd=contract.budgets.cost_usd - spent.cost_usd,
    )
    row = roll_out(task, release, PUBLIC_VAL, purpose)
    if row.score is None:
        raise LoopError(
            f"Release {release.digest[:12]} has no public-val score ({row.outcome}: {row.reason})."
        )


def _starters(release: Release) -> tuple[str, ...]:
    """Who started a campaign that made the release: they do not count towards it, whoever has it measured.

    The log names the first such campaign in the release's origin, where an export's replay looks for it too
    (docs/audit-format.md, R10); a later one that came to the same release has it as a candidate.
    """
    named = release.origin.partition("campaign ")[2].partition(" ")[0]
    campaigns = Campaign.objects.filter(Q(ref=named) | Q(generations__candidate=release))
    return tuple(campaigns.order_by("started_by").values_list("started_by", flat=True).distinct())


@transaction.atomic
def _submit(task: InstalledTask, campaign: Campaign, release: Release, by: Actor) -> Verification:
    """The proposal, the ledger's entry and the queued verification, together or not at all."""
    contract, against = Contract.from_json(campaign.contract), campaign.base_release
    check_may_ask(task.evaluator, contract.correction)
    proposal = actions.open_proposal(
        draft=actions.ProposalDraft(
            kind=Proposal.Kind.PROMOTE,
            task=task.row,
            release=release,
            version=None,
            title=f"Promote {release.digest[:12]} on {task.row.slug}",
            summary=f"A person had it measured against {against.digest[:12]}, outside of any run of the loop.",
            excluded=_starters(release),
        ),
        by=by,
    )
    actions.begin_verification(proposal=proposal, by=LOOP)
    if HiddenQuery.objects.filter(proposal=proposal).exists():
        raise TaskError(
            f"Somebody else has release {release.digest[:12]} verified already, as {proposal.ref[:8]}."
        )
    place = claim_place(task.evaluator)
    query = HiddenQuery.objects.create(
        campaign=campaign,
        number=1,
        release=release,
        against=against,
        proposal=proposal,
        alpha=contract.level(place),
        hidden_set=hidden_set_of(task.evaluator),
        place=place,
    )
    actions.note_event(
        by=by,
        action="verification",
        subject=("proposal", proposal.ref),
        facts=Facts(
            task=task.row.slug,
            subject_digest=release.digest,
            before=against.digest,
            after=campaign.contract_digest,
            detail={"contract": campaign.contract, "hidden_set": query.hidden_set, "place": place},
        ),
    )
    return Verification.objects.create(query=query)
