"""Proposals that come from people: a changed evaluator or policy, with the evidence that the core itself can give."""

from __future__ import annotations

import json
from pathlib import Path
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
from governance.digests import entries_digest, file_list, read_tree, sha256_hex
from governance.errors import BadInput
from governance.models import Proposal, Task, Version
from governance.pointers import evaluator_in_force
from governance.policy import parse_policy, policy_in_force, policy_text
from governance.transitions import Status

MAX_EVALUATOR_BYTES: Final = 1_000_000
JSON: Final = "application/json"


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
    return _submit(
        draft, by, "The policy reads as TOML and keeps the floors.", diffs.pack(*trees), not_tested
    )


def submit_evaluator(*, task: Task, folder: Path, summary: str, by: Actor) -> Proposal:
    """Propose the evaluator in `folder` in place of the one in force; the hidden set stays as it is.

    Raises BadInput when the folder has no evaluate.py or is larger than MAX_EVALUATOR_BYTES.
    """
    tree = read_tree(folder)
    if "evaluate.py" not in tree:
        raise BadInput(f"{folder} has no evaluate.py; give the evaluator's folder.")
    if sum(len(data) for _, data in tree.values()) > MAX_EVALUATOR_BYTES:
        raise BadInput(f"{folder} is larger than {MAX_EVALUATOR_BYTES:,} bytes; labels stay apart from it.")
    old = evaluator_in_force(task)
    manifest = {
        "files": file_list(tree),
        "sources": diffs.sources(tree),
        "hidden_commitment": old.manifest.get("hidden_commitment", ""),
    }
    version = register_version(
        kind=Version.Kind.EVALUATOR,
        digest=entries_digest(tree),
        task=task,
        parent=old,
        manifest=manifest,
        by=by,
    )
    draft = ProposalDraft("evaluator", task, None, version, f"New evaluator for {task.slug}", summary)
    not_tested = ["The live release was not scored under the new evaluator."]
    if "sources" not in old.manifest:
        not_tested.append("The evaluator in force keeps no sources, so every file shows as added.")
    packed = diffs.pack(diffs.from_sources(old.manifest.get("sources", {})), tree)
    return _submit(draft, by, "The evaluator has its evaluate.py.", packed, not_tested)


def _submit(
    draft: ProposalDraft, by: Actor, reason: str, diff: dict[str, Any], not_tested: list[str]
) -> Proposal:
    """Open, verify and hand over; a proposal that got so far already is returned as it is."""
    proposal = open_proposal(draft=draft, by=by)
    if proposal.status == Status.DRAFT:
        proposal = begin_verification(proposal=proposal, by=VERIFIER)
    if proposal.status != Status.VERIFYING:
        return proposal
    evidence = [
        EvidenceItem("diff", JSON, json.dumps(diff).encode()),
        EvidenceItem("not_tested", JSON, json.dumps(not_tested).encode()),
    ]
    return finish_verification(proposal=proposal, passed=True, reason=reason, evidence=evidence, by=VERIFIER)
