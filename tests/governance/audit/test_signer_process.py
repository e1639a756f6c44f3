"""The signer as a real process: it signs over its socket, remembers, rotates, and nothing goes live without it."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from deploy.home import REPO
from governance.actions import promote
from governance.actors import LOOP
from governance.assurance.leases import grant_lease
from governance.assurance.receipt import check_lease, check_receipt
from governance.audit import signer_process
from governance.audit.checkpoints import get_signer, init_signer, make_checkpoint
from governance.audit.lease import LEASE
from governance.audit.notes import open_checkpoint, open_rotation
from governance.audit.signer import NEXT_FILE, FileSigner, SigningRefused
from governance.audit.signer_process import SocketSigner, answer_to, calls_of, listen
from governance.audit.tree import Tree, leaf_hash
from governance.errors import AuditError, NotAllowed
from governance.models import AuditEntry, Pointer
from tests.governance.cast import REASON, World, approved

LEAVES = [leaf_hash(bytes([number])) for number in range(20)]
BARE = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a signer process over the folder `keys` and wait until it answers."""
    started: list[subprocess.Popen[str]] = []

    def make(*options: str, wait: bool = True) -> subprocess.Popen[str]:
        argv = ["--folder", str(tmp_path / "keys"), "--socket", str(tmp_path / "s"), *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "governance.audit.signer_process", *argv],
            cwd=REPO, env=BARE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        deadline = time.monotonic() + 30
        while wait and not _connects(tmp_path / "s"):
            assert process.poll() is None and time.monotonic() < deadline, "the signer did not start"
            time.sleep(0.01)
        return process

    yield make
    for process in started:
        process.terminate()
        process.wait(30)
        if process.stderr is not None:
            process.stderr.close()


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as link:
        return link.connect_ex(str(path)) == 0


def test_the_process_signs_what_grew_refuses_a_fork_and_remembers_over_a_restart(
    start: Start, tmp_path: Path
) -> None:
    process = start("--create")
    signer, tree = SocketSigner(tmp_path / "s"), Tree(LEAVES)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    signer.check_ready()
    head = open_checkpoint(signer.sign(12, tree.root(12), []), [signer.key()])
    assert signer.last() == head
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    with pytest.raises(AuditError, match="does not answer"):
        signer.last()
    start()
    forked = Tree([*LEAVES[:3], leaf_hash(b"rewritten"), *LEAVES[4:]])
    for size in (8, 12, 20):
        with pytest.raises(SigningRefused, match="does not grow"):
            signer.sign(size, forked.root(size), forked.consistency_proof(12, size) if size > 12 else [])
    with pytest.raises(SigningRefused):
        signer.sign(8, tree.root(8), [])
    grown = signer.sign(20, tree.root(20), tree.consistency_proof(12, 20))
    assert open_checkpoint(grown, [signer.key()]).size == 20


def test_the_process_needs_no_django_and_shares_its_lock_with_the_files(start: Start, tmp_path: Path) -> None:
    start("--create", "--allow-uid", "12345")
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o660
    tree, files, remote = Tree(LEAVES), FileSigner(tmp_path / "keys"), SocketSigner(tmp_path / "s")
    assert files.key() == remote.key()
    files.sign(5, tree.root(5), [])
    assert remote.last().size == 5
    remote.sign(9, tree.root(9), tree.consistency_proof(5, 9))
    assert files.last().size == 9
    code = "import sys, governance.audit.signer_process; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO, check=False).returncode == 0


def test_a_stale_socket_is_replaced_and_anything_else_is_left_alone(start: Start, tmp_path: Path) -> None:
    first = start("--create")
    key = SocketSigner(tmp_path / "s").key()
    first.kill()
    first.wait()
    start("--create")
    assert SocketSigner(tmp_path / "s").key() == key
    (tmp_path / "s").unlink()
    (tmp_path / "s").write_text("mine")
    process = start(wait=False)
    assert process.stderr is not None and "is not a socket" in process.stderr.read() and process.wait(30) == 1
    assert (tmp_path / "s").read_text() == "mine"


