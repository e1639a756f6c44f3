"""Checkpoints: the signer's statements of the log's size and root, made after acts have been committed."""

from __future__ import annotations

import fcntl
import os
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance.actors import Actor
from governance.audit.log import Facts, lock_head, record
from governance.audit.notes import VerifierKey
from governance.audit.refusals import in_transaction, log_refusals
from governance.audit.signer import FileSigner, Signer, SigningRefused
from governance.audit.signer_process import SocketSigner
from governance.audit.stored_tree import StoredTree, store_nodes
from governance.errors import AuditError
from governance.models import AuditEntry, AuditHead, Checkpoint

SIGNER = Actor("system", "signer")
SIGN_EVERY = timedelta(minutes=1)
HEARTBEAT = timedelta(days=1)


def get_signer() -> Signer:
    """The signer of this service.

    Where settings.SIGNER_EXTERNAL says so, or while a service of this data home runs one (it holds run/signer.lock),
    only the signer process signs, and nothing is signed when it is down. Otherwise (one command by itself) the files in
    `keys` are used in process, under the same lock and the same memory.
    """
    if settings.SIGNER_EXTERNAL or _is_held(Path(settings.PAWL_HOME) / "run" / "signer.lock"):
        return SocketSigner(Path(settings.SIGNER_SOCKET))
    return key_files()


def key_files() -> FileSigner:
    """The signer's files in this data home."""
    return FileSigner(Path(settings.PAWL_HOME) / "keys")


def init_signer() -> VerifierKey:
    """Make the log's key on first use; return the one there is otherwise. An external signer makes its own.

    Raises AuditError when the log was signed before but its key is gone.
    """
    files, signer = key_files(), get_signer()
    if isinstance(signer, FileSigner) and not files.exists():
        if Checkpoint.objects.exists():
            raise AuditError(
                f"This log was signed before, but {files.folder} has no key; restore the log's own key."
            )
        return files.create()
    signer.check_ready()
    return signer.key()


def _is_held(lock: Path) -> bool:
    """Whether a living process holds this lock file."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def check_ready() -> None:
    """Raises AuditError unless the next checkpoint could be signed: key, memory, and a log not shorter than signed."""
    signer = get_signer()
    signer.check_ready()
    last = signer.last()
    size = AuditHead.objects.filter(pk=1).values_list("size", flat=True).first() or 0
    if size < last.size:
        raise AuditError(
            f"The log has {size} entries, but {last.size} were signed: the database is older than its signer. "
            "Restore the newest database."
        )


def make_checkpoint() -> Checkpoint:
    """Have everything that is committed signed; the same log again gives the same checkpoint.

    Call it after the act's commit (`transaction.on_commit(make_checkpoint)`): inside a transaction it raises
    AuditError, for a signature over entries that are then rolled back would stand against the log for ever.
    Raises AuditError too when the log is empty or the signer cannot sign; a refusal is put in the log as an alarm.
    """
    if in_transaction():
        raise AuditError("A checkpoint is made after the commit: use transaction.on_commit(make_checkpoint).")
    try:
        with transaction.atomic():
            return _sign_head()
    except SigningRefused as refusal:
        with transaction.atomic():
            facts = Facts(outcome="failed", reason=str(refusal))
            record(by=SIGNER, action="audit.alarm", subject=("log", "signer"), facts=facts)
        raise


def tick(now: datetime) -> Checkpoint | None:
    """Upkeep, as often as you like: once a minute sign what is new, after a silent day an entry that says so.

    Refusals that were kept outside the log are put in it first.

    Returns the new checkpoint, or None when nothing was due.
    """
    log_refusals()
    newest = AuditEntry.objects.order_by("-seq").first()
    signed = latest()
    if newest is not None and (signed is None or signed.size <= newest.seq):
        return make_checkpoint() if signed is None or now - signed.time >= SIGN_EVERY else None
    if newest is None or now - newest.time < HEARTBEAT:
        return None
    with transaction.atomic():
        record(by=SIGNER, action="audit.heartbeat", subject=("log", "signer"))
    return make_checkpoint()


def latest() -> Checkpoint | None:
    """The newest checkpoint, or None before the first."""
    return Checkpoint.objects.order_by("-size").first()


def _sign_head() -> Checkpoint:
    size = lock_head()
    if size == 0:
        raise AuditError("The log is empty, so there is nothing to sign.")
    signer = get_signer()
    last = signer.last()
    if last.size > size:
        raise SigningRefused(
            f"The log has {size} entries, but {last.size} were signed; it was cut or set back."
        )
    store_nodes(size)
    tree = StoredTree(size)
    root = tree.root()
    note = signer.sign(size, root, tree.consistency_proof(last.size))
    known = Checkpoint.objects.filter(size=size).first()
    return known or Checkpoint.objects.create(
        size=size, root=root.hex(), note=note.decode(), time=timezone.now()
    )
