"""The trusted core under load: random histories by the thousand; moves and the inbox of an instance that is full."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

from django.test import Client
from django.urls import reverse

from deploy.home import REPO

MOVE_MS, INBOX_MS = 200.0, 100.0
SHARE = 50  # interleavings that a process does at the least; it takes seconds to set up
SHARES = 10  # of each processor, for the progress shown
STORMS = 5  # that a process does at the most
Say = Callable[[str], None]
Times = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Size:
    """How full the instance is made, and how many moves are measured."""

    proposals: int
    entries: int
    moves: int


def interleavings(first: int, count: int, say: Say) -> dict[str, Any]:
    """Random histories `first`, `first` + 1, ... against the oracle of the tests, on every processor.

    {"interleavings": how many held, "acts": {what: how often}, "broken": the first history that broke a guard, or ""}.
    """
    most = max(SHARE, count // ((os.cpu_count() or 1) * SHARES))
    return _in_shares("interleavings", "tests.governance.proof", range(first, first + count), most, say)


def storms(first: int, count: int, say: Say) -> dict[str, Any]:
    """Random people acting at once, each on a connection of their own, on private PostgreSQL clusters.

    {"storms": how many held, "acts": {what: how often}, "broken": what broke, or ""}. Each is checked by a replay of
    all that its cluster saw, so a cluster sees few.
    """
    return _in_shares("storms", "tests.governance.proof.storms", range(first, first + count), STORMS, say)


def _in_shares(what: str, module: str, numbers: range, most: int, say: Say) -> dict[str, Any]:
    """Run a module of the tests over these numbers, at most so many a process, on every processor."""
    shares = [numbers[at : at + most] for at in range(0, len(numbers), most)]
    acts: Counter[str] = Counter()
    held, broken = 0, ""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for tallies, problem in pool.map(lambda share: _run(module, share[0], len(share)), shares):
            held += len(tallies)
            for tally in tallies:
                acts.update(tally)
            broken = broken or problem
            say(f"{held} of {len(numbers)} {what}, {sum(acts.values())} acts")
    return {what: held, "acts": dict(sorted(acts.items())), "broken": broken}


def _run(module: str, first: int, count: int) -> tuple[list[dict[str, int]], str]:
    """The lines of JSON that a process of its own, in a data home of its own, prints; and what else, if it fails."""
    with TemporaryDirectory(prefix="pawl-core-") as home:
        environment = {**os.environ, "PAWL_HOME": home, "DJANGO_SETTINGS_MODULE": "deploy.settings"}
        environment.pop("DATABASE_URL", None)
        done = subprocess.run(
            [sys.executable, "-m", module, str(first), str(count)],
            cwd=REPO,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    lines = done.stdout.splitlines()
    tallies = [json.loads(line) for line in lines if line.startswith("{")]
    if done.returncode == 0:
        return tallies, ""
    return tallies, "\n".join(lines[len(tallies) :]) or done.stderr[-2000:]


def moves_and_inbox(size: Size, say: Say) -> dict[str, float]:
    """Medians in milliseconds of promote, revert and the inbox, in an instance as full as `size` says.

    `..._cpu_ms` is this process's own processor time, which other work on the machine does not lengthen. Empty when no
    move is to be measured.
    """
    if size.moves < 1:
        return {}
    from tests.governance.cast import make_world
    from tests.governance.proof.crowd import add_entries, add_proposals

    world = make_world()
    found = _moves(world, size.moves, "small")
    add_proposals(world, size.proposals, lambda done: say(f"{done:,} of {size.proposals:,} proposals"))
    add_entries(size.entries, lambda done: say(f"{done:,} of {size.entries:,} entries"))
    say("Measuring")
    found |= _inbox(world) | _moves(world, size.moves, "full")
    return {**found, "move_bound_ms": MOVE_MS, "inbox_bound_ms": INBOX_MS}


def _moves(world: Any, count: int, where: str) -> dict[str, float]:
    """Medians of promote and revert, checkpoints included, once one of each has warmed everything up."""
    from governance.actions import lift_hold, promote, revert
    from tests.governance.cast import REASON, approved

    operator, second = world.cast.act("operator"), world.cast.act("starter")
    times: dict[str, list[Times]] = {"promote": [], "revert": []}
    for _ in range(count + 1):
        proposal = approved(world)
        for name, act in (
            ("promote", lambda: promote(proposal=proposal, reason=REASON, by=operator)),  # noqa: B023
            (
                "revert",
                lambda: revert(key="release:digits", to_digest=world.seed.digest, reason=REASON, by=operator),
            ),
        ):
            times[name].append(_timed(act))
        for by in (operator, second):
            lift_hold(digest=proposal.target, reason=REASON, by=by)
    moved = {name: _medians(f"{name}_{where}", taken) for name, taken in times.items()}
    return {**moved["promote"], **moved["revert"]}


def _inbox(world: Any, looks: int = 21) -> dict[str, float]:
    """The medians of a reviewer's look at the inbox."""
    client = Client(headers={"host": "localhost"})
    client.force_login(world.cast.rita.user)

    def look() -> None:
        page = client.get(reverse("desk:inbox"))
        if page.status_code != 200:
            raise RuntimeError(f"The inbox answered {page.status_code}.")

    return _medians("inbox", [_timed(look) for _ in range(looks)])


