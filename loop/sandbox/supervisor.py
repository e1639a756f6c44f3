"""Runs one sandbox and reports: an Order on stdin, a Report on stdout. `python -I -S supervisor.py --serve` waits and
forks such a process for every run that is asked for (see spawner.py).

A process of its own, because it changes its mount namespace, adopts orphans and must end with whoever asked: it
watches the asking process and its own stdin, and kills the sandbox when either ends. It does not let the kernel kill
it with its parent: killed while bubblewrap sets up, it would leave bubblewrap's child waiting for ever. Should it be
killed all the same, bubblewrap dies with it, and as a rule everything inside with bubblewrap. What stays (such a child,
or a first process inside that the program has rewritten) falls to the serving process, which kills it (see orphans.py).
With both killed it lives on until the next run sweeps its memory group, where there are such groups.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from loop.sandbox import verdicts, watch
from loop.sandbox.cgroup import MemoryGroup
from loop.sandbox.collect import Refused, collect
from loop.sandbox.command import MIB, SECCOMP_FD, STARTED_FD, STATUS_FD, build_command
from loop.sandbox.launcher import Launcher, fork_waiting
from loop.sandbox.logs import LogKeeper
from loop.sandbox.namespaces import (
    PR_SET_CHILD_SUBREAPER,
    enter_mount_namespace,
    prctl,
)
from loop.sandbox.orphans import Brood
from loop.sandbox.protocol import GONE, Order, Report, open_asker
from loop.sandbox.slots import NoFreeSlot, take_uid
from loop.sandbox.spawner import PID
from loop.sandbox.staging import StagingError, stage
from loop.types import Outcome, Usage

POLL_S = 0.05
OPTIONAL_PATHS = ("/usr/lib", "/usr/lib64", "/usr/lib32", "/etc/ld.so.cache")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a supervisor makes before there is a run: the process that becomes bubblewrap, the memory group that it is
    in (where there are groups), and the socket whose end tells the serving process that the program runs."""

    launcher: Launcher
    group: MemoryGroup | None
    ready: socket.socket


@dataclass
class Run:
    """One live sandbox: its bubblewrap process, its pipes, and what was seen of it so far."""

    order: Order
    bwrap: int
    log_pipe: int
    status_pipe: int
    started_pipe: int
    log: LogKeeper
    ready: socket.socket
    began: float = field(default_factory=time.monotonic)
    init: int | None = None
    started: bool = False
    status: bytes = b""
    mappings: watch.MappingsAccount = field(default_factory=watch.MappingsAccount)
    peak_mib: float = 0.0
    tasks: int = 0
    cpu_s: float = 0.0
    account: watch.ProcessorAccount = field(default_factory=watch.ProcessorAccount)
    meter: Callable[[], float] = lambda: 0.0
    stop: tuple[Outcome, str] | None = None

    def wall_s(self) -> float:
        """Seconds since bubblewrap was started."""
        return time.monotonic() - self.began

    def facts(self) -> dict[str, int]:
        """What bubblewrap said of itself: child-pid, and exit-code at the end."""
        return parse_status(self.status)


def parse_status(status: bytes) -> dict[str, int]:
    """The numbers in bubblewrap's status lines. The first of a name counts and what is no number is passed over:
    its first process shares a uid with the program, which may write here what it likes."""
    said: dict[str, int] = {}
    for line in status.splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict):
            said = {name: value for name, value in values.items() if type(value) is int} | said
    return said


