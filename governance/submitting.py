"""Proposals that come from people: a changed evaluator or policy, with the evidence that the core itself can give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from governance import diffs
from governance.actions import (
    EvidenceItem,
    ProposalDraft,
    begin_verification,
    finish_verification,
    open_proposal,
    policy_manifest,
    register_version,
)
from governance.actors import VERIFIER, Actor
from governance.digests import json_digest, sha256_hex
from governance.errors import BadInput
from governance.models import Proposal, Task, Version
from governance.pointers import evaluator_in_force
from governance.policy import parse_policy, policy_in_force, policy_text
from governance.roster import FEWEST_OWNERS, RoleChange, changed, manifest_of, roster_now, roster_text
from governance.transitions import Status

MAX_EVALUATOR_BYTES: Final = 1_000_000
JSON: Final = "application/json"
TO: Final = {"grant": "to", "revoke": "from"}


def submit_policy(*, text: str, summary: str, by: Actor) -> Proposal:
    """Propose a policy (TOML) in place of the one in force. Raises BadInput when it cannot be used as it stands."""
    policy = parse_policy(text)
    _, old = policy_in_force()
    data = text.encode()
    version = register_version(
        kind=Version.Kind.POLICY,
        digest=sha256_hex(data),
        task=None,
        parent=old,
        manifest=policy_manifest(text),
        by=by,
    )
    draft = ProposalDraft("policy", None, None, version, f"Policy {policy.name} {policy.version}", summary)
    trees = ({"policy.toml": ("file", policy_text(old).encode())}, {"policy.toml": ("file", data)})
    not_tested = ["Nothing was replayed under the new rules; read them line by line."]
    found = _Found("The policy reads as TOML and keeps the floors.", diffs.pack(*trees), not_tested)
    return _submit(draft, by, found)


def submit_roles(*, changes: Sequence[RoleChange], summary: str, by: Actor) -> Proposal:
    """Propose a roster with these changes in place of the one in force; those concerned do not count towards it.

    Raises BadInput for changes that change nothing or leave too few owners, NotAllowed unless an owner or an
    operator acts.
    """
    held = roster_now()
    after = changed(held, changes)
    manifest = manifest_of(after)
    version = register_version(
        kind=Version.Kind.ROSTER, digest=json_digest(manifest), task=None, manifest=manifest, by=by
    )
    words = ", ".join(f"{each.act} {each.role} {TO[each.act]} {each.ref}" for each in changes)
    concerned = tuple(each.ref for each in changes)
    draft = ProposalDraft("roles", None, None, version, f"Roles: {words}"[:200], summary, concerned)
    trees = [{"roster": ("file", roster_text(grants).encode())} for grants in (held, after)]
    reason = f"The roster keeps at least {FEWEST_OWNERS} evaluator owners."
    found = _Found(reason, diffs.pack(*trees), ["Whether these people are who they say."])
    return _submit(draft, by, found)


@dataclass(frozen=True, slots=True)
class EvaluatorChange:
    """A changed evaluator: its manifest (what the digest is of) and the code before and after.

    `rescored` is the evidence of that name: the live release's outputs on a public split, scored by both.
    {"release", "split", "metric", "n", "items_changed", "old": {"evaluator", "score", "reason"}, "new": the same};
    a score is None where an evaluator gave none, with the reason.
    """

    manifest: Mapping[str, Any]
    old: diffs.Tree
    new: diffs.Tree
    rescored: Mapping[str, Any]


def check_evaluator(code: diffs.Tree) -> None:
    """Raises BadInput when the code has no evaluate.py or is larger than MAX_EVALUATOR_BYTES."""
    if "evaluate.py" not in code:
        raise BadInput("The evaluator has no evaluate.py; give the evaluator's folder.")
    if sum(len(data) for _, data in code.values()) > MAX_EVALUATOR_BYTES:
        raise BadInput(
            f"The evaluator is larger than {MAX_EVALUATOR_BYTES:,} bytes; labels stay apart from it."
        )


def submit_evaluator(*, task: Task, change: EvaluatorChange, summary: str, by: Actor) -> Proposal:
    """Propose an evaluator in place of the one in force; it fails at once where it cannot score the live release.

    Raises BadInput when the code has no evaluate.py or is larger than MAX_EVALUATOR_BYTES.
    """
    check_evaluator(change.new)
    version = register_version(
        kind=Version.Kind.EVALUATOR,
        digest=json_digest(change.manifest),
        task=task,
        parent=evaluator_in_force(task),
        manifest=change.manifest,
        by=by,
    )
    draft = ProposalDraft("evaluator", task, None, version, f"New evaluator for {task.slug}", summary)
    new = change.rescored["new"]
    scored = new["score"] is not None
    found = _Found(
        "The evaluator has its evaluate.py and scores the live release."
        if scored
        else f"The new evaluator gives the live release no score: {new['reason']}",
        diffs.pack(change.old, change.new),
        ["The live release was not scored on the hidden set under the new evaluator."],
        passed=scored,
        rescored=change.rescored,
    )
    return _submit(draft, by, found)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the core, or the loop for it, found out about a proposal of people."""

    reason: str
    diff: Mapping[str, Any]
    not_tested: list[str]
    passed: bool = True
    rescored: Mapping[str, Any] | None = None

    def evidence(self) -> list[EvidenceItem]:
        bodies = {"diff": self.diff, "not_tested": self.not_tested, "rescored": self.rescored}
        return [
            EvidenceItem(name, JSON, json.dumps(body).encode())
            for name, body in bodies.items()
            if body is not None
        ]


def _submit(draft: ProposalDraft, by: Actor, found: _Found) -> Proposal:
    """Open, verify and hand over; a proposal that got so far already is returned as it is."""
    proposal = open_proposal(draft=draft, by=by)
    if proposal.status == Status.DRAFT:
        proposal = begin_verification(proposal=proposal, by=VERIFIER)
    if proposal.status != Status.VERIFYING:
        return proposal
    return finish_verification(
        proposal=proposal, passed=found.passed, reason=found.reason, evidence=found.evidence(), by=VERIFIER
    )
