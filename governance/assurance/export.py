"""Make an export bundle: files that anyone can check offline, without trusting the service that made them.

Everything is streamed to disk: memory does not grow with the log.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from django.db.models import Q, QuerySet

from governance.actions.base import act
from governance.actors import Actor
from governance.assurance.bundle_parts import (
    ARTIFACTS_FOLDER,
    BUNDLE_FORMAT,
    EXPORT_ACTION,
    ROTATION_ACTION,
    VERSIONS_FOLDER,
    WITNESSED_FILE,
    bound_digests,
    facts_of,
    included_digest,
    is_decision,
    write_consistency,
    write_manifest,
    write_proof,
)
from governance.assurance.judged_by import judged_by
from governance.assurance.rotation import log_keys, rotations
from governance.assurance.verifier_script import verifier_guide, verifier_script
from governance.assurance.views import VIEWS
from governance.assurance.witnesses import witnessed_note
from governance.audit.canonical import canonical, canonical_digest
from governance.audit.checkpoints import check_ready, make_checkpoint
from governance.audit.log import Facts, lock_head, record
from governance.audit.notes import TreeHead
from governance.audit.queries import LogFilter
from governance.audit.stored_tree import StoredTree
from governance.errors import BadInput
from governance.models import AuditEntry, Checkpoint, Person
from governance.policy import policy_facts
from governance.roles import AUDITOR
from governance.rules import check_role

CHUNK = 5_000  # rows held at a time
# The earliest time that the zip format knows: a bundle's bytes depend on its content alone.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    `since` is the size of an earlier checkpoint that the auditor holds; `artifacts` maps relative names to bytes (git
    bundles, adapter manifests) and is handed in by those who keep them; `views` names forms of the entries for other
    programs (CSV, OCSF).
    """

    filters: LogFilter = field(default_factory=LogFilter)
    since: int | None = None
    identities: bool = False
    artifacts: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    views: tuple[str, ...] = tuple(VIEWS)


@dataclass(frozen=True)
class Bundle:
    """A finished export: its number of files, the log's size and root, the number of its own entry."""

    files: int
    size: int
    root: str
    seq: int


def export_bundle(dest: Path, *, by: Actor, request: ExportRequest = ExportRequest()) -> Bundle:
    """Write a bundle to `dest`: a new folder, or one zip file when the name ends in `.zip`.

    Raises NotAllowed unless an auditor asks, BadInput for a place that is taken or a checkpoint that is not known,
    AuditError when the log cannot be signed. The export is an entry of the log before it begins.
    """
    if dest.exists() or dest.is_symlink():
        raise BadInput(f"{dest} exists; name a folder or a .zip file that does not.")
    bound = _bound_files(request)
    seq = announce_export(request=request, bound=bound, by=by)
    checkpoint = make_checkpoint()
    dest.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=dest.parent, prefix=f".{dest.name}-"))
    try:
        folder = _Folder(building / "bundle")
        for name, data in bound.items():
            folder.put(name, data)
        _write_log(folder, checkpoint, request, seq)
        head = TreeHead(log_keys()[-1].name, checkpoint.size, bytes.fromhex(checkpoint.root))
        folder.put("MANIFEST.json", write_manifest(folder.facts, head, seq))
        if dest.suffix == ".zip":
            _zip(folder, building / "bundle.zip")
        os.rename(building / f"bundle{dest.suffix if dest.suffix == '.zip' else ''}", dest)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Bundle(len(folder.facts), checkpoint.size, checkpoint.root, seq)


@act(EXPORT_ACTION, durable=True)
def announce_export(*, request: ExportRequest, bound: Mapping[str, bytes], by: Actor) -> int:
    """Write the entry of an export: what it will hold, by digest. Returns the entry's number.

    Raises NotAllowed unless an auditor asks, AuditError when the log cannot be signed, BadInput when the checkpoint
    to start from is not known.
    """
    check_role(by, {AUDITOR})
    check_ready()
    if request.since is not None and not Checkpoint.objects.filter(size=request.since).exists():
        known = ", ".join(
            str(size) for size in Checkpoint.objects.order_by("-size").values_list("size", flat=True)[:5]
        )
        raise BadInput(
            f"There is no checkpoint at {request.since} entries; the newest are at {known or 'none'}."
        )
    seq, count = lock_head(), 0

    def numbers() -> Iterator[int]:
        nonlocal count
        earlier = _matching(request, seq).values_list("seq", flat=True) if _filters(request) else range(seq)
        for number in itertools.chain(_stream(earlier), [seq]):
            count += 1
            yield number

    witnessed = witnessed_note()
    detail = {
        "format": BUNDLE_FORMAT,
        "filter": request.filters.described(),
        "since": request.since,
        "included_digest": included_digest(numbers()),
        "included": count,
        "identities": request.identities,
        "views": sorted(request.views),
        "witnessed": witnessed[0] if witnessed else None,
        "bound": len(bound),
        "bound_digest": canonical_digest(bound_digests(facts_of(bound))),
    }
    facts = Facts(policy=policy_facts(), task=request.filters.task, detail=detail)
    record(by=by, action=EXPORT_ACTION, subject=("log", "export"), facts=facts)
    return seq


