"""The first process of a sandbox container: `python -I -S init.py`, a job on stdin, frames on stdout.

It starts the program, looks after its limits, kills everything else in the pid namespace at its end, and only then
sends the outputs: they lie in a memory file system, which ends with the container. Stdin stays open as long as
somebody outside wants the run; its end means 'stop'. Standard library only; the outside believes nothing of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from loop.sandbox import verdicts, watch
from loop.sandbox.collect import BLOCK, Refused, open_output
from loop.sandbox.container import frames
from loop.types import Limits, Outcome

MIB = 1 << 20
POLL_S = 0.05
PR_SET_DUMPABLE = 4
OUT = "/out"
OOM_FILES = (
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
)
COMMAND_NOT_FOUND, NOT_EXECUTABLE = 127, 126


@dataclass
class Run:
    """The program, its log pipe, and what was seen of it so far."""

    limits: Limits
    program: int
    log_pipe: int
    began: float = field(default_factory=time.monotonic)
    code: int | None = None
    ended: bool = False
    logged: int = 0
    reaped_s: float = 0.0
    cpu_s: float = 0.0
    account: watch.ProcessorAccount = field(default_factory=watch.ProcessorAccount)
    peak_mib: float = 0.0
    tasks: int = 0
    stop: tuple[Outcome, str] | None = None

    def wall_s(self) -> float:
        """Seconds since the program was started."""
        return time.monotonic() - self.began

    def usage(self) -> bytes:
        """What was used so far, as JSON: told again and again, so that it is known however the run ends."""
        return json.dumps([self.wall_s(), self.cpu_s, self.peak_mib, max(self.tasks, 1)]).encode()


def main() -> None:
    """One run. Ends with status 0 whatever the program did."""
    _dumpable(False)  # the program has our uid and must not open our memory
    job = json.loads(_first_line())
    limits = Limits(**job["limits"])
    wake = watch.wake_on_children()
    if job["relay"]:
        subprocess.run([sys.executable, "-I", "-S", *job["relay"]], stdin=subprocess.DEVNULL, check=True)
    send(frames.STARTED)
    run = start(job, limits)
    watch_over(run, wake)
    finish(run)
    _send_outputs(tuple(job["outputs"]), limits)
    verdict = (*run.stop, None) if run.stop else verdicts.of_exit(run.code, run.cpu_s, limits)
    send(frames.USAGE, run.usage())
    send(frames.END, json.dumps(verdict).encode())


def _dumpable(yes: bool) -> None:
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, int(yes), 0, 0, 0)


def send(kind: bytes, payload: bytes = b"") -> None:
    """Writes one frame, whole; a reader that is gone ends this process and with it the container."""
    data = frames.frame(kind, payload)
    while data:
        data = data[os.write(1, data) :]


def start(job: Mapping[str, Any], limits: Limits) -> Run:
    """Forks the program with its limits, its environment and nothing of ours."""
    read_end, write_end = os.pipe()
    program = os.fork()
    if program == 0:
        _become(job, limits, write_end)
    os.close(write_end)
    os.set_blocking(read_end, False)
    return Run(limits, program, read_end)


def _become(job: Mapping[str, Any], limits: Limits, log: int) -> None:
    """In the forked child. Never returns."""
    code = NOT_EXECUTABLE
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, limits.open_files)
        os.chdir("/scratch")
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        _dumpable(True)
        Path("/proc/self/oom_score_adj").write_text("1000")  # the kernel kills the program before us
        for kind, value in (
            (resource.RLIMIT_AS, limits.address_space_mib * MIB),
            (resource.RLIMIT_FSIZE, limits.file_mib * MIB),
            (resource.RLIMIT_NOFILE, limits.open_files),
            (resource.RLIMIT_SIGPENDING, watch.PENDING_SIGNALS),
        ):
            resource.setrlimit(kind, (value, value))
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
        os.execvpe(job["argv"][0], job["argv"], job["env"])
    except FileNotFoundError as error:
        code = COMMAND_NOT_FOUND
        os.write(2, f"{job['argv'][0]}: {error.strerror}\n".encode())
    except (OSError, ValueError) as error:
        os.write(2, f"{job['argv'][0]} could not be started: {error}\n".encode())
    finally:
        os._exit(code)


def watch_over(run: Run, wake: int) -> None:
    """Returns when the program has ended or must be stopped (then `run.stop` says why)."""
    poll = select.poll()
    for descriptor in (0, run.log_pipe, wake):
        poll.register(descriptor, select.POLLIN)
    looked = 0.0
    while run.stop is None and not run.ended:
        ready = {descriptor for descriptor, _ in poll.poll(POLL_S * 1000)}
        if run.log_pipe in ready and _pass_log_on(run) == b"":
            poll.unregister(run.log_pipe)
        if 0 in ready and not os.read(0, 1):
            raise SystemExit("nobody wants this run any more")
        if wake in ready:
            os.read(wake, 4096)
        _reap(run)
        if not run.ended and run.wall_s() - looked >= POLL_S:
            looked = run.wall_s()
            _look(run)


def finish(run: Run) -> None:
    """Kills all processes but this one, waits until they are gone, and completes the account of them."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGSTOP)  # what is frozen can be counted
        _note(run, exact=False)
        os.kill(-1, signal.SIGKILL)
    _reap(run, wait=True)
    while _pass_log_on(run):
        continue
    if run.stop is None and _out_of_memory():
        run.stop = verdicts.memory(run.limits)
    run.cpu_s = max(run.cpu_s, run.reaped_s)


