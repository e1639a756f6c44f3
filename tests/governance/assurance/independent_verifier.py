"""A second verifier, written from docs/audit-format.md alone; it shares no code with the shipped one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.governance.assurance.independent_replay import first_breach

TAMPERED, INCOMPLETE, BROKEN = 2, 3, 4
BOUND = {"VERIFY.md", "verify.py", "vkeys.txt", "rotations.jsonl", "identities.jsonl"}
NEEDED = {"checkpoint", "leaf-hashes.txt", "entries.jsonl", "verify.py", "VERIFY.md", "vkeys.txt"}
TEXTS = {"id", "time", "on_behalf_of", "action", "outcome", "subject_digest", "before", "after", "reason", "cause",
         "request_id", "task"}  # fmt: skip
PARTS = {"actor": {"kind", "ref", "auth"}, "object": {"type", "id"}, "policy": {"digest", "version"}}


class Bad(Exception):
    """A step failed; its argument is the exit status."""


def need(holds: object, status: int = TAMPERED) -> None:
    """Raises Bad unless it holds."""
    if not holds:
        raise Bad(status)


def sha(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def parse(data: bytes) -> Any:
    """The value of canonical JSON."""
    value = json.loads(data)
    need(rfc8785.dumps(value) == data)
    return value


def digest(value: Any) -> str:
    """The digest of a value."""
    return sha(rfc8785.dumps(value)).hex()


def unbase(text: str) -> bytes:
    """The bytes of exact base64."""
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text)
    return data


def lines(data: bytes) -> list[str]:
    """A list file."""
    need(not data or data.endswith(b"\n"))
    return data.decode().split("\n")[:-1]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962's tree hash, by its definition."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha(b"\x01" + root_of(leaves[:half]) + root_of(leaves[half:]))


def path_of(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """RFC 6962's PATH, by its definition: all leaves are here, so a proof can simply be made again."""
    if len(leaves) < 2:
        return []
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < half:
        return [*path_of(leaves[:half], index), root_of(leaves[half:])]
    return [*path_of(leaves[half:], index - half), root_of(leaves[:half])]


def tie_of(leaves: Sequence[bytes], old: int, whole: bool = True) -> list[bytes]:
    """RFC 6962's SUBPROOF, by its definition."""
    if old == len(leaves):
        return [] if whole else [root_of(leaves)]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old <= half:
        return [*tie_of(leaves[:half], old, whole), root_of(leaves[half:])]
    return [*tie_of(leaves[half:], old - half, False), root_of(leaves[:half])]


@dataclass(frozen=True)
class Key:
    """A key of the log or of a witness."""

    text: str
    name: str
    kid: bytes
    public: bytes


def key_of(text: str, kind: int = 1) -> Key:
    """A key from its text."""
    name, kid, encoded = text.split("+", 2)
    data = unbase(encoded)
    need(name and not re.search(r"\s", name) and len(data) == 33 and data[0] == kind)
    need(sha(name.encode() + b"\n" + data)[:4].hex() == kid)
    return Key(text, name, bytes.fromhex(kid), data[1:])


def signed(note: bytes, keys: Sequence[Key], cosigned: bool = False) -> tuple[str, set[Key]]:
    """The text of a note, and which of these keys signed it."""
    whole = note.decode()
    need(not re.search(r"[\x00-\x09\x0b-\x1f]", whole))
    text, blank, rest = whole.rpartition("\n\n")
    need(blank and rest.endswith("\n"))
    text, marks, by = text + "\n", rest[:-1].split("\n"), set()
    need(len(marks) <= 100)
    for mark in marks:
        found = re.fullmatch("— ([^ ]+) (.+)", mark)
        need(found)
        assert found is not None
        data = unbase(found[2])
        need(len(data) > 4)
        for key in keys:
            if (key.name, key.kid) == (found[1], data[:4]):
                message, signature = text, data[4:]
                if cosigned:
                    message = f"cosignature/v1\ntime {int.from_bytes(data[4:12], 'big')}\n{text}"
                    signature = data[12:]
                try:
                    Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message.encode())
                except InvalidSignature:
                    raise Bad(TAMPERED) from None
                by.add(key)
    return text, by


