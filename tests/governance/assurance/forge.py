"""Logs and bundles made from plain dicts, as somebody who holds the log's key could make them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.assurance.bundle_parts import (
    EXPORT_ACTION,
    bound_digests,
    facts_of,
    included_digest,
    is_decision,
    write_manifest,
    write_proof,
)
from governance.assurance.verifier_script import verifier_guide, verifier_script
from governance.assurance.views import VIEWS, Row, View
from governance.audit.canonical import canonical, canonical_digest
from governance.audit.notes import TreeHead, checkpoint_text, format_note, make_key
from governance.audit.tree import Tree, leaf_hash

SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = make_key("pawl/log-test", SECRET.public_key().public_bytes_raw())
POLICY, EVALUATOR, SEED, BETTER, WORSE = ("p" * 64, "e" * 64, "5" * 64, "b" * 64, "d" * 64)
SETUP = {"kind": "system", "ref": "setup", "auth": "command"}
VERIFIER = {"kind": "system", "ref": "verifier", "auth": ""}
LANES = {
    "adapter": {"quorum": 2, "role": "reviewer", "cooling_off_s": 0},
    "harness": {"quorum": 1, "role": "reviewer", "cooling_off_s": 0},
}
RULES = {
    "promoters": ["operator"],
    "min_reason": 0,
    "approvals_expire_s": 72 * 3600,
    "roles_count_after_s": 0,
}
EVIDENCE = [{"name": "comparison", "digest": "c" * 64, "media_type": "application/json", "size": 9}]


def entry(action: str, subject: tuple[str, str], detail: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """One entry without its number; `changes` replace fields."""
    return {
        "v": 1,
        "id": "0",
        "time": "2026-11-21T10:00:00.000Z",
        "actor": {"kind": "human", "ref": "p-operator", "auth": "session"},
        "on_behalf_of": "",
        "action": action,
        "outcome": "allowed",
        "object": {"type": subject[0], "id": subject[1]},
        "subject_digest": "",
        "before": "",
        "after": "",
        "reason": "",
        "policy": {"digest": POLICY, "version": "strict 1"},
        "evidence": [],
        "cause": "",
        "request_id": "",
        "task": "digits",
        "detail": dict(detail),
        **changes,
    }


def install(key: str, digest: str, **detail: Any) -> dict[str, Any]:
    """The first move of a pointer."""
    known = {"kind": "install", "generation": 0, "proposal": "", **detail}
    return entry("pointer.move", ("pointer", key), known, after=digest, actor=SETUP)


def grant(ref: str, role: str = "reviewer", by: Mapping[str, str] = SETUP) -> dict[str, Any]:
    """A role given."""
    return entry("role.grant", ("person", ref), {"role": role}, actor=dict(by))


def subject() -> dict[str, str]:
    """What the approvals of the story bind."""
    return {
        "kind": "promote",
        "task": "digits",
        "key": "release:digits",
        "target": BETTER,
        "base": SEED,
        "policy": POLICY,
        "evaluator": EVALUATOR,
        "evidence": canonical_digest([["comparison", "c" * 64]]),
    }


def review(ref: str, **changes: Any) -> dict[str, Any]:
    """An approval of the story's subject."""
    detail = {"verdict": "approve", "nonce": f"n-{ref}", "expires_at": "2026-11-24T10:00:00Z"}
    person = {"kind": "human", "ref": ref, "auth": "session"}
    digest = canonical_digest(subject())
    return entry(
        "proposal.review", ("proposal", "r1"), detail, actor=person, subject_digest=digest, **changes
    )