def _pass_log_on(run: Run) -> bytes | None:
    """Sends on what waits in the log pipe and returns it: empty at its end, None where nothing waits.

    The program has our uid and can open the pipe for reading: what poll announced may be gone.
    """
    try:
        data = os.read(run.log_pipe, 1 << 16)
    except BlockingIOError:
        return None
    if data:
        run.logged += len(data)
        send(frames.LOG, data)
    if run.stop is None and run.logged > run.limits.log_kill_mib * MIB:
        run.stop = verdicts.log(run.limits)
    return data


def _reap(run: Run, *, wait: bool = False) -> None:
    """Collects the dead children, adopted ones too; with `wait`, until there is no child left at all."""
    while True:
        try:
            pid, status, used = os.wait4(-1, 0 if wait else os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        run.reaped_s += used.ru_utime + used.ru_stime
        run.peak_mib = max(run.peak_mib, used.ru_maxrss / 1024)
        if pid == run.program:
            run.ended = True
            code = os.waitstatus_to_exitcode(status)
            run.code = code if code >= 0 else verdicts.SIGNAL_BASE - code


def _look(run: Run) -> None:
    """Takes one sample and decides whether a limit is passed."""
    if run.wall_s() > run.limits.wall_s:
        run.stop = verdicts.wall(run.limits)
        return
    memory = _note(run)
    send(frames.USAGE, run.usage())
    if memory > run.limits.memory_mib or _out_of_memory():
        run.stop = verdicts.memory(run.limits)
    elif run.cpu_s > run.limits.cpu_s:
        run.stop = verdicts.processor(run.limits)
    elif watch.scratch_inodes("") > watch.SCRATCH_INODES:
        run.stop = verdicts.inodes(watch.SCRATCH_INODES)
    elif watch.terminals("") > watch.TERMINALS:
        run.stop = verdicts.terminals(watch.TERMINALS)


def _note(run: Run, *, exact: bool = True) -> float:
    """Notes what the program uses now; its memory in MiB, with `exact` a true count where the cheap sum is over
    the limit."""
    pids = watch.others()
    seen = watch.sample(pids)
    run.tasks = max(run.tasks, seen.tasks)
    run.cpu_s = max(run.cpu_s, run.reaped_s + seen.cpu_s, run.account.note(seen.own_s))
    memory: float | None = seen.memory_mib
    if seen.memory_mib > run.limits.memory_mib:
        memory = watch.exact_memory_mib(pids) if exact else 0.0
    memory = seen.memory_mib if memory is None else memory
    run.peak_mib = max(run.peak_mib, memory)
    return memory


def _out_of_memory() -> bool:
    for path in OOM_FILES:
        try:
            counts = dict(line.split() for line in Path(path).read_text().splitlines())
        except (OSError, ValueError):
            continue
        return int(counts.get("oom_kill", 0)) > 0
    return False


def _send_outputs(names: tuple[str, ...], limits: Limits) -> None:
    """Everything that could change a file is dead; what is no plain file within its limit is refused."""
    os.chmod(OUT, 0o700)
    folder = os.open(OUT, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    for name in names:
        try:
            handle = _open_whatever_its_mode(folder, name, limits.file_mib * MIB)
        except Refused as refusal:
            send(frames.REFUSED, str(refusal).encode())
            return
        if handle is not None:
            send(frames.FILE, name.encode())
            while block := os.read(handle, min(BLOCK, frames.MOST)):
                send(frames.DATA, block)
            os.close(handle)


def _open_whatever_its_mode(folder: int, name: str, cap: int) -> int | None:
    try:
        if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.chmod(name, 0o600, dir_fd=folder)
    except FileNotFoundError:
        return None
    return open_output(folder, name, cap)


def _first_line() -> bytes:
    """The job, without a byte of what follows it."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            raise SystemExit("nobody wants this run any more")
        line += byte
    return bytes(line)


if __name__ == "__main__":
    main()
