"""Check an export bundle, step by step. Pure: takes the files' bytes, asks nobody, trusts only the pins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from governance.audit.canonical import canonical, canonical_digest, parse_canonical
from governance.audit.entries import shape_problem
from governance.audit.notes import (
    NoteError,
    TreeHead,
    VerifierKey,
    decode64,
    encode64,
    open_checkpoint,
    parse_key,
)
from governance.audit.replay import replay
from governance.audit.tree import Tree, leaf_hash, verify_consistency, verify_inclusion
from governance.audit.views import Row, events_csv, ocsf_jsonl

OK, UNREADABLE, TAMPERED, INCOMPLETE, RULE_BROKEN = 0, 1, 2, 3, 4
STATUS_WORDS = ("OK", "UNREADABLE", "TAMPERED", "INCOMPLETE", "RULE BROKEN")
NOT_PINNED = "the bundle's own key (NOT PINNED: shows only that it agrees with itself)"
BUNDLE_FORMAT = "pawl-audit-bundle/1"
EXPORT_ACTION = "audit.export"
DECISION_FAMILIES = frozenset({"proposal", "pointer", "role"})
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
VIEWS: dict[str, Callable[[list[Row]], bytes]] = {
    "views/events.csv": events_csv,
    "views/ocsf.jsonl": ocsf_jsonl,
}
DERIVED_FILES = frozenset({"checkpoint", "leaf-hashes.txt", "entries.jsonl", *VIEWS})
BOUND_FILES = frozenset({"VERIFY.md", "verify.py", "vkeys.txt", "identities.jsonl"})
BOUND_FOLDER = "artifacts/"
EARLIER_FILES = frozenset({"checkpoint.prev", "consistency.txt"})


class Refused(Exception):
    """One step failed; `status` is the exit status that says how."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Pins:
    """What the auditor brought along: keys (text form) and an earlier checkpoint (a signed note)."""

    keys: Sequence[str] = ()
    checkpoint: bytes | None = None


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
    keys: list[VerifierKey] = field(default_factory=list)
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
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            report.status, report.problem = TAMPERED, f"step {number} ({title}): malformed: {error!r}"
            break
    report.size, report.root, report.withheld = check.head.size, check.head.root.hex(), check.withheld
    return report


def write_manifest(files: Mapping[str, bytes], head: TreeHead, export_seq: int) -> bytes:
    """MANIFEST.json over all other files."""
    listed = {
        path: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for path, data in files.items()
        if path != "MANIFEST.json"
    }
    value = {
        "format": BUNDLE_FORMAT,
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "export_seq": export_seq,
        "files": listed,
    }
    return canonical(value) + b"\n"


def write_proof(tree: Tree, index: int, checkpoint: bytes) -> bytes:
    """The C2SP tlog-proof of one leaf under `checkpoint`."""
    hashes = "".join(encode64(value) + "\n" for value in tree.inclusion_proof(index))
    return f"{PROOF_HEADER}\nindex {index}\n{hashes}\n".encode() + checkpoint


def write_consistency(tree: Tree, old: int) -> bytes:
    """The hashes that tie the tree at `old` to the whole tree, one base64 line each."""
    return "".join(encode64(value) + "\n" for value in tree.consistency_proof(old)).encode()


def bound_digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Digests of the files that cannot be derived from the log; the export's own entry binds them."""
    return {
        path: hashlib.sha256(data).hexdigest()
        for path, data in files.items()
        if path in BOUND_FILES or path.startswith(BOUND_FOLDER)
    }


def included_digest(numbers: Sequence[int]) -> str:
    """The digest of which entries an export carries."""
    return canonical_digest(list(numbers))