def checkpoint(note: bytes, keys: Sequence[Key]) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint that one of the keys signed."""
    text, by = signed(note, keys)
    need(by)
    origin, size, root, end = text.split("\n")
    need(re.fullmatch("0|[1-9][0-9]*", size) and not end and origin in {key.name for key in keys})
    need(len(unbase(root)) == 32)
    return origin, int(size), unbase(root)


@dataclass
class Verifier:
    """One bundle and what the auditor brought along."""

    files: Mapping[str, bytes]
    keys: Sequence[str] = ()
    pin: bytes | None = None
    witnesses: Sequence[str] = ()
    quorum: int = 1
    log_keys: list[Key] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    entries: dict[int, dict[str, Any]] = field(default_factory=dict)

    def status(self) -> int:
        """The exit status."""
        try:
            for step in (
                self.one,
                self.two,
                self.three,
                self.four,
                self.five,
                self.six,
                self.seven,
                self.eight,
            ):
                step()
            return self.nine()
        except Bad as bad:
            return int(bad.args[0])
        except (
            LookupError,
            ValueError,
            TypeError,
            AttributeError,
            RecursionError,
            rfc8785.CanonicalizationError,
        ):
            return TAMPERED

    def one(self) -> None:
        self.manifest = parse(self.files["MANIFEST.json"].removesuffix(b"\n"))
        listed = self.manifest["files"]
        need(set(listed) <= set(self.files), INCOMPLETE)
        need(set(self.files) == {*listed, "MANIFEST.json"})
        need(all(sha(self.files[path]).hex() == told["sha256"] for path, told in listed.items()))
        need(set(listed) >= NEEDED, INCOMPLETE)

    def two(self) -> None:
        self.log_keys = [key_of(line) for line in lines(self.files["vkeys.txt"])]
        need(not self.keys or {key_of(text) for text in self.keys} & set(self.log_keys))
        self.rotations = [parse(line.encode()) for line in lines(self.files.get("rotations.jsonl", b""))]
        need(len(self.rotations) == len(self.log_keys) - 1)
        for old, new, told in zip(self.log_keys, self.log_keys[1:], self.rotations, strict=False):
            text, by = signed(told["note"].encode(), [old, new])
            need(
                text == f"pawl/key-rotation/v1\n{old.text}\n{new.text}\n"
                and by == {old, new}
                and old.name == new.name
            )
        self.origin, self.size, self.root = checkpoint(self.files["checkpoint"], self.log_keys[-1:])

    def three(self) -> None:
        told = lines(self.files["leaf-hashes.txt"])
        need(all(re.fullmatch("[0-9a-f]{64}", line) for line in told))
        need(len(told) >= self.size, INCOMPLETE)
        self.leaves = [bytes.fromhex(line) for line in told]
        need(len(told) == self.size and root_of(self.leaves) == self.root)

    def four(self) -> None:
        last = -1
        for line in lines(self.files["entries.jsonl"]):
            entry = parse(line.encode())
            need(set(entry) == {"v", "seq", "evidence", "detail", *TEXTS, *PARTS})
            need(type(entry["v"]) is int and entry["v"] == 1 and type(entry["seq"]) is int)
            need(all(isinstance(entry[name], str) for name in TEXTS))
            for name, parts in PARTS.items():
                need(
                    set(entry[name]) == parts and all(isinstance(each, str) for each in entry[name].values())
                )
            need(entry["outcome"] in {"allowed", "denied", "failed"})
            need(isinstance(entry["evidence"], list) and isinstance(entry["detail"], dict))
            need(last < entry["seq"] < self.size)
            last = entry["seq"]
            need(sha(b"\x00" + line.encode()) == self.leaves[last])
            self.entries[last] = entry

    def five(self) -> None:
        self.number = self.manifest["export_seq"]
        export = self.entries.get(self.number, {"action": "", "outcome": ""})
        need((export["action"], export["outcome"]) == ("audit.export", "allowed"), INCOMPLETE)
        self.detail = export["detail"]
        need(digest(sorted(self.entries)) == self.detail["included_digest"], INCOMPLETE)
        self.missing = set(range(self.size)) - set(self.entries)
        need(self.detail["filter"] or all(seq > self.number for seq in self.missing), INCOMPLETE)
        changes = [
            {"seq": seq, "note": entry["detail"]["note"]}
            for seq, entry in self.entries.items()
            if entry["action"] == "audit.rotate_key" and entry["outcome"] == "allowed" and seq < self.number
        ]
        need(changes == self.rotations)

    def proofs(self) -> dict[str, int]:
        wanted = ("proposal.", "pointer.", "role.")
        return {
            f"proofs/{seq}.tlog-proof": seq
            for seq, each in self.entries.items()
            if each["action"].startswith(wanted)
        }

    def six(self) -> None:
        need(set(self.proofs()) <= set(self.files), INCOMPLETE)
        for path, seq in self.proofs().items():
            hashes = "".join(base64.b64encode(each).decode() + "\n" for each in path_of(self.leaves, seq))
            made = f"c2sp.org/tlog-proof@v1\nindex {seq}\n{hashes}\n".encode() + self.files["checkpoint"]
            need(self.files[path] == made)

    def seven(self) -> None:
        since, seen = self.detail["since"], self.detail["witnessed"]
        if since is not None:
            need({"checkpoint.prev", "consistency.txt"} <= set(self.files), INCOMPLETE)
            self.earlier(self.files["checkpoint.prev"], since)
            need(
                [unbase(line) for line in lines(self.files["consistency.txt"])] == tie_of(self.leaves, since)
            )
        if self.pin is not None:
            size = checkpoint(self.pin, self.log_keys)[1]
            need(size <= self.size, INCOMPLETE)
            self.earlier(self.pin, size)
        by: set[Key] = set()
        trusted = [key_of(text, 4) for text in self.witnesses]
        if seen is not None:
            need("checkpoint.witnessed" in self.files, INCOMPLETE)
            self.earlier(self.files["checkpoint.witnessed"], seen)
            by = signed(self.files["checkpoint.witnessed"], trusted, cosigned=True)[1]
        need(not trusted or len(by) >= self.quorum, INCOMPLETE)

    def earlier(self, note: bytes, size: int) -> None:
        _, stated, root = checkpoint(note, self.log_keys)
        need(stated == size and root_of(self.leaves[:size]) == root)

    def eight(self) -> None:
        inside = ("artifacts/", "versions/")
        bound = {
            path: sha(data).hex()
            for path, data in self.files.items()
            if path in BOUND or path.startswith(inside)
        }
        need(len(bound) >= self.detail["bound"], INCOMPLETE)
        need(digest(bound) == self.detail["bound_digest"])
        need(
            all(path == f"versions/{found}" for path, found in bound.items() if path.startswith("versions/"))
        )
        need(set(self.detail["views"]) <= set(self.files), INCOMPLETE)
        known = {*NEEDED, *bound, "MANIFEST.json", *self.detail["views"], *self.proofs()}
        known |= {"checkpoint.prev", "consistency.txt"} if self.detail["since"] is not None else set()
        known |= {"checkpoint.witnessed"} if self.detail["witnessed"] is not None else set()
        need(set(self.files) <= known)
        stated = {name: self.manifest[name] for name in ("format", "origin", "size", "root")}
        root = self.root.hex()
        need(
            stated
            == {"format": "pawl-audit-bundle/3", "origin": self.origin, "size": self.size, "root": root}
        )
        need(all(told["size"] == len(self.files[path]) for path, told in self.manifest["files"].items()))

    def nine(self) -> int:
        if any(seq < self.number for seq in self.missing):
            return 0
        log = [self.entries[seq] for seq in sorted(self.entries)]
        for entry in log:
            if entry["action"] == "pointer.move" and entry["outcome"] == "allowed":
                judged = entry["object"]["id"].partition(":")[0] in {"policy", "evaluator"}
                need(not judged or f"versions/{entry['after']}" in self.files, INCOMPLETE)
        texts = {
            path.removeprefix("versions/"): data
            for path, data in self.files.items()
            if path.startswith("versions/")
        }
        self.breach = first_breach(log, texts)
        return BROKEN if self.breach else 0