def test_whoever_is_not_named_is_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = FileSigner(tmp_path / "keys")
    signer.create()
    listener = listen(tmp_path / "s", shared=False)
    monkeypatch.setattr(signer_process, "TIMEOUT_S", 0.2)
    threading.Thread(
        target=signer_process.serve, args=(listener, signer, frozenset({os.getuid() + 1})), daemon=True
    ).start()
    with pytest.raises(AuditError, match="does not take requests from this user"):
        SocketSigner(tmp_path / "s").key()
    with socket.socket(socket.AF_UNIX) as silent:  # who says nothing does not hold up the next
        silent.connect(str(tmp_path / "s"))
        with pytest.raises(AuditError, match="does not take requests"):
            SocketSigner(tmp_path / "s").key()
    assert struct.calcsize("3i") == 12


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json\n",
        b"[]\n",
        b'{"call":"steal","args":[]}\n',
        b'{"call":"sign","args":[1]}\n',
        b'{"call":"sign","args":[1,"zz",[]]}\n',
        b'{"call":"_secret","args":[]}\n',
    ],
)
def test_nonsense_is_answered_not_obeyed(line: bytes, tmp_path: Path) -> None:
    signer = FileSigner(tmp_path)
    signer.create()
    answer = answer_to(line, calls_of(signer))
    assert list(answer) == ["error"] and signer.last().size == 0


def test_a_rotation_needs_its_entry_in_the_signed_log(start: Start, tmp_path: Path) -> None:
    start("--create")
    signer = SocketSigner(tmp_path / "s")
    old = signer.key()
    note = signer.prepare_rotation()
    assert note == signer.prepare_rotation()
    new = open_rotation(note, old)
    entry = json.dumps({"detail": {"note": note.decode()}}).encode()
    tree = Tree([*LEAVES[:4], leaf_hash(entry)])
    signer.sign(4, tree.root(4), [])
    with pytest.raises(SigningRefused, match="is not in the log"):
        signer.finish_rotation(entry, 4, tree.inclusion_proof(4))
    both = signer.sign(5, tree.root(5), tree.consistency_proof(4, 5))
    assert open_checkpoint(both, [old]) == open_checkpoint(both, [new])
    other = json.dumps({"detail": {"note": "x"}}).encode()
    with pytest.raises(AuditError):
        signer.finish_rotation(other, 4, tree.inclusion_proof(4))
    assert signer.key() == old
    assert signer.finish_rotation(entry, 4, tree.inclusion_proof(4)) == new == signer.key()
    assert not (tmp_path / "keys" / NEXT_FILE).exists()
    with pytest.raises(AuditError):
        signer.finish_rotation(entry, 4, tree.inclusion_proof(4))


def test_the_process_signs_leases_on_what_the_signed_log_made_live(
    lasting_world: World, start: Start, tmp_path: Path, settings: Settings
) -> None:
    settings.SIGNER_EXTERNAL, settings.SIGNER_SOCKET = True, tmp_path / "s"
    start()
    now, key = timezone.now(), get_signer().key()
    grant = grant_lease(lasting_world.task, "0" * 32, now, span=LEASE / 2)
    moved = check_receipt(grant.receipt, [key], "release:digits", lasting_world.seed.digest)
    assert check_lease(grant.lease, [key], moved, "0" * 32, now).digest == lasting_world.seed.digest
    with pytest.raises(SigningRefused, match="gives no lease"):
        grant_lease(lasting_world.task, "0" * 32, now, span=2 * LEASE)


def test_nothing_goes_live_while_the_signer_is_down(
    lasting_world: World, start: Start, tmp_path: Path, settings: Settings
) -> None:
    proposal, operator = approved(lasting_world), lasting_world.cast.act("operator")
    settings.SIGNER_EXTERNAL, settings.SIGNER_SOCKET = True, tmp_path / "s"
    process = start()
    assert isinstance(get_signer(), SocketSigner) and init_signer() == get_signer().key()
    process.kill()
    process.wait()
    with pytest.raises(NotAllowed, match="Nothing goes live while the log cannot be signed"):
        promote(proposal=proposal, reason=REASON, by=operator)
    assert Pointer.objects.get(key=proposal.key).generation == 0
    refusal = AuditEntry.objects.latest("seq")
    assert (refusal.action, refusal.outcome) == ("pointer.move", "denied")
    start()
    promote(proposal=proposal, reason=REASON, by=operator)
    assert get_signer().last().size == AuditEntry.objects.count()


def test_while_a_service_runs_the_signer_no_command_signs_for_itself(
    db: None, signer_home: Path, settings: Settings, tmp_path: Path
) -> None:
    import fcntl

    settings.SIGNER_SOCKET = tmp_path / "nobody"
    assert isinstance(get_signer(), FileSigner)
    (signer_home / "run").mkdir()
    with (signer_home / "run" / "signer.lock").open("w") as lock:
        assert isinstance(get_signer(), FileSigner)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert isinstance(get_signer(), SocketSigner)
        from django.db import transaction

        from governance.audit.log import record

        with transaction.atomic():
            record(by=LOOP, action="campaign.started", subject=("campaign", "7"))
        with pytest.raises(AuditError, match="does not answer"):
            make_checkpoint()
    assert make_checkpoint().size == 1