def is_decision(entry: Mapping[str, Any]) -> bool:
    """Whether an entry gets an inclusion proof of its own: every act on proposals, pointers and roles."""
    return entry["action"].partition(".")[0] in DECISION_FAMILIES


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
    for path, (digest, _) in sorted(listed.items()):
        _same(f"SHA-256 of {path}", hashlib.sha256(check.files[path]).hexdigest(), digest)
    lacking = sorted((DERIVED_FILES | BOUND_FILES - {"identities.jsonl"}) - set(listed))
    if lacking:
        raise Refused(INCOMPLETE, f"the bundle lacks {', '.join(lacking)}")
    return f"{len(listed)} files, digests match"


def _check_note(check: _Check) -> str:
    try:
        shipped = [parse_key(line) for line in _lines(check.files["vkeys.txt"], "vkeys.txt")]
        check.keys = [parse_key(text) for text in check.pins.keys] or shipped
        check.head = open_checkpoint(check.files["checkpoint"], check.keys)
    except NoteError as error:
        raise Refused(TAMPERED, f"the checkpoint is not signed as expected: {error}") from error
    if check.pins.keys and not set(check.keys) & set(shipped):
        raise Refused(TAMPERED, "vkeys.txt names none of the pinned keys")
    pinned = "a pinned key" if check.pins.keys else NOT_PINNED
    return f"{check.head.origin}, {check.head.size} entries, signed by {pinned}"


def _check_root(check: _Check) -> str:
    lines = _lines(check.files["leaf-hashes.txt"], "leaf-hashes.txt")
    try:
        leaves = [bytes.fromhex(line) for line in lines]
    except ValueError as error:
        raise Refused(TAMPERED, f"leaf-hashes.txt: {error}") from error
    if any(leaf.hex() != line or len(leaf) != 32 for leaf, line in zip(leaves, lines, strict=True)):
        raise Refused(TAMPERED, "leaf-hashes.txt has a line that is not 64 lower-case hex digits")
    if len(leaves) < check.head.size:
        raise Refused(INCOMPLETE, f"got {len(leaves)} leaf hashes, the checkpoint states {check.head.size}")
    _same("the number of leaf hashes", len(leaves), check.head.size)
    check.tree = Tree(leaves)
    _same("the root over the leaf hashes", check.tree.root().hex(), check.head.root.hex())
    return f"{len(leaves)} leaf hashes give {check.head.root.hex()[:16]}..."


def _check_entries(check: _Check) -> str:
    last = -1
    for line in _lines(check.files["entries.jsonl"], "entries.jsonl"):
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
        told = f"; filter {json.dumps(detail['filter'], sort_keys=True)} withholds {_ranges(check.withheld)}"
    elif later:
        told = f"; written after the export: {_ranges(later)}"
    return f"{len(carried)} of {check.head.size} entries{told}"


def _check_proofs(check: _Check) -> str:
    expected = {f"proofs/{seq}.tlog-proof": seq for seq, entry in check.entries.items() if is_decision(entry)}
    missing = sorted(set(expected) - set(check.files))
    if missing:
        raise Refused(INCOMPLETE, f"{len(missing)} decisions have no proof, first {missing[0]}")
    for path, seq in expected.items():
        proof = _parse_proof(check.files[path], path)
        _same(f"the index in {path}", proof.index, seq)
        _same(f"the checkpoint in {path}", proof.checkpoint, check.files["checkpoint"])
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
        _same("the size of checkpoint.prev", earlier.size, since)
        hashes = _hashes(_lines(check.files["consistency.txt"], "consistency.txt"), "consistency.txt")
        if not verify_consistency(since, check.head.size, hashes, earlier.root, check.head.root):
            raise Refused(TAMPERED, f"consistency.txt does not tie {since} to {check.head.size} entries")
        told.append(f"grew from checkpoint.prev at {since}")
    if check.pins.checkpoint is not None:
        pinned = _open_earlier(check, check.pins.checkpoint, "the pinned checkpoint")
        if pinned.size > check.head.size:
            raise Refused(INCOMPLETE, f"the log ends at {check.head.size}, the pinned one at {pinned.size}")
        root = check.tree.root(pinned.size).hex()
        _same(f"the root at the pinned size {pinned.size}", root, pinned.root.hex())
        told.append(f"grew from the pinned checkpoint at {pinned.size}")
    return " and ".join(told) or "no earlier checkpoint was given (pass one you kept)"