def _timed(act: Callable[[], object]) -> Times:
    """How long an act takes: by the clock, and of this process's processor time; in milliseconds."""
    begun, used = time.perf_counter(), time.process_time()
    act()
    return (time.perf_counter() - begun) * 1000, (time.process_time() - used) * 1000


def _medians(name: str, taken: list[Times]) -> dict[str, float]:
    """The medians, without the first, which warmed everything up."""
    wall, cpu = zip(*taken[1:], strict=True)
    return {f"{name}_ms": statistics.median(wall), f"{name}_cpu_ms": statistics.median(cpu)}


def _bounded(found: dict[str, Any]) -> Iterator[tuple[str, float, float, float]]:
    """(what, milliseconds, of them processor time, bound) of each figure that has a bound."""
    speed = found["speed"]
    for name in [name for name in speed if f"{name.removesuffix('_ms')}_cpu_ms" in speed]:
        plain = name.removesuffix("_ms")
        bound = speed["inbox_bound_ms" if plain == "inbox" else "move_bound_ms"]
        yield plain.replace("_", ", "), speed[name], speed[f"{plain}_cpu_ms"], bound


def failures(found: dict[str, Any]) -> Iterator[str]:
    """One sentence for each bound that does not hold."""
    if found["broken"]:
        yield f"A guard broke: {found['broken']}"
    if found["storms"]["broken"]:
        yield f"A storm broke something: {found['storms']['broken']}"
    for what, figure, _, bound in _bounded(found):
        if figure >= bound:
            yield f"{what}: {figure:.0f} ms; the bound is {bound:.0f} ms."


def as_text(found: dict[str, Any]) -> str:
    """The figures with their bounds and verdicts, a line each."""
    lines = []
    if found["interleavings"] or found["broken"]:
        done, acts = found["interleavings"], sum(found["acts"].values())
        verdict = "A GUARD BROKE" if found["broken"] else "no guard broke"
        lines.append(f"{done} interleavings, {acts} acts: {verdict}")
    wild = found["storms"]
    if wild["storms"] or wild["broken"]:
        verdict = "SOMETHING BROKE" if wild["broken"] else "log, rows and rules agree"
        lines.append(f"{wild['storms']} storms on PostgreSQL, {sum(wild['acts'].values())} acts: {verdict}")
    for what, figure, cpu, bound in _bounded(found):
        verdict = "holds" if figure < bound else "FAILS"
        lines.append(
            f"{what}: {figure:.1f} ms at the median, {cpu:.1f} ms of them processor time, "
            f"bound {bound:.0f} ms: {verdict}"
        )
    return "\n".join(lines)
