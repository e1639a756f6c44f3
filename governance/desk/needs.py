"""What a proposal still lacks before it can be promoted, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from governance import rules
from governance.desk.base import names_by_ref
from governance.desk.evidence import read_json
from governance.models import AuditEntry, Evidence, Proposal
from governance.transitions import DECIDABLE, Status

_ENDED = {
    Status.FAILED: "Verification failed, so this can never be promoted.",
    Status.REJECTED: "A reviewer rejected this; a new proposal is needed.",
    Status.CHANGES_REQUESTED: "A reviewer asked for changes; a new proposal is needed.",
    Status.STALE: "What this was approved for has moved; propose it again on today's live release.",
    Status.EXPIRED: "This was not promoted in time; propose it again.",
    Status.WITHDRAWN: "This was withdrawn by those who proposed it.",
    Status.QUARANTINED: "This was quarantined by the stop switch or a hold; once that is lifted, propose it again.",
    Status.SUPERSEDED: "This was live until a later promotion replaced it.",
    Status.REVERTED: "This was live until it was reverted.",
}


@dataclass(frozen=True, slots=True)
class Need:
    """One requirement and whether it is met; `info` for what is only good to know."""

    state: Literal["met", "unmet", "info"]
    sentence: str


def needs_of(
    proposal: Proposal, standing: rules.Standing, evidence: list[Evidence], blind: bool
) -> list[Need]:
    """Every requirement in the order in which it comes up. `blind` hides how others judged, not that they did."""
    if proposal.status in _ENDED:
        said = [Need("info", proposal.status_reason)] if proposal.status_reason else []
        return [Need("unmet", _ENDED[Status(proposal.status)]), *said]
    if proposal.status == Status.PROMOTED:
        return list(_after_promotion(proposal))
    return [
        _verification(proposal),
        *_evidence(standing.lane.evidence, {item.name for item in evidence}),
        _approvals(proposal, standing, blind),
        *_cooling_off(proposal, standing, blind),
        *_ledger(evidence),
        *_dates(proposal),
    ]


def _after_promotion(proposal: Proposal) -> Iterator[Need]:
    yield Need("met", "Promoted.")
    if proposal.reverts_at is not None:
        yield Need(
            "unmet",
            f"Unless a reviewer looks at it, it goes back by itself on {rules.minute(proposal.reverts_at)}.",
        )
    elif proposal.review_due:
        yield Need("unmet", "It went live at once and waits for its review afterwards.")
    else:
        yield from _reviewed_afterwards(proposal)


def _reviewed_afterwards(proposal: Proposal) -> Iterator[Need]:
    """Who looked at what had gone live at once, and what they wrote: the log alone keeps it."""
    about = {"object_type": "proposal", "object_id": proposal.ref}
    for row in AuditEntry.objects.filter(action="proposal.acknowledge", outcome="allowed", **about):
        yield Need(
            "met", f"Reviewed afterwards by {names_by_ref([row.actor])[row.actor]}: {row.entry()['reason']}"
        )


def _verification(proposal: Proposal) -> Need:
    if proposal.status in DECIDABLE or proposal.status == Status.PROMOTING:
        return Need("met", "Verified, and its subject is fixed.")
    if proposal.status == Status.VERIFYING:
        return Need("unmet", "The verifier is at work; nobody can decide before it is done.")
    return Need("unmet", "Not verified yet; nobody can decide before that.")


def _evidence(wanted: tuple[str, ...], found: set[str]) -> Iterator[Need]:
    for name in wanted:
        if name not in found:
            yield Need("unmet", f"The lane asks for the evidence “{name}”, which is missing.")
    if wanted and found.issuperset(wanted):
        yield Need("met", f"Carries the evidence that the lane asks for ({', '.join(wanted)}).")


def _ledger(evidence: list[Evidence]) -> Iterator[Need]:
    """How often the hidden test was asked before this result: chance finds more in a set that answers often."""
    data = next((read_json(item) for item in evidence if item.name == "ledger"), None)
    if not isinstance(data, dict):
        return
    used, allowed = data.get("used"), data.get("allowed")
    if isinstance(used, int) and isinstance(allowed, int):
        yield Need("info", f"Hidden query {used} of {allowed} that its campaign may ask.")
    used, allowed = data.get("epoch_used"), data.get("epoch_allowed")
    if isinstance(used, int) and isinstance(allowed, int):
        yield Need(
            "info", f"The hidden set has answered {used} of {allowed} queries, all campaigns together."
        )


def _approvals(proposal: Proposal, standing: rules.Standing, blind: bool) -> Need:
    lane = standing.lane
    people = f"a {lane.role}" if lane.approvals == 1 else f"{lane.approvals} different {lane.role}s"
    if blind:
        given = proposal.reviews.filter(subject_digest=proposal.subject_digest).count()
        verdicts = "verdict" if given == 1 else "verdicts"
        return Need(
            "unmet", f"Needs approval by {people}; {given} {verdicts} given, shown once you gave yours."
        )
    counted = len(rules.counted_approvals(proposal, standing))
    state: Literal["met", "unmet"] = "met" if counted >= lane.approvals else "unmet"
    return Need(state, f"Approval by {people}: {counted} of {lane.approvals} count today.")


def _cooling_off(proposal: Proposal, standing: rules.Standing, blind: bool) -> Iterator[Need]:
    if not standing.lane.cooling_off:
        return
    hours = standing.lane.cooling_off.total_seconds() / 3600
    if blind:
        yield Need("info", f"Cools off for {hours:g} hours after the last approval needed.")
        return
    approvals = rules.counted_approvals(proposal, standing)
    if len(approvals) < standing.lane.approvals:
        yield Need("unmet", f"Cools off for {hours:g} hours after the last approval needed.")
        return
    passed, sentence = rules.can(lambda: rules.check_cooled_off(approvals, standing))
    yield Need("met", f"Cooled off for {hours:g} hours.") if passed else Need("unmet", sentence)


def _dates(proposal: Proposal) -> Iterator[Need]:
    if proposal.expires_at is not None:
        yield Need("info", f"Expires on {rules.minute(proposal.expires_at)} unless promoted by then.")
