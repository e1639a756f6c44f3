"""Logs and bundles made from plain dicts, as somebody who holds the log's key could make them."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.assurance.bundle_parts import (
    EXPORT_ACTION,
    VERSIONS_FOLDER,
    bound_digests,
    facts_of,
    included_digest,
    is_decision,
    write_manifest,
    write_proof,
)
from governance.assurance.replay_rulebook import read_rulebook
from governance.assurance.verifier_script import verifier_guide, verifier_script
from governance.assurance.views import VIEWS, Row, View
from governance.audit.canonical import canonical, canonical_digest
from governance.audit.notes import TreeHead, checkpoint_text, format_note, make_key
from governance.audit.tree import Tree, leaf_hash

SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = make_key("pawl/log-test", SECRET.public_key().public_bytes_raw())
SETUP = {"kind": "system", "ref": "setup", "auth": "command"}
LOOP = {"kind": "system", "ref": "loop", "auth": ""}
VERIFIER = {"kind": "system", "ref": "verifier", "auth": ""}
BINDING = {"base_model": "b" * 64, "tokenizer": "t" * 64, "runtime": "r" * 64}
EVIDENCE = [{"name": "comparison", "digest": "c" * 64, "media_type": "application/json", "size": 9}]
WHY = "Because of the evidence."
TODAY = "2025-11-21T10:00:00.000Z"


def policy_text(**changes: str) -> bytes:
    """The text of a policy: no evidence or cooling off but what `changes` say, {lane: more TOML of its table}."""
    lanes = {
        "harness": 'approvals = 1\nrole = "reviewer"',
        "harness_outside": 'approvals = 2\nrole = "reviewer"',
        "adapter": 'approvals = 2\nrole = "reviewer"',
        "evaluator": 'approvals = 2\nrole = "evaluator owner"\ncooling_off_hours = 24',
        "policy": 'approvals = 2\nrole = "evaluator owner"\ncooling_off_hours = 24',
        "revert": 'approvals = 1\nrole = "reviewer"',
        **{name: more for name, more in changes.items() if name != "top"},
    }
    tables = "".join(f"[lanes.{name}]\n{lines}\n" for name, lines in lanes.items())
    hours = "[approvals]\nexpire_hours = 72\nproposal_expire_hours = 336\nmin_reason = 10\n"
    top = f'{hours}[promotion]\nroles = ["operator"]\n'
    return f"{changes.get('top', top)}{tables}".encode()


def sha256(data: bytes) -> str:
    """SHA-256 (hex)."""
    return hashlib.sha256(data).hexdigest()


RULES_TEXT = policy_text()
EVALUATOR_TEXT = canonical({"code": "e" * 64, "hidden_commitment": "h" * 8})
OTHER_EVALUATOR = canonical({"code": "f" * 64, "hidden_commitment": "i" * 8})
POLICY, EVALUATOR = sha256(RULES_TEXT), sha256(EVALUATOR_TEXT)
TEXTS = {sha256(text): text for text in (RULES_TEXT, EVALUATOR_TEXT, OTHER_EVALUATOR)}


def parts(adapter: str, harness: str = "5" * 64) -> dict[str, Any]:
    """What a release of the story is made of."""
    return {"harness": harness, "adapter": adapter, "binding": BINDING, "origin": "test"}


def release_of(detail: Mapping[str, Any]) -> str:
    """The digest of a release of these parts."""
    return canonical_digest(
        {"task": "digits", **{name: detail[name] for name in ("harness", "adapter", "binding")}}
    )


SEED, BETTER, WORSE = (release_of(parts(adapter)) for adapter in ("", "a" * 64, "d" * 64))


def entry(action: str, subject: tuple[str, str], detail: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """One entry without its number; `changes` replace fields."""
    return {
        "v": 1,
        "id": "0",
        "time": TODAY,
        "actor": {"kind": "human", "ref": "p-operator", "auth": "session"},
        "on_behalf_of": "",
        "action": action,
        "outcome": "allowed",
        "object": {"type": subject[0], "id": subject[1]},
        "subject_digest": "",
        "before": "",
        "after": "",
        "reason": WHY,
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


def version(kind: str, digest: str, task: str = "digits", parent: str = "") -> dict[str, Any]:
    """A version registered."""
    detail = {"kind": kind}
    return entry(
        "version.register", ("version", digest), detail, before=parent, after=digest, task=task, actor=LOOP
    )


def release(adapter: str, parent: str = "") -> dict[str, Any]:
    """A release of the story registered."""
    digest = release_of(parts(adapter))
    return entry(
        "release.register", ("release", digest), parts(adapter), before=parent, after=digest, actor=LOOP
    )


def add(ref: str) -> dict[str, Any]:
    """A person added by the set-up."""
    return entry("person.add", ("person", ref), {}, actor=SETUP)


def grant(ref: str, role: str = "reviewer", by: Mapping[str, str] = SETUP) -> dict[str, Any]:
    """A role given."""
    return entry("role.grant", ("person", ref), {"role": role}, actor=dict(by))


def with_auditor(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    """These entries in a log whose exporter may export, and nothing else."""
    return [add("p-ada"), grant("p-ada", "auditor"), *entries]


def subject() -> dict[str, str]:
    """What the approvals of the story bind."""
    return {
        "kind": "promote",
        "task": "digits",
        "key": "release:digits",
        "target": BETTER,
        "base": SEED,
        "harness": "5" * 64,
        "adapter": "a" * 64,
        **BINDING,
        "policy": POLICY,
        "evaluator": EVALUATOR,
        "hidden_commitment": "h" * 8,
        "evidence": canonical_digest([["comparison", "c" * 64]]),
    }


def review(ref: str, **changes: Any) -> dict[str, Any]:
    """An approval of the story's subject."""
    detail = {"verdict": "approve", "nonce": f"n-{ref}", "expires_at": "2025-11-24T10:00:00Z"}
    person = {"kind": "human", "ref": ref, "auth": "session"}
    digest = canonical_digest(subject())
    return entry(
        "proposal.review", ("proposal", "r1"), detail, actor=person, subject_digest=digest, **changes
    )


