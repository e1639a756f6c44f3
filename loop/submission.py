"""Handing the campaign's best release to the verifier: attribution first, then one query of the ledger."""

from __future__ import annotations

from django.db import transaction

from governance import actions
from governance.models import Proposal, Release
from governance.pointers import live_release
from loop.archive import best
from loop.candidates import agent
from loop.errors import BudgetSpent
from loop.evidence import accepted
from loop.ledger import check_may_ask, claim_place, hidden_set_of
from loop.models import ArchiveEntry, HiddenQuery, Verification
from loop.proposal_evidence import attribution_cells
from loop.rollouts import PUBLIC_VAL
from loop.turn import Turn


def submit(turn: Turn) -> Verification:
    """Measure the 2x2, open the proposal and queue its verification; idempotent.

    Raises BudgetSpent when the campaign's hidden queries, or those of its hidden set, are used up.
    """
    top = best(accepted(turn.campaign), turn.contract.higher_is_better)
    release = Release.objects.get(digest=top.release)
    against = live_release(turn.task.row)
    check_may_ask(turn.task.evaluator, turn.contract.correction)
    _measure(turn, against, release)
    used = HiddenQuery.objects.filter(campaign=turn.campaign).count()
    if used >= turn.contract.budgets.hidden_queries:
        raise BudgetSpent(f"All {used} hidden queries of the contract are used; start a new campaign.")
    with turn.commit(0.0):
        return _open(turn, release, against, used + 1)


def _measure(turn: Turn, against: Release, release: Release) -> None:
    """Roll out the mixed cells of the 2x2 (old harness with the new adapter, new harness without it)."""
    if release.adapter == against.adapter or release.harness == against.harness:
        return
    for harness, adapter in ((against.harness, release.adapter), (release.harness, against.adapter)):
        with transaction.atomic():
            mixed = actions.register_release(
                draft=actions.ReleaseDraft(
                    task=turn.task.row,
                    harness=harness,
                    adapter=adapter,
                    parent=against,
                    binding=release.binding,
                    origin=f"attribution of campaign {turn.campaign.ref}",
                ),
                by=agent(turn.campaign),
            )
        turn.roll_out(mixed, PUBLIC_VAL)
    assert all(cell is not None for *_, cell in attribution_cells(against, release))


def _open(turn: Turn, release: Release, against: Release, number: int) -> Verification:
    proposal = actions.open_proposal(
        draft=actions.ProposalDraft(
            kind=Proposal.Kind.PROMOTE,
            task=turn.task.row,
            release=release,
            version=None,
            title=f"Promote {release.digest[:12]} on {turn.task.row.slug}",
            summary=_summary(turn, release, against),
            excluded=(turn.campaign.started_by, agent(turn.campaign).ref),
        ),
        by=agent(turn.campaign),
    )
    actions.begin_verification(proposal=proposal, by=agent(turn.campaign))
    place = claim_place(turn.task.evaluator)
    query = HiddenQuery.objects.create(
        campaign=turn.campaign,
        number=number,
        release=release,
        against=against,
        proposal=proposal,
        alpha=turn.contract.level(place),
        hidden_set=hidden_set_of(turn.task.evaluator),
        place=place,
    )
    ArchiveEntry.objects.filter(campaign=turn.campaign, release=release).update(submitted=True)
    return Verification.objects.create(query=query)


def _summary(turn: Turn, release: Release, against: Release) -> str:
    what = [
        name
        for name, changed in (
            ("the harness", release.harness != against.harness),
            ("the weights", release.adapter != against.adapter),
        )
        if changed
    ]
    return f"Campaign {turn.campaign.ref[:8]} changed {' and '.join(what)} over {against.digest[:12]}."
