"""What a run's end means: one wording for every backend. Pure, standard library only."""

from __future__ import annotations

import signal

from loop.types import Limits, Outcome

SIGNAL_BASE = 128
CPU_TOLERANCE = 0.9
Verdict = tuple[Outcome, str, int | None]


def wall(limits: Limits) -> tuple[Outcome, str]:
    """The run outstayed its time."""
    return Outcome.TIMEOUT, f"The program was stopped after {limits.wall_s:g} s of wall time."


def memory(limits: Limits) -> tuple[Outcome, str]:
    """The run needed more memory than it may have."""
    return Outcome.LIMIT, f"The program used more than {limits.memory_mib} MiB of memory."


def processor(limits: Limits) -> tuple[Outcome, str]:
    """The run's processes together used up their processor time."""
    return Outcome.LIMIT, f"The program used more than {limits.cpu_s} s of processor time."


def log(limits: Limits) -> tuple[Outcome, str]:
    """The run wrote too much."""
    return Outcome.LIMIT, f"The program wrote more than {limits.log_kill_mib} MiB to its log."


def inodes(most: int) -> tuple[Outcome, str]:
    """The run filled its scratch space with files."""
    return Outcome.LIMIT, f"The program made more than {most} files in its scratch space."


def sockets(most: int) -> tuple[Outcome, str]:
    """The run opened sockets, whose buffers the kernel keeps, without end."""
    return Outcome.LIMIT, f"The program had more than {most} sockets."


def terminals(most: int) -> tuple[Outcome, str]:
    """The run opened pseudo-terminals, of which the machine has so many, without end."""
    return Outcome.LIMIT, f"The program had more than {most} terminals."


def of_exit(code: int | None, cpu_s: float, limits: Limits) -> Verdict:
    """Outcome, reason and exit code of a program that ended by itself.

    `code` is the exit status, 128 + n for signal n, or None where nobody was left to tell it.
    """
    if code == 0:
        return Outcome.OK, "", 0
    if code is None:
        return Outcome.HARNESS_FAILED, "The program's sandbox was killed from inside.", None
    if code <= SIGNAL_BASE:
        return Outcome.HARNESS_FAILED, f"The program ended with exit status {code}.", code
    number = code - SIGNAL_BASE
    if cpu_s >= CPU_TOLERANCE * limits.cpu_s and number in {signal.SIGXCPU, signal.SIGKILL}:
        return (*processor(limits), code)
    name = signal.strsignal(number) or "unknown"
    return Outcome.HARNESS_FAILED, f"The program ended by signal {number} ({name}).", code