def story() -> dict[str, dict[str, Any]]:
    """A log in which two reviewers approve an adapter, an operator promotes it and later reverts it."""
    digest = canonical_digest(subject())
    excluded = ["loop", "p-starter"]
    known = {"kind": "promote", "key": "release:digits", "lane": "adapter", "excluded": excluded}
    ready = {**known, "expires_at": "2025-12-05T10:00:00.000+00:00", "subject": subject()}
    promote = {
        **known,
        "generation": 1,
        "proposal": "r1",
        "consumed": [{"nonce": "n-p-rita", "ref": "p-rita"}, {"nonce": "n-p-ravi", "ref": "p-ravi"}],
    }
    back = {**subject(), "kind": "revert", "target": SEED, "base": BETTER}
    rules = read_rulebook(RULES_TEXT).logged()
    first = install("policy", POLICY, **rules)
    proposal = ("proposal", "r1")
    change = {"before": SEED, "after": BETTER}
    people = {
        "rita": "reviewer",
        "ravi": "reviewer",
        "starter": "reviewer",
        "operator": "operator",
        "ada": "auditor",
    }
    return {
        "policy version": version("policy", POLICY, task=""),
        "policy": {**first, "policy": {"digest": "", "version": ""}},
        **{f"add {name}": add(f"p-{name}") for name in people},
        **{name: grant(f"p-{name}", role) for name, role in people.items()},
        "evaluator version": version("evaluator", EVALUATOR),
        "evaluator": install("evaluator:digits", EVALUATOR),
        "seed release": release(""),
        "seed": install("release:digits", SEED),
        "better release": release("a" * 64, SEED),
        "worse release": release("d" * 64, SEED),
        "open": entry("proposal.open", proposal, known, actor=LOOP, **change),
        "ready": entry(
            "proposal.ready", proposal, ready, subject_digest=digest, evidence=EVIDENCE, actor=VERIFIER, **change
        ),
        "review 1": review("p-rita"),
        "review 2": review("p-ravi"),
        "promote": entry("pointer.move", ("pointer", "release:digits"), promote, subject_digest=digest, **change),
        "hold": entry("hold", ("digest", BETTER), {"automatic": True}, before=BETTER),
        "revert": entry(
            "pointer.move", ("pointer", "release:digits"),
            {"kind": "revert", "generation": 2, "proposal": "r2", "lane": "revert", "subject": back},
            before=BETTER, after=SEED, subject_digest=canonical_digest(back),
        ),
    }  # fmt: skip


def by_digest(texts: Mapping[str, bytes]) -> Callable[[str], bytes | None]:
    """What a replay asks for the bytes behind a digest."""
    return lambda digest: texts.get(digest)


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
    texts: Mapping[str, bytes] = field(default_factory=lambda: TEXTS)
    exported: Mapping[str, Any] = field(
        default_factory=dict
    )  # what replaces fields of the export's own entry

    def files(self) -> dict[str, bytes]:
        """The files of the bundle."""
        bound = {
            "verify.py": verifier_script(),
            "VERIFY.md": verifier_guide(),
            "vkeys.txt": f"{KEY}\n".encode(),
            **{VERSIONS_FOLDER + digest: text for digest, text in self.texts.items()},
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
        ada = {"kind": "human", "ref": "p-ada", "auth": "session"}
        own = entry(EXPORT_ACTION, ("log", "export"), detail, **{"actor": ada, **self.exported})
        log = numbered([*self.entries, own, *self.later])
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
