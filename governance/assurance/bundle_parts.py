"""The parts of an export bundle: file names, and the forms of manifest, proofs and lists. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from governance.assurance.views import VIEWS
from governance.audit.canonical import canonical
from governance.audit.notes import NoteError, TreeHead, decode64, encode64
from governance.audit.tree import Tree

OK, UNREADABLE, TAMPERED, INCOMPLETE, RULE_BROKEN = 0, 1, 2, 3, 4
STATUS_WORDS = ("OK", "UNREADABLE", "TAMPERED", "INCOMPLETE", "RULE BROKEN")
BUNDLE_FORMAT = "pawl-audit-bundle/3"
EXPORT_ACTION = "audit.export"
ROTATION_ACTION = "audit.rotate_key"
DECISION_FAMILIES = frozenset({"proposal", "pointer", "role"})
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
LOG_FILES = frozenset({"checkpoint", "leaf-hashes.txt", "entries.jsonl"})
BOUND_FILES = frozenset({"VERIFY.md", "verify.py", "vkeys.txt", "rotations.jsonl", "identities.jsonl"})
OPTIONAL_FILES = frozenset({"rotations.jsonl", "identities.jsonl"})
ARTIFACTS_FOLDER = "artifacts/"
VERSIONS_FOLDER = "versions/"  # policies and evaluators by digest: the bytes that it is of
EARLIER_FILES = frozenset({"checkpoint.prev", "consistency.txt"})
WITNESSED_FILE = "checkpoint.witnessed"
Facts = Mapping[str, tuple[str, int]]  # path: SHA-256 (hex), size in bytes


class Refused(Exception):
    """One step failed; `status` is the exit status that says how."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Proof:
    """A parsed tlog-proof: which leaf, the path to the root, the checkpoint's bytes."""

    index: int
    hashes: list[bytes]
    checkpoint: bytes


def facts_of(files: Mapping[str, bytes]) -> dict[str, tuple[str, int]]:
    """Digest and size of each file."""
    return {path: (hashlib.sha256(data).hexdigest(), len(data)) for path, data in files.items()}


def write_manifest(facts: Facts, head: TreeHead, export_seq: int) -> bytes:
    """MANIFEST.json over all other files."""
    listed = {
        path: {"sha256": digest, "size": size}
        for path, (digest, size) in facts.items()
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
    hashes = "".join(encode64(value) + "\n" for value in tree.inclusion_proof(index, len(tree)))
    return f"{PROOF_HEADER}\nindex {index}\n{hashes}\n".encode() + checkpoint


def parse_proof(data: bytes, path: str) -> Proof:
    """A tlog-proof from its bytes. Raises Refused for anything else."""
    top, blank, checkpoint = data.partition(b"\n\n")
    lines = lines_of(top + b"\n", path)
    if not blank or len(lines) < 2 or lines[0] != PROOF_HEADER or not lines[1].startswith("index "):
        raise Refused(TAMPERED, f"{path} is not a tlog-proof")
    number = lines[1].removeprefix("index ")
    if not (number.isascii() and number.isdecimal()) or str(int(number)) != number:
        raise Refused(TAMPERED, f"{path} has the index {number!r}")
    return Proof(int(number), hashes_of(lines[2:], path), checkpoint)


def write_consistency(tree: Tree, old: int) -> bytes:
    """The hashes that tie the tree at `old` to the whole tree, one base64 line each."""
    return "".join(encode64(value) + "\n" for value in tree.consistency_proof(old, len(tree))).encode()


def bound_digests(facts: Facts) -> dict[str, str]:
    """Digests of the files that cannot be derived from the log; the export's own entry binds them."""
    return {
        path: digest
        for path, (digest, _) in facts.items()
        if path in BOUND_FILES or path.startswith((ARTIFACTS_FOLDER, VERSIONS_FOLDER))
    }


def included_digest(numbers: Iterable[int]) -> str:
    """The digest of which entries an export carries: SHA-256 of the canonical JSON list of their numbers."""
    digest, between = hashlib.sha256(b"["), b""
    for number in numbers:
        digest.update(between + b"%d" % number)
        between = b","
    digest.update(b"]")
    return digest.hexdigest()


def is_decision(action: str) -> bool:
    """Whether an entry gets an inclusion proof of its own: every act on proposals, pointers and roles."""
    return action.partition(".")[0] in DECISION_FAMILIES


def lines_of(data: bytes, path: str) -> list[str]:
    """The lines of a file; every line ends in a newline. Raises Refused for other text."""
    if data and not data.endswith(b"\n"):
        raise Refused(TAMPERED, f"{path} does not end in a newline")
    try:
        return [line.decode("utf-8") for line in data.split(b"\n")[:-1]]
    except UnicodeDecodeError as error:
        raise Refused(TAMPERED, f"{path} is not UTF-8") from error


def hashes_of(lines: Sequence[str], path: str) -> list[bytes]:
    """The hashes of base64 lines. Raises Refused for other text."""
    try:
        return [decode64(line) for line in lines]
    except NoteError as error:
        raise Refused(TAMPERED, f"{path}: {error}") from error


def ranges(numbers: Sequence[int]) -> str:
    """Numbers as ranges: 0-3, 7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts) or "none"


def same(what: str, got: object, expected: object) -> None:
    """Raises Refused when two values differ that should be the same."""
    if got != expected:
        shown = [value if isinstance(value, (str, int)) else "other bytes" for value in (got, expected)]
        raise Refused(TAMPERED, f"{what}: got {shown[0]}, expected {shown[1]}")


def known_files(detail: Mapping[str, Any], decisions: Iterable[int], facts: Facts) -> set[str]:
    """Every path that a bundle of this export may have."""
    known = set(LOG_FILES) | set(bound_digests(facts)) | {"MANIFEST.json"}
    known |= {path for path in detail["views"] if path in VIEWS}
    known |= {f"proofs/{seq}.tlog-proof" for seq in decisions}
    known |= EARLIER_FILES if detail["since"] is not None else set()
    return known | ({WITNESSED_FILE} if detail["witnessed"] is not None else set())