def story() -> dict[str, dict[str, Any]]:
    """A log in which two reviewers approve an adapter, an operator promotes it and later reverts it."""
    digest = canonical_digest(subject())
    ready: dict[str, Any] = {
        "kind": "promote",
        "key": "release:digits",
        "lane": "adapter",
        "excluded": ["p-starter"],
        "expires_at": "2026-12-05T10:00:00.000+00:00",
    }
    promote = {
        "kind": "promote",
        "generation": 1,
        "proposal": "r1",
        "lane": "adapter",
        "excluded": ["p-starter"],
        "consumed": [{"nonce": "n-p-rita", "ref": "p-rita"}, {"nonce": "n-p-ravi", "ref": "p-ravi"}],
    }
    first = install("policy", POLICY, lanes=LANES, **RULES)
    return {
        "policy": {**first, "policy": {"digest": "", "version": ""}},
        "evaluator": install("evaluator:digits", EVALUATOR),
        "seed": install("release:digits", SEED),
        "rita": grant("p-rita"),
        "ravi": grant("p-ravi"),
        "starter": grant("p-starter"),
        "operator": grant("p-operator", "operator"),
        "ready": entry(
            "proposal.ready", ("proposal", "r1"), {**ready, "subject": subject()},
            subject_digest=digest, before=SEED, after=BETTER, evidence=EVIDENCE, actor=VERIFIER,
        ),
        "review 1": review("p-rita"),
        "review 2": review("p-ravi"),
        "promote": entry(
            "pointer.move", ("pointer", "release:digits"), promote,
            subject_digest=digest, before=SEED, after=BETTER,
        ),
        "revert": entry(
            "pointer.move", ("pointer", "release:digits"),
            {"kind": "revert", "generation": 2, "proposal": "r2"}, before=BETTER, after=SEED,
        ),
    }  # fmt: skip


def numbered(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copies with their numbers."""
    return [{**copy.deepcopy(dict(each)), "seq": seq} for seq, each in enumerate(entries)]


@dataclass
class Forged:
    """A bundle over these entries, signed by SECRET, whatever the entries say."""

    entries: Sequence[Mapping[str, Any]]
    filters: Mapping[str, str] = field(default_factory=dict)
    leave_out: frozenset[int] = frozenset()
    extra: Mapping[str, bytes] = field(default_factory=dict)
    later: Sequence[Mapping[str, Any]] = ()  # written after the export began

    def files(self) -> dict[str, bytes]:
        """The files of the bundle."""
        bound = {
            "verify.py": verifier_script(),
            "VERIFY.md": verifier_guide(),
            "vkeys.txt": f"{KEY}\n".encode(),
            **self.extra,
        }
        carried = [seq for seq in range(len(self.entries) + 1) if seq not in self.leave_out]
        detail = {
            "filter": dict(self.filters),
            "since": None,
            "views": sorted(VIEWS),
            "witnessed": None,
            "included": len(carried),
            "included_digest": included_digest(carried),
            "bound": len(bound),
            "bound_digest": canonical_digest(bound_digests(facts_of(bound))),
        }
        log = numbered([*self.entries, entry(EXPORT_ACTION, ("log", "export"), detail), *self.later])
        bodies = [canonical(each) for each in log]
        tree = Tree(leaf_hash(body) for body in bodies)
        note = signed(tree)
        files = {
            **bound,
            "checkpoint": note,
            "leaf-hashes.txt": "".join(f"{tree.leaf(index).hex()}\n" for index in range(len(tree))).encode(),
            "entries.jsonl": b"".join(bodies[seq] + b"\n" for seq in carried),
        }
        rows: list[Row] = [(tree.leaf(seq).hex(), log[seq]) for seq in carried]
        files |= {path: _view(view, rows) for path, view in VIEWS.items()}
        files |= {
            f"proofs/{each['seq']}.tlog-proof": write_proof(tree, each["seq"], note)
            for _, each in rows
            if is_decision(each["action"])
        }
        files["MANIFEST.json"] = write_manifest(facts_of(files), head_of(tree), len(self.entries))
        return files


def _view(view: View, rows: list[Row]) -> bytes:
    """The view of the rows, or nothing where they are too malformed to have one."""
    try:
        return view(rows)
    except (KeyError, TypeError, ValueError):
        return b""


def head_of(tree: Tree) -> TreeHead:
    """The tree's head under the test log's name."""
    return TreeHead(KEY.name, len(tree), tree.root())


def signed(tree: Tree) -> bytes:
    """A checkpoint of the tree, signed by SECRET."""
    text = checkpoint_text(head_of(tree))
    return format_note(text, KEY, SECRET.sign(text.encode()))


def with_new_manifest(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same files with the manifest made again, as a careful forger would."""
    told = json.loads(files["MANIFEST.json"])
    head = TreeHead(told["origin"], told["size"], bytes.fromhex(told["root"]))
    return {**files, "MANIFEST.json": write_manifest(facts_of(files), head, told["export_seq"])}