def serve() -> None:
    """Forks a supervisor for each request on the socket that is stdin, until its other end or its owner is gone."""
    channel = socket.socket(fileno=os.dup(0))
    gc.freeze()  # a collection in a fork would copy every page that it only looks at
    poll, owner, brood = select.poll(), open_asker(os.getppid()), Brood()
    for descriptor in (channel.fileno(), owner, brood.wake):
        poll.register(descriptor, select.POLLIN)
    standby: tuple[int, socket.socket] | None = _fork_standby(brood, (channel.fileno(), owner))
    starting: dict[int, socket.socket] = {}
    while True:
        readable = {descriptor for descriptor, _ in poll.poll()}
        if brood.wake in readable:
            brood.look_after()
        if owner in readable:
            return
        for descriptor in readable & starting.keys():
            poll.unregister(descriptor)
            starting.pop(descriptor).close()
        if channel.fileno() in readable:
            request, descriptors, _, _ = socket.recv_fds(channel, 1, 3)
            if not request:
                return
            pid, ready = standby or _fork_standby(brood, (channel.fileno(), owner, *starting, *descriptors))
            standby = None
            socket.send_fds(ready, [b"r"], descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            channel.send(PID.pack(pid))
            starting[ready.fileno()] = ready
            poll.register(ready, select.POLLIN)
        # Making one holds up every fork on the machine (see launcher.py), so it waits until the last one has started.
        if standby is None and not starting:
            standby = _fork_standby(brood, (channel.fileno(), owner))


def _fork_standby(brood: Brood, not_its: tuple[int, ...]) -> tuple[int, socket.socket]:
    """A supervisor that makes itself ready and waits: its pid, and the socket on which it takes its descriptors."""
    return fork_waiting(brood.fork, not_its, _supervise)


def _supervise(ready: socket.socket) -> None:
    """In the forked child: one run on its own stdin, stdout and stderr. Never returns."""
    code = 1
    try:
        os.setsid()
        launcher = Launcher.fork((ready.fileno(),))
        prepared = Prepared(launcher, MemoryGroup.holding(launcher.pid), ready)
        request, descriptors, _, _ = socket.recv_fds(ready, 1, 3)
        if not request:
            os._exit(0)  # nobody wanted this one
        for target, source in enumerate(descriptors):
            os.dup2(source, target)
            os.close(source)
        main(prepared)
        code = 0
    except SystemExit as stopped:
        print(stopped, file=sys.stderr)
    except BaseException:  # the end of this process: its trace is what the asker is told
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main(prepared: Prepared) -> None:
    """Reads the order, runs it, writes the report."""
    order = Order.from_json(sys.stdin.buffer.readline())
    asker = open_asker(order.parent)
    try:
        report = carry_out(order, asker, prepared)
    except (StagingError, NoFreeSlot) as error:
        report = Report(error=str(error))
    except OSError as error:
        report = Report(error=f"The sandbox could not be prepared: {error}.")
    sys.stdout.buffer.write(report.to_json())
    sys.stdout.buffer.flush()


def carry_out(order: Order, asker: int, prepared: Prepared) -> Report:
    """One whole run: namespace, stage, bubblewrap, watch, kill, collect."""
    root, group = os.geteuid() == 0, prepared.group
    uid = take_uid() if root else 0
    enter_mount_namespace()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    target = os.open(order.collect_to, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    staged = stage(order, uid)
    present = frozenset(path for path in OPTIONAL_PATHS if Path(path).exists())
    if any(Path(order.layers.get("/python", os.devnull), "lib").glob("libpython*.so*")):
        present |= {"/python/lib"}
    if group is not None:
        group.limit(order.limits)
    command = build_command(order, staged, present)
    with _launched(order, command, uid if root else None, prepared) as run:
        if group is not None:
            run.meter = group.meter()
        _watch(run, asker)
        usage = _kill(run)
        if run.stop is None and group is not None and group.killed():
            run.stop = verdicts.memory(order.limits)
    if not run.started and run.stop is None:
        return Report(error=f"bubblewrap could not set the sandbox up: {run.log.text().strip()}")
    outcome, reason, code = _verdict(run, usage)
    outputs = []
    try:
        outputs = collect(Path(staged["/out"]), order.outputs, target, order.limits.file_mib * MIB)
    except Refused as error:
        if outcome is Outcome.OK:
            outcome, reason = Outcome.OUTPUT_REJECTED, str(error)
    return Report(
        outcome=outcome,
        reason=reason,
        exit_code=code,
        log_tail=run.log.text(),
        usage=asdict(usage),
        outputs=tuple(asdict(item) for item in outputs),
    )


@contextmanager
def _launched(order: Order, command: list[str], uid: int | None, prepared: Prepared) -> Iterator[Run]:
    """Starts bubblewrap with its pipes. Whatever happens, nothing of it is left alive afterwards."""
    seccomp = os.open(order.seccomp, os.O_RDONLY | os.O_CLOEXEC)
    pipes = {name: os.pipe() for name in ("log", "status", "started")}
    prepared.launcher.launch(order.limits, command, uid, {
        1: pipes["log"][1], 2: pipes["log"][1], STATUS_FD: pipes["status"][1],
        STARTED_FD: pipes["started"][1], SECCOMP_FD: seccomp,
    })  # fmt: skip
    os.close(seccomp)
    for _, write_end in pipes.values():
        os.close(write_end)
    for read_end, _ in pipes.values():
        os.set_blocking(read_end, False)
    ends = [read_end for read_end, _ in pipes.values()]
    log = LogKeeper(order.limits.log_kib * 1024)
    run = Run(order, prepared.launcher.pid, ends[0], ends[1], ends[2], log, prepared.ready)
    try:
        yield run
    finally:
        _kill(run)
        for read_end in ends:
            os.close(read_end)


def _watch(run: Run, asker: int) -> None:
    """Returns when the program has ended or must be stopped (then `run.stop` says why)."""
    poll = select.poll()
    ended = os.pidfd_open(run.bwrap)
    for descriptor in (ended, run.log_pipe, run.status_pipe, run.started_pipe, sys.stdin.fileno(), asker):
        poll.register(descriptor, select.POLLIN)
    looked = 0.0
    while run.stop is None:
        ready = {descriptor for descriptor, _ in poll.poll(POLL_S * 1000)}
        for descriptor in ready & {run.log_pipe, run.status_pipe, run.started_pipe}:
            if _read(run, descriptor) == b"":
                poll.unregister(descriptor)
        if ready & {sys.stdin.fileno(), asker}:
            raise SystemExit(GONE)
        if ended in ready:
            break
        if run.wall_s() - looked >= POLL_S:
            looked = run.wall_s()
            _look(run)
    os.close(ended)


def _read(run: Run, descriptor: int) -> bytes | None:
    """Takes in what waits in the pipe and returns it: empty at its end, None where nothing waits.

    An ordinary user's program has our uid and can open the pipe for reading: what poll announced may be gone.
    """
    try:
        data = os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return None
    if descriptor == run.started_pipe:
        run.started = run.started or data[:1] == b"s"
        run.ready.close()
    elif descriptor == run.status_pipe:
        run.status += data
        if run.init is None and b"\n" in run.status:
            run.init = run.facts().get("child-pid")
    else:
        run.log.feed(data)
        if run.log.total > run.order.limits.log_kill_mib * MIB:
            run.stop = verdicts.log(run.order.limits)
    return data


def _look(run: Run) -> None:
    """Takes one sample and decides whether a limit is passed."""
    limits = run.order.limits
    if run.wall_s() > limits.wall_s:
        run.stop = verdicts.wall(limits)
    if run.init is None:
        return
    memory = _sample(run)
    if run.stop is not None:
        return
    if memory > limits.memory_mib:
        run.stop = verdicts.memory(limits)
    elif run.cpu_s > limits.cpu_s:
        run.stop = verdicts.processor(limits)
    elif watch.scratch_inodes(f"/proc/{run.init}/root") > watch.SCRATCH_INODES:
        run.stop = verdicts.inodes(watch.SCRATCH_INODES)
    elif watch.sockets(run.init) > watch.SOCKETS:
        run.stop = verdicts.sockets(watch.SOCKETS)
    elif watch.terminals(f"/proc/{run.init}/root") > watch.TERMINALS:
        run.stop = verdicts.terminals(watch.TERMINALS)


def _sample(run: Run) -> float:
    """Notes what the tree uses now; the memory in MiB, exact where the cheap sum is over the limit."""
    assert run.init is not None
    pids = watch.tree(run.init)
    seen = watch.sample(pids)
    # The namespace's first process is bubblewrap's own and no task of the program.
    run.tasks = max(run.tasks, seen.tasks - 1)
    run.cpu_s = max(run.cpu_s, seen.cpu_s, run.account.note(seen.own_s), run.meter())
    memory, mappings = seen.memory_mib, run.mappings.note(pids)
    if memory + mappings > run.order.limits.memory_mib:
        exact = watch.exact_memory_mib(pids)
        memory = memory if exact is None else exact
    memory += mappings
    run.peak_mib = max(run.peak_mib, memory)
    return memory


def _kill(run: Run) -> Usage:
    """Kills the pid namespace, waits until all of it is gone, and sums what it used.

    Only own children are signalled, which cannot be mistaken for others: bubblewrap first; the namespace's
    first process is then adopted, killed in the next round, and takes everything inside with it.
    """
    wall_s, cpu_s = run.wall_s(), 0.0
    if run.init is not None and run.stop is not None:
        _sample(run)
    while True:
        for child in watch.children(os.getpid()):
            os.kill(child, signal.SIGKILL)
        try:
            _, _, used = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cpu_s += used.ru_utime + used.ru_stime
        run.peak_mib = max(run.peak_mib, used.ru_maxrss / 1024)
    run.init = None
    for pipe in (run.log_pipe, run.status_pipe, run.started_pipe):
        while _read(run, pipe):
            continue
    return Usage(wall_s, max(cpu_s, run.cpu_s, run.meter()), run.peak_mib, processes=max(run.tasks, 1))


def _verdict(run: Run, usage: Usage) -> verdicts.Verdict:
    if run.stop is not None:
        return (*run.stop, None)
    return verdicts.of_exit(run.facts().get("exit-code"), usage.cpu_s or 0.0, run.order.limits)


if __name__ == "__main__":
    serve()
