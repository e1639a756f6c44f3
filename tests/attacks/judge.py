"""Runs attacks and judges them from outside. An attack's own word counts only against us."""

from __future__ import annotations

import math
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from loop.types import Limits, Outcome
from tests.attacks import observer, outside
from tests.attacks.arena import Arena
from tests.attacks.bait import HONEST_SCORE, MEMORY_MIB, PROCESSES, changes, snapshot
from tests.attacks.catalogue import Attack
from tests.attacks.workers import Observed, Worker, worker

PARALLEL = 2
SLACK_S = 2.0  # a busy machine
LOG_CHARS = 300_000
# The control group's limit, and the watchdog's: it looks every 50 ms and may be overrun meanwhile.
FILES_MIB = Limits().scratch_mib + Limits().shm_mib + Limits().out_mib + 16
OVERRUN = 2.0
SOCKETS_MIB = 256
UNESCAPED = "\x00\x07\x1b\u200b\u202e"
CONTAINED, INFORMATION, NOT_CONTAINED = "yes", "information only", "no"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one attack. `problems` are sentences; with none it was contained. Times in s, memory in MiB: as seen
    from outside, and by the sandbox's own account where nobody else saw any."""

    attack: Attack
    worker: str
    outcome: str
    problems: tuple[str, ...]
    seconds: float
    peak_mib: float | None
    log: str = ""

    @property
    def contained(self) -> str:
        """CONTAINED, INFORMATION or NOT_CONTAINED."""
        if self.problems:
            return NOT_CONTAINED
        return INFORMATION if self.attack.information else CONTAINED

    def explain(self) -> str:
        """Why it was not contained, with the end of its log."""
        return f"{self.attack.name} as {self.worker}: {' '.join(self.problems)}\n{self.log[-1500:]}"


def judge_all(attacks: Iterable[Attack], kind: str, parallel: int = PARALLEL) -> Iterator[Verdict]:
    """The verdicts on these attacks by a worker of this kind, as they come. Raises WorkerError."""
    with worker(kind, parallel) as works, ThreadPoolExecutor(max_workers=parallel) as pool:
        waiting = [pool.submit(judge, attack, works) for attack in attacks]
        for done in as_completed(waiting):
            yield done.result()


def judge(attack: Attack, works: Worker) -> Verdict:
    """The verdict on one attack, in an arena of its own."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pawl-arena-") as folder:
        arena = Arena(Path(folder), wall_s=attack.wall_s)
        try:
            arena.harness(attack.folder)
            problems: list[str] = []
            peak = 0.0
            for _ in range(attack.runs):
                observed, seen, found = _one_run(attack, works, arena)
                problems += found
                peak = max(peak, seen.peak_mib or observed.usage.peak_mib or 0.0)
        finally:
            arena.close()
    outcome = observed.outcome.value if observed.outcome else "no outcome"
    seconds = time.monotonic() - began
    return Verdict(attack, works.name, outcome, tuple(problems), seconds, peak or None, observed.log)


def _one_run(attack: Attack, works: Worker, arena: Arena) -> tuple[Observed, observer.Seen, list[str]]:
    seed, before, system = secrets.randbits(60), snapshot(arena.watched()), outside.sentinels()
    with observer.watching(seed) as seen:
        observed = works.run(arena, seed)
    problems = [*_result(attack, observed), *_log(attack, observed), *_outputs(arena)]
    refused = attack.plants and observed.outcome is Outcome.HARNESS_FAILED and observed.usage.wall_s is None
    if not refused:
        problems += [*_bounds(attack, observed), *_memory(observed, seen)]
    if attack.plants:
        problems += arena.versioned()
    if arena.leaked(observed.log, arena.outputs):
        problems.append("A secret is in its log or its outputs.")
    if changed := changes(before, snapshot(arena.watched())):
        problems.append(f"Changed: {', '.join(changed)}.")
    if outside.sentinels() != system:
        problems.append("It changed the system's own folders.")
    if touched := arena.touched():
        problems.append(f"It reached a listener: {', '.join(touched)}.")
    if left := sorted({*outside.settled(lambda: outside.with_seed(seed)), *works.survivors()}):
        problems.append(f"Processes outlived it: {left}.")
    if traces := works.traces():
        problems.append(f"It left traces: {', '.join(traces)}.")
    return observed, seen, problems


def _result(attack: Attack, observed: Observed) -> Iterator[str]:
    if observed.outcome not in attack.outcomes:
        said = observed.outcome.value if observed.outcome else "none"
        wanted = " or ".join(each.value for each in attack.outcomes)
        yield f"Its outcome is {said}, not {wanted} ({observed.reason})."
    if observed.outcome is not Outcome.OK:
        if observed.score is not None:
            yield f"It failed and has the score {observed.score}."
        if not observed.reason:
            yield "It failed without a reason."
    elif observed.score is None or not math.isclose(observed.score, HONEST_SCORE):
        yield f"Its score is {observed.score}, not the honest {HONEST_SCORE:.3f} ({observed.reason})."


def _log(attack: Attack, observed: Observed) -> Iterator[str]:
    if "BREACH" in observed.log and not attack.information:
        yield "It says itself that it succeeded."
    if len(observed.log) > LOG_CHARS:
        yield f"{len(observed.log)} characters of its log were kept."
    if any(char in observed.log + observed.reason for char in UNESCAPED):
        yield "Its log or the reason for its end holds control characters."


def _bounds(attack: Attack, observed: Observed) -> Iterator[str]:
    usage = observed.usage
    if usage.wall_s is None or usage.wall_s > attack.wall_s + SLACK_S:
        yield f"It ran for {usage.wall_s} s."
    if usage.processes is None or usage.processes > PROCESSES:
        yield f"It had {usage.processes} processes."


def _memory(observed: Observed, seen: observer.Seen) -> Iterator[str]:
    """What a process that has nothing to do with the sandbox saw of it. An ordinary user may not look everywhere."""
    most = MEMORY_MIB * OVERRUN + FILES_MIB
    if observed.usage.peak_mib is None:
        yield "The sandbox has no account of its memory."
    # A program that fills memory in one call of the kernel cannot be looked at meanwhile; then our own account must do.
    if seen.peak_mib is None and (observed.usage.peak_mib or 0.0) > most:
        yield f"It had {observed.usage.peak_mib} MiB by the sandbox's own account, and nobody outside saw it."
    if (seen.peak_mib or 0.0) > most + SOCKETS_MIB:
        yield f"{seen.peak_mib:.0f} MiB were seen, {seen.sockets_mib or 0.0:.0f} of them in its sockets."
    if (seen.group_mib or 0.0) > most:
        yield f"Its memory group had {seen.group_mib:.0f} MiB."


def _outputs(arena: Arena) -> Iterator[str]:
    """Only the named output came out, as a plain file within its limit, and nothing else lies in the work folder."""
    allowed = arena.task.outputs.file
    for path in sorted(arena.workdir.rglob("*")):
        status = path.lstat()
        if path == arena.outputs and stat.S_ISDIR(status.st_mode):
            continue
        plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        small = status.st_size <= arena.task.limits.file_mib << 20
        if path != arena.outputs / allowed or not plain or not small:
            yield f"It left {os.path.relpath(path, arena.folder)}."
