"""Acts before a decision: open a proposal, verify it, withdraw it."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from governance import diffs
from governance.actions.base import act, check_reason, locked, move, note
from governance.actors import CLOCK, Actor
from governance.capabilities import Measures, measure
from governance.digests import sha256_hex
from governance.errors import BadInput, NotAllowed, Stale, SubjectMoved
from governance.lanes import Change, changed_paths, classify
from governance.lineage import check_not_held
from governance.models import Evidence, Proposal, Release, Task, Version
from governance.pointers import (
    POLICY_KEY,
    ROSTER_KEY,
    current_digest,
    evaluator_in_force,
    evaluator_key,
    release_key,
)
from governance.policy import Envelope, Policy, policy_now
from governance.rules import (
    check_is_verifier,
    check_may_propose,
    check_may_propose_roles,
    check_may_withdraw,
    check_not_stopped,
    words,
)
from governance.subjects import current_subject, subject_digest
from governance.transitions import OPEN, Status


@dataclass(frozen=True, slots=True)
class ProposalDraft:
    """A proposal to open. `release` for kind promote, `version` for kinds evaluator and policy.

    `excluded` lists the refs of people who do not count towards the approval (a campaign's starter, the last
    pusher); the proposer is added by itself.
    """

    kind: str
    task: Task | None
    release: Release | None
    version: Version | None
    title: str
    summary: str
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """One piece of evidence to copy onto a proposal."""

    name: str
    media_type: str
    body: bytes


@act("proposal.open")
def open_proposal(*, draft: ProposalDraft, by: Actor) -> Proposal:
    """Open a proposal (status draft), in the lane that the policy in force gives it.

    The same target proposed again over the same base, while the first is still open, returns the first.
    Raises BadInput for a draft that does not fit or changes nothing, NotAllowed for people without a role.
    """
    (check_may_propose_roles if draft.kind == Proposal.Kind.ROLES else check_may_propose)(by)
    check_not_stopped(draft.task.slug if draft.task else "")
    check_not_held(draft.release, draft.version)
    key, target = _destination(draft)
    base = current_digest(key)
    if target == base:
        raise BadInput(f"{target[:12]} is in force under {key} already; there is nothing to propose.")
    if not base:
        raise BadInput(
            f"Nothing was ever installed under {key}; install the first version, later ones are proposed."
        )
    known = Proposal.objects.filter(key=key, target=target, base=base, status__in=OPEN).first()
    if known:
        return known
    policy = policy_now()
    lane, why = _lane(draft, base, policy.envelope, None)
    proposal = Proposal.objects.create(
        ref=str(uuid.uuid4()),
        kind=draft.kind,
        lane=lane,
        lane_reason=why,
        title=_title(draft.title),
        summary=draft.summary,
        task=draft.task,
        release=draft.release,
        version=draft.version,
        key=key,
        target=target,
        base=base,
        excluded=sorted({*draft.excluded, by.ref}),
        proposed_by=by.ref,
    )
    detail = {"kind": str(draft.kind), "key": key, "lane": lane, "excluded": proposal.excluded}
    note(by, "proposal.open", proposal, before=base, after=target, detail=detail)
    return proposal


@act("proposal.verify")
def begin_verification(*, proposal: Proposal, by: Actor) -> Proposal:
    """Start the verification; a proposal that is being verified already is left as it is (a restarted worker)."""
    if by.kind == "human":
        raise NotAllowed("Verification is started by the service, not by hand.")
    proposal = locked(proposal)
    if proposal.status != Status.VERIFYING:
        move(proposal, Status.VERIFYING)
        note(by, "proposal.verify", proposal)
    return proposal


@act("proposal.finish_verification")
def finish_verification(
    *, proposal: Proposal, passed: bool, reason: str, evidence: Sequence[EvidenceItem], by: Actor
) -> Proposal:
    """End the verification: ready for review with its subject fixed, or failed (also when evidence is missing).

    The evidence `diff` must be exactly what changed between the two harnesses, blob by blob.
    Raises NotAllowed for anyone but the verifier, SubjectMoved when what it replaces was replaced meanwhile.
    """
    check_is_verifier(by)
    proposal = locked(proposal)
    if proposal.status != Status.VERIFYING:
        raise Stale(f"This proposal is {words(proposal.status)}, so its verification cannot end now.")
    if current_digest(proposal.key) != proposal.base:
        raise SubjectMoved("The live version moved during the verification, which is void.", proposal.pk)
    listed = keep_evidence(proposal, evidence)
    policy = policy_now()
    lane, lane_reason = _lane(
        _draft_of(proposal), proposal.base, policy.envelope, _measures(proposal, evidence)
    )
    proposal.lane, proposal.lane_reason = lane, lane_reason
    missing = sorted({*policy.lane(lane).evidence} - {item.name for item in evidence})
    if passed and (missing or not evidence):
        passed = False
        reason = f"It passed, but without evidence: {', '.join(missing) or 'none was handed in'}."
    if passed:
        return make_ready(proposal, policy, reason, listed, by)
    move(proposal, Status.FAILED, lane=lane, lane_reason=lane_reason, status_reason=reason)
    note(by, "proposal.failed", proposal, reason=reason, evidence=listed)
    return proposal


def keep_evidence(proposal: Proposal, evidence: Sequence[EvidenceItem]) -> tuple[dict[str, Any], ...]:
    """Copy the evidence onto the proposal; returns it as an entry lists it, sorted by name."""
    twice = [name for name, count in Counter(item.name for item in evidence).items() if count > 1]
    if twice:
        raise BadInput(f"The evidence {twice[0]!r} was handed in twice; each piece has a name of its own.")
    rows = [
        Evidence(
            proposal=proposal,
            name=item.name,
            media_type=item.media_type,
            sha256=sha256_hex(item.body),
            size=len(item.body),
            body=item.body,
        )
        for item in sorted(evidence, key=lambda item: item.name)
    ]
    for row in rows:
        row.save(force_insert=True)
    return tuple(
        {"name": row.name, "digest": row.sha256, "media_type": row.media_type, "size": row.size}
        for row in rows
    )


def make_ready(
    proposal: Proposal, policy: Policy, reason: str, listed: tuple[dict[str, Any], ...], by: Actor
) -> Proposal:
    """Fix the subject: from here on it is what people decide about (or nobody, where the policy says so)."""
    subject = current_subject(proposal)
    now = timezone.now()
    move(
        proposal,
        Status.READY,
        lane=proposal.lane,
        lane_reason=proposal.lane_reason,
        status_reason=reason,
        subject=subject,
        subject_digest=subject_digest(subject),
        ready_at=now,
        expires_at=now + policy.proposals_expire,
    )
    detail = {
        "kind": str(proposal.kind),
        "key": proposal.key,
        "lane": proposal.lane,
        "lane_reason": proposal.lane_reason,
        "excluded": proposal.excluded,
        "expires_at": (now + policy.proposals_expire).isoformat(timespec="milliseconds"),
        "subject": subject,
    }
    note(
        by,
        "proposal.ready",
        proposal,
        before=proposal.base,
        after=proposal.target,
        reason=reason,
        evidence=listed,
        detail=detail,
    )
    if policy.lane(proposal.lane).approvals == 0:
        why = "The policy in force lets changes inside the envelope go live without a person."
        move(proposal, Status.APPROVED, status_reason=why)
        note(CLOCK, "proposal.approved_by_policy", proposal, reason=why)
    return proposal


@act("proposal.withdraw")
def withdraw(*, proposal: Proposal, reason: str, by: Actor) -> Proposal:
    """Take a proposal back: its proposer, its campaign's starter or an operator."""
    proposal = locked(proposal)
    check_may_withdraw(proposal, by)
    text = check_reason(reason, policy_now().min_reason)
    move(proposal, Status.WITHDRAWN, status_reason=text)
    note(by, "proposal.withdrawn", proposal, reason=text)
    return proposal


