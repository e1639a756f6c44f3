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
    """A changed evaluator: the code before and after, and how the live release scores under both.

    `rescored` is on a public split, `rescored_hidden` on the hidden data (None: it was not opened), each the evidence
    of that name: {"release", "split", "metric", "n", "items_changed", "old": {"evaluator", "score", "reason"}, "new":
    the same}. A score is None where an evaluator gave none, with the reason; `release` is None where none is live.
    """

    old: diffs.Tree
    new: diffs.Tree
    rescored: Mapping[str, Any]
    rescored_hidden: Mapping[str, Any] | None

    def failure(self) -> str:
        """Why the new evaluator cannot be judged by the live release, or an empty string."""
        for found, where in ((self.rescored, ""), (self.rescored_hidden, " hidden")):
            if found and found["release"] and found["new"]["score"] is None:
                return f"The new evaluator gives the live release no{where} score: {found['new']['reason']}"
        return ""


def check_evaluator(code: diffs.Tree) -> None:
    """Raises BadInput when the code has no evaluate.py or is larger than MAX_EVALUATOR_BYTES."""
    if "evaluate.py" not in code:
        raise BadInput("The evaluator has no evaluate.py; give the evaluator's folder.")
    if sum(len(data) for _, data in code.values()) > MAX_EVALUATOR_BYTES:
        raise BadInput(
            f"The evaluator is larger than {MAX_EVALUATOR_BYTES:,} bytes; labels stay apart from it."
        )


def begin_evaluator(
    *, task: Task, manifest: Mapping[str, Any], code: diffs.Tree, summary: str, by: Actor
) -> Proposal:
    """Propose an evaluator (known by its manifest) in place of the one in force; it waits for the verifier.

    One that got further already is returned as it is. Raises BadInput as check_evaluator does.
    """
    check_evaluator(code)
    version = register_version(
        kind=Version.Kind.EVALUATOR,
        digest=json_digest(manifest),
        task=task,
        parent=evaluator_in_force(task),
        manifest=manifest,
        by=by,
    )
    draft = ProposalDraft("evaluator", task, None, version, f"New evaluator for {task.slug}", summary)
    return _begin(draft, by)


def finish_evaluator(*, proposal: Proposal, change: EvaluatorChange) -> Proposal:
    """Hand a changed evaluator over to people; it fails where it cannot score the live release."""
    failure = change.failure()
    found = _Found(
        failure or "The evaluator has its evaluate.py and scores the live release.",
        diffs.pack(change.old, change.new),
        [_untested(change)],
        passed=not failure,
        rescored=change.rescored,
        rescored_hidden=change.rescored_hidden,
    )
    return _finish(proposal, found)


def _untested(change: EvaluatorChange) -> str:
    if not change.rescored["release"]:
        return "Nothing is live, so no release was scored under the new evaluator."
    if change.rescored_hidden is None:
        return "The live release was not scored on the hidden set under the new evaluator."
    return (
        "No release but the live one was scored under the new evaluator, and that one ran once on each split."
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What the core, or the loop for it, found out about a proposal of people."""

    reason: str
    diff: Mapping[str, Any]
    not_tested: list[str]
    passed: bool = True
    rescored: Mapping[str, Any] | None = None
    rescored_hidden: Mapping[str, Any] | None = None

    def evidence(self) -> list[EvidenceItem]:
        bodies = {
            "diff": self.diff,
            "not_tested": self.not_tested,
            "rescored": self.rescored,
            "rescored_hidden": self.rescored_hidden,
        }
        return [
            EvidenceItem(name, JSON, json.dumps(body).encode())
            for name, body in bodies.items()
            if body is not None
        ]


def _submit(draft: ProposalDraft, by: Actor, found: _Found) -> Proposal:
    """Open, verify and hand over; a proposal that got so far already is returned as it is."""
    return _finish(_begin(draft, by), found)


def _begin(draft: ProposalDraft, by: Actor) -> Proposal:
    proposal = open_proposal(draft=draft, by=by)
    if proposal.status == Status.DRAFT:
        proposal = begin_verification(proposal=proposal, by=VERIFIER)
    return proposal


def _finish(proposal: Proposal, found: _Found) -> Proposal:
    if proposal.status != Status.VERIFYING:
        return proposal
    return finish_verification(
        proposal=proposal, passed=found.passed, reason=found.reason, evidence=found.evidence(), by=VERIFIER
    )