def _check_derived(check: _Check) -> str:
    bound = bound_digests(check.files)
    detail = check.export["detail"]
    if len(bound) < detail["bound"]:
        raise Refused(INCOMPLETE, f"got {len(bound)} bound files, the export entry states {detail['bound']}")
    what = "the digest over verify.py, VERIFY.md, vkeys.txt, identities and artifacts"
    _same(what, canonical_digest(bound), detail["bound_digest"])
    rows: list[Row] = [(check.tree.leaf(seq).hex(), entry) for seq, entry in sorted(check.entries.items())]
    for path, view in VIEWS.items():
        _same(path, check.files[path], view(rows))
    proofs = {f"proofs/{seq}.tlog-proof" for seq, entry in check.entries.items() if is_decision(entry)}
    earlier = EARLIER_FILES if detail["since"] is not None else frozenset()
    known = DERIVED_FILES | earlier | proofs | set(bound) | {"MANIFEST.json"}
    extra = sorted(set(check.files) - known)
    if extra:
        raise Refused(TAMPERED, f"{len(extra)} files belong to no part of a bundle, first {extra[0]!r}")
    expected = write_manifest(check.files, check.head, check.export["seq"])
    _same("MANIFEST.json", check.files["MANIFEST.json"], expected)
    return f"{len(bound)} bound files, views and manifest are as the log says"


def _check_rules(check: _Check) -> str:
    if any(seq < check.export["seq"] for seq in check.withheld):
        return "not replayed, because the filter withholds entries"
    state = replay(check.entries[seq] for seq in sorted(check.entries))
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


@dataclass(frozen=True)
class _Proof:
    index: int
    hashes: list[bytes]
    checkpoint: bytes


def _parse_proof(data: bytes, path: str) -> _Proof:
    top, blank, checkpoint = data.partition(b"\n\n")
    lines = _lines(top + b"\n", path)
    if not blank or len(lines) < 2 or lines[0] != PROOF_HEADER or not lines[1].startswith("index "):
        raise Refused(TAMPERED, f"{path} is not a tlog-proof")
    number = lines[1].removeprefix("index ")
    if not (number.isascii() and number.isdecimal()) or str(int(number)) != number:
        raise Refused(TAMPERED, f"{path} has the index {number!r}")
    return _Proof(int(number), _hashes(lines[2:], path), checkpoint)


def _hashes(lines: Sequence[str], path: str) -> list[bytes]:
    try:
        return [decode64(line) for line in lines]
    except NoteError as error:
        raise Refused(TAMPERED, f"{path}: {error}") from error


def _open_earlier(check: _Check, note: bytes, name: str) -> TreeHead:
    try:
        return open_checkpoint(note, check.keys)
    except NoteError as error:
        raise Refused(TAMPERED, f"{name} is not signed as expected: {error}") from error


def _lines(data: bytes, path: str) -> list[str]:
    """The lines of a file; every line ends in a newline. Raises Refused for other text."""
    if data and not data.endswith(b"\n"):
        raise Refused(TAMPERED, f"{path} does not end in a newline")
    try:
        return [line.decode("utf-8") for line in data.split(b"\n")[:-1]]
    except UnicodeDecodeError as error:
        raise Refused(TAMPERED, f"{path} is not UTF-8") from error


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers as ranges: 0-3, 7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts) or "none"


def _same(what: str, got: object, expected: object) -> None:
    if got != expected:
        shown = [value if isinstance(value, (str, int)) else "other bytes" for value in (got, expected)]
        raise Refused(TAMPERED, f"{what}: got {shown[0]}, expected {shown[1]}")
