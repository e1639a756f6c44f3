"""Digests of releases and of what an approval binds: approved by one digest, promoted by the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from governance.digests import json_digest, sha256_hex
from governance.errors import BadInput
from governance.models import Evidence, Proposal, Release, Version
from governance.pointers import POLICY_KEY, current_digest, evaluator_in_force

BINDING_KEYS: Final = ("base_model", "tokenizer", "runtime")

PARTS: Final = {
    "kind": "the kind of the proposal",
    "task": "the task",
    "key": "what the proposal would move",
    "target": "what the proposal would make live",
    "base": "the live version that it replaces",
    "harness": "the harness",
    "adapter": "the adapter",
    "adapter_manifest": "the adapter's manifest",
    "base_model": "the base model",
    "tokenizer": "the tokenizer",
    "runtime": "the runtime",
    "evaluator": "the evaluator in force",
    "hidden_commitment": "the hidden set",
    "policy": "the policy in force",
    "evidence": "the evidence",
}


def release_digest(release: Release) -> str:
    """The digest of a release: task, harness, adapter and everything that it runs with."""
    return json_digest(
        {
            "task": release.task.slug,
            "harness": release.harness.digest,
            "adapter": release.adapter.digest if release.adapter else "",
            "binding": release.binding,
        }
    )


def check_binding(binding: Mapping[str, Any]) -> None:
    """Raises BadInput unless the binding names base_model, tokenizer and runtime ('' where the task has none)."""
    missing = [key for key in BINDING_KEYS if not isinstance(binding.get(key), str)]
    if missing:
        raise BadInput(
            f"The release's binding lacks {', '.join(missing)}; give digests ('' where there is none)."
        )


def evidence_root(evidence: Iterable[Evidence]) -> str:
    """Digest over the sorted (name, SHA-256) of the evidence bodies as they are stored now."""
    return json_digest(sorted([item.name, sha256_hex(item.data())] for item in evidence))


def current_subject(proposal: Proposal) -> dict[str, str]:
    """What an approval of this proposal binds, computed from the state of now."""
    subject = dict.fromkeys(PARTS, "")
    subject |= {
        "kind": proposal.kind,
        "task": proposal.task.slug if proposal.task else "",
        "key": proposal.key,
        "target": proposal.target,
        "base": current_digest(proposal.key),
        "policy": current_digest(POLICY_KEY),
        "evidence": evidence_root(proposal.evidence.all() if proposal.pk else ()),
    }
    if proposal.task:
        evaluator = evaluator_in_force(proposal.task)
        subject["evaluator"] = evaluator.digest
        subject["hidden_commitment"] = str(evaluator.manifest.get("hidden_commitment", ""))
    if proposal.release:
        subject |= _release_parts(proposal.release)
    if proposal.version:
        subject["target"] = proposal.version.digest
    return subject


def _release_parts(release: Release) -> dict[str, str]:
    adapter: Version | None = release.adapter
    return {
        "target": release_digest(release),
        "harness": release.harness.digest,
        "adapter": adapter.digest if adapter else "",
        "adapter_manifest": json_digest(adapter.manifest) if adapter else "",
        **{key: release.binding[key] for key in BINDING_KEYS},
    }


def moved_parts(old: Mapping[str, str], new: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(the part in words, its old value, its new value) of every part of a subject that differs."""
    return [
        (words, old.get(part, ""), new.get(part, ""))
        for part, words in PARTS.items()
        if old.get(part, "") != new.get(part, "")
    ]


def what_moved(approved: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Which parts differ, in words; the empty string when none does."""
    moved = [words for words, _, _ in moved_parts(approved, now)]
    if not moved:
        return ""
    listed = moved[0] if len(moved) == 1 else f"{', '.join(moved[:-1])} and {moved[-1]}"
    return f"{listed[:1].upper()}{listed[1:]} moved since the proposal became ready."


def subject_digest(subject: Mapping[str, str]) -> str:
    """SHA-256 of the canonical JSON of a subject."""
    return json_digest(dict(subject))
