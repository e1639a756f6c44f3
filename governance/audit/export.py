"""Make an export bundle: files that anyone can check offline, without trusting the service that made them."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from governance.actions.base import act
from governance.actors import Actor
from governance.audit.bundle import (
    BOUND_FOLDER,
    BUNDLE_FORMAT,
    EXPORT_ACTION,
    VIEWS,
    bound_digests,
    included_digest,
    is_decision,
    write_consistency,
    write_manifest,
    write_proof,
)
from governance.audit.canonical import canonical, canonical_digest, parse_canonical
from governance.audit.checkpoints import check_ready, get_signer, load_tree, make_checkpoint
from governance.audit.log import Facts, lock_head, record
from governance.audit.notes import TreeHead
from governance.audit.queries import LogFilter
from governance.audit.tree import Tree
from governance.audit.verifier_script import verifier_guide, verifier_script
from governance.audit.views import Row
from governance.errors import BadInput
from governance.models import AuditEntry, Checkpoint, Person
from governance.policy import policy_facts
from governance.roles import AUDITOR
from governance.rules import check_role

ZIP_TIME = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the earliest that the format knows: a bundle's bytes depend on its content alone


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    `since` is the size of an earlier checkpoint that the auditor holds; `artifacts` maps relative names to bytes (git
    bundles, adapter manifests) and is handed in by those who keep them.
    """

    filters: LogFilter = field(default_factory=LogFilter)
    since: int | None = None
    identities: bool = False
    artifacts: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Bundle:
    """A finished export: its files by relative path, the log's size and root, the number of its own entry."""

    files: Mapping[str, bytes]
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
    bundle = make_bundle(by=by, request=request)
    dest.parent.mkdir(parents=True, exist_ok=True)
    if dest.suffix == ".zip":
        _write_file(dest, zip_bytes(bundle))
        return bundle
    building = Path(tempfile.mkdtemp(dir=dest.parent, prefix=f".{dest.name}-"))
    try:
        for name, data in bundle.files.items():
            _write_file(building / name, data)
        building.chmod(0o755)
        os.rename(building, dest)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return bundle


def make_bundle(*, by: Actor, request: ExportRequest = ExportRequest()) -> Bundle:
    """The bundle in memory, for a download. Raises as export_bundle does."""
    bound = _bound_files(request)
    seq, numbers = announce_export(request=request, bound=bound, by=by)
    checkpoint = make_checkpoint()
    tree = load_tree(checkpoint.size)
    rows = _rows(numbers)
    note = checkpoint.note.encode()
    files = {
        **bound,
        "checkpoint": note,
        "leaf-hashes.txt": "".join(f"{tree.leaf(index).hex()}\n" for index in range(len(tree))).encode(),
        "entries.jsonl": b"".join(body + b"\n" for _, body in rows),
        **_earlier(request.since, tree),
    }
    entries: list[Row] = [(leaf, parse_canonical(body)) for leaf, body in rows]
    files |= {path: view(entries) for path, view in VIEWS.items()}
    for _, entry in entries:
        if is_decision(entry):
            files[f"proofs/{entry['seq']}.tlog-proof"] = write_proof(tree, entry["seq"], note)
    head = TreeHead(get_signer().key().name, checkpoint.size, tree.root())
    files["MANIFEST.json"] = write_manifest(files, head, seq)
    return Bundle(dict(sorted(files.items())), checkpoint.size, checkpoint.root, seq)


def zip_bytes(bundle: Bundle) -> bytes:
    """The bundle as one zip file, the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(bundle.files.items()):
            item = zipfile.ZipInfo(name, ZIP_TIME)
            item.compress_type = zipfile.ZIP_DEFLATED
            item.create_system, item.external_attr = 3, 0o644 << 16
            archive.writestr(item, data)
    return buffer.getvalue()


@act(EXPORT_ACTION, durable=True)
def announce_export(
    *, request: ExportRequest, bound: Mapping[str, bytes], by: Actor
) -> tuple[int, list[int]]:
    """Write the entry of an export: what it will hold, by digest. Returns its number and the entries to carry.

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
    seq = lock_head()
    numbers = [*request.filters.apply().order_by("seq").values_list("seq", flat=True), seq]
    detail = {
        "format": BUNDLE_FORMAT,
        "filter": request.filters.described(),
        "since": request.since,
        "included": len(numbers),
        "included_digest": included_digest(numbers),
        "identities": request.identities,
        "bound": len(bound),
        "bound_digest": canonical_digest(bound_digests(bound)),
    }
    facts = Facts(policy=policy_facts(), task=request.filters.task, detail=detail)
    record(by=by, action=EXPORT_ACTION, subject=("log", "export"), facts=facts)
    return seq, numbers


def _bound_files(request: ExportRequest) -> dict[str, bytes]:
    """The files that cannot be derived from the log. Raises BadInput for an artifact's name that leaves the folder."""
    files = {
        "verify.py": verifier_script(),
        "VERIFY.md": verifier_guide(),
        "vkeys.txt": f"{get_signer().key()}\n".encode(),
    }
    if request.identities:
        people = Person.objects.select_related("user").order_by("ref")
        lines = [{"ref": person.ref, "username": person.user.get_username()} for person in people]
        files["identities.jsonl"] = b"".join(canonical(line) + b"\n" for line in lines)
    for name, data in request.artifacts.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
            raise BadInput(f"The artifact name {name!r} is not a plain relative path.")
        files[BOUND_FOLDER + name] = data
    return files


def _rows(numbers: list[int]) -> list[tuple[str, bytes]]:
    """(leaf, body) of the entries with these numbers."""
    wanted = set(numbers)
    rows = AuditEntry.objects.filter(seq__lte=numbers[-1]).order_by("seq").values_list("seq", "leaf", "body")
    return [(leaf, body.encode()) for seq, leaf, body in rows.iterator(chunk_size=5_000) if seq in wanted]


def _earlier(since: int | None, tree: Tree) -> dict[str, bytes]:
    if since is None:
        return {}
    note = Checkpoint.objects.values_list("note", flat=True).get(size=since)
    return {"checkpoint.prev": note.encode(), "consistency.txt": write_consistency(tree, since)}


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
