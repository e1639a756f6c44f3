"""Check an export bundle, step by step. Pure: takes the files' bytes, asks nobody, trusts only the pins."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from governance.assurance.bundle_parts import (
    BOUND_FILES,
    EARLIER_FILES,
    EXPORT_ACTION,
    INCOMPLETE,
    LOG_FILES,
    OK,
    OPTIONAL_FILES,
    ROTATION_ACTION,
    RULE_BROKEN,
    TAMPERED,
    VERSIONS_FOLDER,
    WITNESSED_FILE,
    Refused,
    bound_digests,
    facts_of,
    hashes_of,
    included_digest,
    is_decision,
    known_files,
    lines_of,
    parse_proof,
    ranges,
    same,
    write_manifest,
)
from governance.assurance.replay import replay
from governance.assurance.views import VIEWS, Row
from governance.audit.canonical import canonical_digest, parse_canonical
from governance.audit.entries import shape_problem
from governance.audit.notes import (
    ALGORITHM_COSIGNATURE,
    NoteError,
    TreeHead,
    VerifierKey,
    open_checkpoint,
    open_rotation,
    parse_key,
    signers_of,
)
from governance.audit.tree import Tree, leaf_hash, verify_consistency, verify_inclusion

NOT_PINNED = "the bundle's own key (NOT PINNED: shows only that it agrees with itself)"


@dataclass(frozen=True)
class Pins:
    """What the auditor brought along: log keys and witness keys (text form), an earlier checkpoint (a signed note)."""

    keys: Sequence[str] = ()
    checkpoint: bytes | None = None
    witnesses: Sequence[str] = ()
    quorum: int = 1  # how many of the witnesses must have signed


@dataclass
class Report:
    """The outcome: one line a step, then the exit status and, unless it is 0, what is wrong."""

    steps: list[str] = field(default_factory=list)
    status: int = OK
    problem: str = ""
    size: int = 0
    root: str = ""
    withheld: list[int] = field(default_factory=list)


@dataclass
class _Check:
    """What the steps have found so far."""

    files: Mapping[str, bytes]
    pins: Pins
    manifest: dict[str, Any] = field(default_factory=dict)
    facts: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    keys: list[VerifierKey] = field(default_factory=list)  # the log's keys, oldest first
    rotations: list[dict[str, Any]] = field(default_factory=list)
    head: TreeHead = TreeHead("", 0, b"")  # noqa: RUF009  (frozen)
    tree: Tree = field(default_factory=Tree)
    entries: dict[int, dict[str, Any]] = field(default_factory=dict)
    export: dict[str, Any] = field(default_factory=dict)
    withheld: list[int] = field(default_factory=list)


def check_bundle(files: Mapping[str, bytes], pins: Pins) -> Report:
    """Run every step in order and stop at the first that fails."""
    check, report = _Check(files, pins), Report()
    for number, (title, step) in enumerate(STEPS, 1):
        try:
            report.steps.append(f"{number}. {title}: {step(check)}")
        except Refused as error:
            report.status, report.problem = error.status, f"step {number} ({title}): {error}"
            break
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            report.status, report.problem = TAMPERED, f"step {number} ({title}): malformed: {error!r}"
            break
    report.size, report.root, report.withheld = check.head.size, check.head.root.hex(), check.withheld
    return report


def _check_manifest(check: _Check) -> str:
    try:
        check.manifest = parse_canonical(check.files["MANIFEST.json"].removesuffix(b"\n"))
        listed = {path: (item["sha256"], item["size"]) for path, item in check.manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(TAMPERED, f"MANIFEST.json is not a manifest ({error})") from error
    missing = sorted(set(listed) - set(check.files))
    if missing:
        raise Refused(INCOMPLETE, f"{len(missing)} listed files are missing, first {missing[0]}")
    extra = sorted(set(check.files) - set(listed) - {"MANIFEST.json"})
    if extra:
        raise Refused(TAMPERED, f"{len(extra)} files are not listed, first {extra[0]!r}")
    check.facts = facts_of(check.files)
    for path, (digest, _) in sorted(listed.items()):
        same(f"SHA-256 of {path}", check.facts[path][0], digest)
    lacking = sorted((LOG_FILES | BOUND_FILES - OPTIONAL_FILES) - set(listed))
    if lacking:
        raise Refused(INCOMPLETE, f"the bundle lacks {', '.join(lacking)}")
    return f"{len(listed)} files, digests match"


def _check_note(check: _Check) -> str:
    try:
        check.keys = [parse_key(line) for line in lines_of(check.files["vkeys.txt"], "vkeys.txt")]
        pins = [parse_key(text) for text in check.pins.keys]
        if pins and not set(check.keys) & set(pins):
            raise Refused(TAMPERED, "vkeys.txt names none of the pinned keys")
        rotations = lines_of(check.files.get("rotations.jsonl", b""), "rotations.jsonl")
        check.rotations = [parse_canonical(line.encode()) for line in rotations]
        same("the number of rotations", len(check.rotations), len(check.keys) - 1)
        for number, rotation in enumerate(check.rotations):
            new = open_rotation(rotation["note"].encode(), check.keys[number])
            same(f"key {number + 1} in vkeys.txt", str(check.keys[number + 1]), str(new))
        check.head = open_checkpoint(check.files["checkpoint"], check.keys[-1:])
    except NoteError as error:
        raise Refused(TAMPERED, f"the checkpoint is not signed as expected: {error}") from error
    by = "a pinned key" if check.keys[-1] in pins else "the heir of a pinned key" if pins else NOT_PINNED
    handed = f", after {len(check.rotations)} changes of the key" if check.rotations else ""
    return f"{check.head.origin}, {check.head.size} entries, signed by {by}{handed}"


def _check_root(check: _Check) -> str:
    lines = lines_of(check.files["leaf-hashes.txt"], "leaf-hashes.txt")
    try:
        leaves = [bytes.fromhex(line) for line in lines]
    except ValueError as error:
        raise Refused(TAMPERED, f"leaf-hashes.txt: {error}") from error
    if any(leaf.hex() != line or len(leaf) != 32 for leaf, line in zip(leaves, lines, strict=True)):
        raise Refused(TAMPERED, "leaf-hashes.txt has a line that is not 64 lower-case hex digits")
    if len(leaves) < check.head.size:
        raise Refused(INCOMPLETE, f"got {len(leaves)} leaf hashes, the checkpoint states {check.head.size}")
    same("the number of leaf hashes", len(leaves), check.head.size)
    check.tree = Tree(leaves)
    same("the root over the leaf hashes", check.tree.root().hex(), check.head.root.hex())
    return f"{len(leaves)} leaf hashes give {check.head.root.hex()[:16]}..."


def _check_entries(check: _Check) -> str:
    last = -1
    for line in lines_of(check.files["entries.jsonl"], "entries.jsonl"):
        data = line.encode()
        try:
            entry = parse_canonical(data)
        except ValueError as error:
            raise Refused(TAMPERED, f"the entry after {last} is not canonical: {error}") from error
        if problem := shape_problem(entry):
            raise Refused(TAMPERED, f"the entry after {last} is malformed: {problem}")
        seq = entry["seq"]
        if not last < seq < check.head.size:
            raise Refused(TAMPERED, f"entry {seq} follows {last} in a log of {check.head.size}")
        leaf = check.tree.leaf(seq)
        if leaf_hash(data) != leaf:
            raise Refused(TAMPERED, f"entry {seq} hashes to {leaf_hash(data).hex()}, expected {leaf.hex()}")
        check.entries[seq], last = entry, seq
    return f"{len(check.entries)} entries are the leaves they say"


def _check_claim(check: _Check) -> str:
    export_seq = int(check.manifest["export_seq"])
    check.export = check.entries.get(export_seq, {})
    if check.export.get("action") != EXPORT_ACTION or check.export.get("outcome") != "allowed":
        raise Refused(INCOMPLETE, f"the entry of this export ({export_seq}) is not among the entries")
    detail = check.export["detail"]
    carried = sorted(check.entries)
    if included_digest(carried) != detail["included_digest"]:
        raise Refused(
            INCOMPLETE,
            f"got {len(carried)} entries, the export's own entry states {detail['included']} "
            f"(list {detail['included_digest'][:16]}..., got {included_digest(carried)[:16]}...)",
        )
    check.withheld = sorted(set(range(check.head.size)) - set(carried))
    later = [seq for seq in check.withheld if seq > export_seq]
    if not detail["filter"] and len(later) != len(check.withheld):
        raise Refused(INCOMPLETE, f"an unfiltered export withholds entries, first {check.withheld[0]}")
    told = ""
    if detail["filter"]:
        told = f"; filter {json.dumps(detail['filter'], sort_keys=True)} withholds {ranges(check.withheld)}"
    elif later:
        told = f"; written after the export: {ranges(later)}"
    logged = [
        {"seq": seq, "note": entry["detail"]["note"]}
        for seq, entry in sorted(check.entries.items())
        if entry["action"] == ROTATION_ACTION and entry["outcome"] == "allowed" and seq < export_seq
    ]
    same(
        "the changes of the key that the log has", canonical_digest(logged), canonical_digest(check.rotations)
    )
    return f"{len(carried)} of {check.head.size} entries{told}"


def _check_proofs(check: _Check) -> str:
    expected = {
        f"proofs/{seq}.tlog-proof": seq
        for seq, entry in check.entries.items()
        if is_decision(entry["action"])
    }
    missing = sorted(set(expected) - set(check.files))
    if missing:
        raise Refused(INCOMPLETE, f"{len(missing)} decisions have no proof, first {missing[0]}")
    for path, seq in expected.items():
        proof = parse_proof(check.files[path], path)
        same(f"the index in {path}", proof.index, seq)
        same(f"the checkpoint in {path}", proof.checkpoint, check.files["checkpoint"])
        if not verify_inclusion(check.tree.leaf(seq), seq, check.head.size, proof.hashes, check.head.root):
            raise Refused(TAMPERED, f"{path} does not prove entry {seq}")
    return f"{len(expected)} decisions are proven"


def _check_earlier(check: _Check) -> str:
    since = check.export["detail"]["since"]
    told = []
    if since is not None:
        if not set(check.files) >= EARLIER_FILES:
            raise Refused(INCOMPLETE, f"checkpoint.prev or consistency.txt at {since} is missing")
        earlier = _open_earlier(check, check.files["checkpoint.prev"], "checkpoint.prev")
        same("the size of checkpoint.prev", earlier.size, since)
        hashes = hashes_of(lines_of(check.files["consistency.txt"], "consistency.txt"), "consistency.txt")
        if not verify_consistency(since, check.head.size, hashes, earlier.root, check.head.root):
            raise Refused(TAMPERED, f"consistency.txt does not tie {since} to {check.head.size} entries")
        told.append(f"grew from checkpoint.prev at {since}")
    if check.pins.checkpoint is not None:
        pinned = _open_earlier(check, check.pins.checkpoint, "the pinned checkpoint")
        if pinned.size > check.head.size:
            raise Refused(INCOMPLETE, f"the log ends at {check.head.size}, the pinned one at {pinned.size}")
        root = check.tree.root(pinned.size).hex()
        same(f"the root at the pinned size {pinned.size}", root, pinned.root.hex())
        told.append(f"grew from the pinned checkpoint at {pinned.size}")
    told += _check_witnesses(check)
    return " and ".join(told) or "no earlier checkpoint was given (pass one you kept)"


def _check_witnesses(check: _Check) -> list[str]:
    """Cosignatures over this checkpoint, or over the newest one that witnesses had seen before the export."""
    keys = [parse_key(text, ALGORITHM_COSIGNATURE) for text in check.pins.witnesses]
    stated, found = check.export["detail"]["witnessed"], {}
    if stated is not None:
        if WITNESSED_FILE not in check.files:
            raise Refused(INCOMPLETE, f"{WITNESSED_FILE} at {stated} is missing")
        seen = _open_earlier(check, check.files[WITNESSED_FILE], WITNESSED_FILE)
        same(f"the size of {WITNESSED_FILE}", seen.size, stated)
        same(f"the root at {stated}, which witnesses saw", check.tree.root(stated).hex(), seen.root.hex())
        try:
            found = signers_of(check.files[WITNESSED_FILE], keys)[1]
        except NoteError as error:
            raise Refused(TAMPERED, f"{WITNESSED_FILE}: {error}") from error
    if keys and len(found) < max(1, check.pins.quorum):
        raise Refused(
            INCOMPLETE, f"{len(found)} of your witnesses signed, {max(1, check.pins.quorum)} are asked for"
        )
    names = ", ".join(f"{key.name} (Unix time {moment})" for key, moment in found.items())
    return [f"at {stated} it was witnessed by {names}"] if names else []


def _check_derived(check: _Check) -> str:
    bound, detail = bound_digests(check.facts), check.export["detail"]
    if len(bound) < detail["bound"]:
        raise Refused(INCOMPLETE, f"got {len(bound)} bound files, the export entry states {detail['bound']}")
    what = "the digest over verify.py, VERIFY.md, keys, identities and artifacts"
    same(what, canonical_digest(bound), detail["bound_digest"])
    for path, (digest, _) in sorted(check.facts.items()):
        if path.startswith(VERSIONS_FOLDER):
            same(f"SHA-256 of {path}", digest, path.removeprefix(VERSIONS_FOLDER))
    rows: list[Row] = [(check.tree.leaf(seq).hex(), entry) for seq, entry in sorted(check.entries.items())]
    for path in detail["views"]:
        if path not in check.files:
            raise Refused(INCOMPLETE, f"{path} is missing")
        same(path, check.files[path], VIEWS[path](rows))
    decisions = [seq for seq, entry in check.entries.items() if is_decision(entry["action"])]
    extra = sorted(set(check.files) - known_files(detail, decisions, check.facts))
    if extra:
        raise Refused(TAMPERED, f"{len(extra)} files belong to no part of a bundle, first {extra[0]!r}")
    expected = write_manifest(check.facts, check.head, check.export["seq"])
    same("MANIFEST.json", check.files["MANIFEST.json"], expected)
    return f"{len(bound)} bound files, views and manifest are as the log says"


def judges(entry: dict[str, Any]) -> bool:
    """Whether later entries are judged by what this entry puts in force."""
    moves = entry["action"] == "pointer.move" and entry["outcome"] == "allowed"
    return moves and entry["object"]["id"].partition(":")[0] in {"policy", "evaluator"}


def _check_rules(check: _Check) -> str:
    if any(seq < check.export["seq"] for seq in check.withheld):
        return "not replayed, because the filter withholds entries"
    for seq, entry in sorted(check.entries.items()):
        if judges(entry) and VERSIONS_FOLDER + entry["after"] not in check.files:
            raise Refused(
                INCOMPLETE, f"{VERSIONS_FOLDER}{entry['after']}, by which entry {seq} is judged, is missing"
            )
    state = replay(
        (check.entries[seq] for seq in sorted(check.entries)),
        lambda digest: check.files.get(VERSIONS_FOLDER + digest),
    )
    if state.broken:
        more = f" (and {len(state.broken) - 1} more)" if len(state.broken) > 1 else ""
        raise Refused(RULE_BROKEN, state.broken[0] + more)
    return f"{state.moves} moves of {len(state.pointers)} pointers followed the rules"


STEPS: tuple[tuple[str, Callable[[_Check], str]], ...] = (
    ("Manifest", _check_manifest),
    ("Signed checkpoint", _check_note),
    ("Merkle root", _check_root),
    ("Entries", _check_entries),
    ("Completeness", _check_claim),
    ("Inclusion proofs", _check_proofs),
    ("Earlier checkpoints", _check_earlier),
    ("Other files", _check_derived),
    ("Replay", _check_rules),
)


def _open_earlier(check: _Check, note: bytes, name: str) -> TreeHead:
    try:
        return open_checkpoint(note, check.keys)
    except NoteError as error:
        raise Refused(TAMPERED, f"{name} is not signed as expected: {error}") from error
