"""What is bubblewrap's alone: its probe, its refusals, its memory group, its uids."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loop.errors import SandboxError
from loop.sandbox import cgroup, get_backend
from loop.sandbox.bwrap import BwrapBackend, python_inside
from loop.types import Mount, Outcome, SandboxResult, SandboxSpec
from tests.loop.sandboxes import PROGRAM, runner_of

Runner = Callable[..., SandboxResult]


@pytest.fixture
def real(tmp_path: Path) -> Callable[..., SandboxResult]:
    """Runs a piece of Python source in bubblewrap; a.txt is collected."""
    return runner_of(get_backend("bwrap"), tmp_path)


def test_the_probe_says_what_is_guaranteed() -> None:
    probe = BwrapBackend().probe()
    assert probe.ok
    assert set(probe.facts) >= {"version", "kernel", "boundary", "worker", "memory", "host_paths"}


def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    probe = BwrapBackend().probe()
    assert not probe.ok
    assert "apt install bubblewrap" in probe.detail
    with pytest.raises(SandboxError, match="apt install bubblewrap"):
        BwrapBackend().run(SandboxSpec(("/usr/bin/true",), (), ()), tmp_path)


def test_a_bubblewrap_that_cannot_set_up_is_an_outage_and_not_a_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "bwrap"
        broken.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n")
        for path in (broken, broken.parent):
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        probe = BwrapBackend().probe()
    assert not probe.ok
    assert "setting up uid map" in probe.detail
    assert "AppArmor" in probe.detail


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(SandboxError, match="no sandbox backend named docker"):
        get_backend("docker")


def test_memory_that_a_watchdog_cannot_see_in_time_is_held_by_a_control_group(real: Runner) -> None:
    version = cgroup.available()
    assert ("hard" in BwrapBackend().probe().facts["memory"]) == (version is not None)
    if version is None:
        return  # an ordinary user's worker: the watchdog alone, as the probe says
    source = "import mmap\nm = mmap.mmap(-1, 600 << 20)\nfor at in range(0, 600 << 20, 4096): m[at] = 1\n"
    result = real(source, memory_mib=64, scratch_mib=16, shm_mib=16, out_mib=16)
    assert result.outcome is Outcome.LIMIT
    assert result.usage.peak_mib is not None and result.usage.peak_mib <= 64 + 3 * 16 + cgroup.OWN_MIB
    base = cgroup.VERSION_1 if version == 1 else cgroup.VERSION_2
    dead = [path for path in base.glob(f"{cgroup.PREFIX}*") if not Path("/proc", path.name[5:]).exists()]
    assert not [path for path in dead if _holds_a_process(path)]


def test_processor_time_that_no_look_catches_is_told_by_a_control_group(real: Runner) -> None:
    if cgroup.available() is None:
        return  # an ordinary user's worker: what lives and dies between two looks is not counted, as is documented
    source = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(60):
    if not os.fork():
        while time.process_time() < 0.01: pass
        os._exit(0)
    try:
        os.wait()
    except ChildProcessError:
        pass
"""
    result = real(source)
    assert result.outcome is Outcome.OK
    assert result.usage.cpu_s is not None and result.usage.cpu_s >= 0.6


@pytest.mark.parametrize(("pairs", "outcome"), [(120, Outcome.OK), (300, Outcome.LIMIT)])
def test_a_program_may_have_some_sockets_and_not_many(real: Runner, pairs: int, outcome: Outcome) -> None:
    source = f"import socket, time; kept = [socket.socketpair() for _ in range({pairs})]; time.sleep({pairs / 400})"
    result = real(source, open_files=4096)
    assert result.outcome is outcome, result.log_tail
    assert ("512 sockets" in result.reason) == (outcome is Outcome.LIMIT)


def test_socket_buffers_stay_small_whatever_a_program_asks_for(real: Runner) -> None:
    result = real("""
import socket
def kept(sender):
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
    sender.setblocking(False)
    total = 0
    try:
        while True: total += sender.send(bytes(1 << 16))
    except BlockingIOError:
        return total
server = socket.create_server(("127.0.0.1", 0))
left = socket.create_connection(server.getsockname())
right = server.accept()[0]
pair = socket.socketpair()
print(kept(left), kept(pair[0]))
""")
    assert max(map(int, result.log_tail.split())) < 400_000, result.log_tail


def test_two_runs_at_once_share_no_uid_and_no_namespace_and_both_end_well(tmp_path: Path) -> None:
    source = """
import os, re, time
time.sleep(.5)
print(re.findall('uid=[0-9]+', open('/proc/self/mountinfo').read())[0])
print(*(os.readlink('/proc/self/ns/' + kind) for kind in ('mnt', 'pid', 'net', 'ipc', 'uts', 'user', 'cgroup')))
"""

    def one(index: int) -> SandboxResult:
        folder = tmp_path / str(index)
        (folder / "out").mkdir(parents=True)
        (folder / "main.py").write_text(source)
        spec = SandboxSpec((python_inside(), "-I", PROGRAM), (Mount(folder, "/harness"),), ())
        return get_backend("bwrap").run(spec, folder / "out")

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(one, range(2)))
    assert [result.outcome for result in results] == [Outcome.OK, Outcome.OK]
    said = [result.log_tail.splitlines() for result in results]
    assert len({lines[0] for lines in said}) == (2 if os.geteuid() == 0 else 1)
    first, second = (lines[1].split() for lines in said)
    own = {os.readlink(f"/proc/self/ns/{kind}") for kind in os.listdir("/proc/self/ns")}
    assert len(first) == 7 and not set(first) & set(second) and not own & {*first, *second}


def _holds_a_process(group: Path) -> bool:
    try:
        return bool((group / "cgroup.procs").read_text())
    except OSError:  # a neighbour's run has just removed it
        return False