def _destination(draft: ProposalDraft) -> tuple[str, str]:
    """(pointer key, target digest) of a draft. Raises BadInput when its parts do not fit its kind."""
    match draft:
        case ProposalDraft(kind="promote", task=Task() as task, release=Release() as release, version=None):
            if release.task_id == task.pk:
                evaluator_in_force(task)
                return release_key(task), release.digest
        case ProposalDraft(kind="evaluator", task=Task() as task, release=None, version=Version() as version):
            if version.kind == Version.Kind.EVALUATOR and version.task_id == task.pk:
                return evaluator_key(task), version.digest
        case ProposalDraft(kind="policy", task=None, release=None, version=Version() as version):
            if version.kind == Version.Kind.POLICY:
                return POLICY_KEY, version.digest
        case ProposalDraft(kind="roles", task=None, release=None, version=Version() as version):
            if version.kind == Version.Kind.ROSTER:
                return ROSTER_KEY, version.digest
    raise BadInput(
        "A proposal is to promote a task's release, or to put an evaluator version of a task, a policy or a roster in "
        f"force; kind {draft.kind!r} with these parts is none of them."
    )


def _title(title: str) -> str:
    text = " ".join(title.split())
    if not text or len(text) > 200:
        raise BadInput(f"A proposal's title has 1 to 200 characters; this one has {len(text)}.")
    return text


def _draft_of(proposal: Proposal) -> ProposalDraft:
    return ProposalDraft(
        proposal.kind, proposal.task, proposal.release, proposal.version, proposal.title, proposal.summary
    )


def _lane(draft: ProposalDraft, base: str, envelope: Envelope, measures: Measures | None) -> tuple[str, str]:
    if draft.release is None:
        return draft.kind, f"It changes the {draft.kind}, which evaluator owners decide."
    live = Release.objects.select_related("harness", "adapter").get(digest=base)
    new = draft.release
    change = Change(
        adapter_changed=new.adapter_id != live.adapter_id,
        harness_changed=new.harness_id != live.harness_id,
        old_files=live.harness.manifest.get("files"),
        new_files=new.harness.manifest.get("files"),
        measures=measures,
    )
    return classify(change, envelope)


def _measures(proposal: Proposal, evidence: Sequence[EvidenceItem]) -> Measures | None:
    """The measures of the evidence `diff`, checked against both harnesses' file lists.

    None when there is no diff or a harness's list is not known. Raises BadInput for a diff that is not theirs.
    """
    body = next((item.body for item in evidence if item.name == "diff"), None)
    if body is None or proposal.release is None:
        return None
    try:
        old, new = diffs.unpack(json.loads(body))
    except ValueError as error:
        raise BadInput(f"The evidence `diff` is not JSON: {error}.") from error
    live = Release.objects.select_related("harness").get(digest=proposal.base)
    sides = ((old, live.harness.manifest.get("files")), (new, proposal.release.harness.manifest.get("files")))
    if any(files is None for _, files in sides):
        return None
    paths = set(changed_paths(sides[0][1], sides[1][1]))
    for tree, files in sides:
        given = {path: [mode, sha256_hex(data)] for path, (mode, data) in tree.items()}
        if given != {path: list(files[path]) for path in paths if path in files}:
            raise BadInput(
                "The evidence `diff` is not what changed between the live harness and the proposed one."
            )
    return measure(old, new)