class _Folder:
    """A folder that is being filled; `facts` holds digest and size of what was written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, tuple[str, int]] = {}
        path.mkdir(mode=0o755)

    def put(self, name: str, data: bytes) -> None:
        with self.open(name) as sink:
            sink.write(data)

    @contextmanager
    def open(self, name: str) -> Iterator[_Sink]:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb", buffering=2**20) as handle:
            sink = _Sink(handle)
            yield sink
            self.facts[name] = sink.digest.hexdigest(), handle.tell()


class _Sink:
    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.digest.update(data)
        self._handle.write(data)


def _write_log(folder: _Folder, checkpoint: Checkpoint, request: ExportRequest, seq: int) -> None:
    """Checkpoints, leaf hashes, entries with their views, and a proof of each decision."""
    tree, note = StoredTree(checkpoint.size), checkpoint.note.encode()
    folder.put("checkpoint", note)
    own = AuditEntry.objects.get(seq=seq).entry()["detail"]
    if own["witnessed"] is not None:
        folder.put(WITNESSED_FILE, (witnessed_note(own["witnessed"]) or (0, b""))[1])
    if request.since is not None:
        earlier = Checkpoint.objects.values_list("note", flat=True).get(size=request.since)
        folder.put("checkpoint.prev", earlier.encode())
        folder.put("consistency.txt", write_consistency(tree, request.since))
    leaves = AuditEntry.objects.filter(seq__lt=checkpoint.size).order_by("seq")
    with folder.open("leaf-hashes.txt") as sink:
        for leaf in _stream(leaves.values_list("leaf", flat=True)):
            sink.write(leaf.encode() + b"\n")
    for number in _write_entries(folder, request, seq):
        folder.put(f"proofs/{number}.tlog-proof", write_proof(tree, number, note))


def _write_entries(folder: _Folder, request: ExportRequest, seq: int) -> list[int]:
    """The entries and their views; the numbers of those that are decisions."""
    decisions = []
    rows = _matching(request, seq).values_list("seq", "leaf", "action", "body")
    with ExitStack() as stack:
        entries = stack.enter_context(folder.open("entries.jsonl"))
        views = {stack.enter_context(folder.open(path)): VIEWS[path] for path in request.views}
        for sink, view in views.items():
            sink.write(view.header)
        for number, leaf, action, text in _stream(rows):
            body = text.encode()
            entries.write(body + b"\n")
            if views:
                entry = json.loads(text)
                for sink, view in views.items():
                    sink.write(view.line(leaf, entry))
            if is_decision(action):
                decisions.append(number)
    return decisions


def _filters(request: ExportRequest) -> bool:
    return bool(request.filters.described())


def _matching(request: ExportRequest, seq: int) -> QuerySet[AuditEntry]:
    """The entries that the request asks for, in order; always every change of the key, and its own entry `seq`."""
    rows = AuditEntry.objects.filter(seq__lte=seq)
    if _filters(request):
        key_changes = Q(action=ROTATION_ACTION, outcome="allowed")
        rows = rows.filter(request.filters.condition() | key_changes | Q(seq=seq))
    return rows.order_by("seq")


def _stream(rows: Any) -> Iterable[Any]:
    return rows.iterator(chunk_size=CHUNK) if isinstance(rows, QuerySet) else rows


def _bound_files(request: ExportRequest) -> dict[str, bytes]:
    """The files that cannot be derived from the log. Raises BadInput for an artifact's name that leaves the folder."""
    unknown = sorted(set(request.views) - set(VIEWS))
    if unknown:
        raise BadInput(f"{unknown[0]!r} is no form of the log; there are {', '.join(VIEWS)}.")
    files = {
        "verify.py": verifier_script(),
        "VERIFY.md": verifier_guide(),
        "vkeys.txt": "".join(f"{key}\n" for key in log_keys()).encode(),
    }
    files |= {VERSIONS_FOLDER + digest: data for digest, data in judged_by().items()}
    if handed := rotations():
        files["rotations.jsonl"] = b"".join(canonical(line) + b"\n" for line in handed)
    if request.identities:
        people = Person.objects.select_related("user").order_by("ref")
        lines = [{"ref": person.ref, "username": person.user.get_username()} for person in people]
        files["identities.jsonl"] = b"".join(canonical(line) + b"\n" for line in lines)
    for name, data in request.artifacts.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
            raise BadInput(f"The artifact name {name!r} is not a plain relative path.")
        files[ARTIFACTS_FOLDER + name] = data
    return files


def _zip(folder: _Folder, dest: Path) -> None:
    """The folder as one zip file, the same bytes for the same files."""
    with zipfile.ZipFile(dest, "x", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(folder.facts):
            item = zipfile.ZipInfo(name, ZIP_TIME)
            item.compress_type = zipfile.ZIP_DEFLATED
            item.create_system, item.external_attr = 3, 0o644 << 16
            with (folder.path / name).open("rb") as source, archive.open(item, "w", force_zip64=True) as sink:
                shutil.copyfileobj(source, sink)
