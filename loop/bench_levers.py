"""What each lever is worth on hidden data, over several seeds, in a data home of its own.

This reads the hidden set as often as it likes and so belongs to the people who build the service: nothing that it
finds goes back to a campaign, and its data home is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from governance import actions
from governance.actors import VERIFIER
from governance.audit.log import Facts
from governance.models import Release, Task
from loop import training_work, verification
from loop.advance import advance_once
from loop.archive import best
from loop.campaigns import Wish, start
from loop.contract import Budgets
from loop.demonstration import make_cast
from loop.evidence import accepted
from loop.hidden import Reading, open_hidden
from loop.installation import install
from loop.installed import InstalledTask, open_task
from loop.models import Campaign
from loop.preflights import hold_preflight
from loop.verification import run_hidden

GENERATIONS = 5
CELLS = ("neither", "harness", "weights", "both")


@dataclass(frozen=True, slots=True)
class SeedResult:
    """Hidden scores of the 2x2 that one campaign ended with; None for a lever that it did not move."""

    seed: int
    scores: dict[str, float | None]


def measure_seed(task: Task, seed: int, say: Callable[[str], None]) -> SeedResult:
    """Run one campaign with both levers from the seed harness and score its 2x2 on the hidden set."""
    operator = make_cast().people["demo-operator"]
    campaign = start(task, Wish("search", seed, budgets=Budgets(generations=GENERATIONS)), operator)
    _run(campaign)
    campaign.refresh_from_db()
    say(f"seed {seed}: {campaign.status}: {campaign.status_reason}")
    top = Release.objects.get(digest=best(accepted(campaign)).release)
    installed = open_task(task)
    base = campaign.base_release
    pairs = {
        "neither": (base.harness, base.adapter),
        "harness": (top.harness, base.adapter),
        "weights": (base.harness, top.adapter),
        "both": (top.harness, top.adapter),
    }
    scores: dict[str, float | None] = {}
    for name, (harness, adapter) in pairs.items():
        moved = (name in {"neither", "weights"} or harness != base.harness) and (
            name in {"neither", "harness"} or adapter != base.adapter
        )
        if not moved:
            scores[name] = None
            continue
        draft = actions.ReleaseDraft(
            task=task, harness=harness, adapter=adapter, parent=base, binding=base.binding, origin="bench"
        )
        release = actions.register_release(draft=draft, by=operator)
        scores[name] = _hidden_score(installed, release, seed)
        say(f"seed {seed}: {name:<8} {_shown(scores[name])}")
    return SeedResult(seed, scores)


def bench_levers(seeds: int, say: Callable[[str], None]) -> list[SeedResult]:
    """Install `digits` and measure that many seeds."""
    operator = make_cast().people["demo-operator"]
    task = install(settings.REPO / "tasks" / "digits", operator)
    hold_preflight(task, operator, lambda check: say(check.line()))
    return [measure_seed(task, seed, say) for seed in range(seeds)]


def as_table(results: list[SeedResult]) -> str:
    """Hidden accuracy by seed and lever."""
    lines = ["seed  " + "  ".join(f"{name:>8}" for name in CELLS)]
    for result in results:
        lines.append(f"{result.seed:<4}  " + "  ".join(f"{_shown(result.scores[name]):>8}" for name in CELLS))
    return "\n".join(lines)


def _shown(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def _run(campaign: Campaign) -> None:
    """The campaign's jobs, one after another in this process."""
    work = {
        "verify": lambda key: verification.verify(int(key)),
        "train": lambda key: training_work.train(int(key)),
    }
    queue: list[tuple[str, str, str | int]] = [("loop", "advance", campaign.ref)]
    while queue:
        _, function, key = queue.pop(0)
        if function == "advance":
            queue += advance_once(Campaign.objects.get(ref=key))
        else:
            work[function](key)
            queue.append(("loop", "advance", campaign.ref))


def _hidden_score(task: InstalledTask, release: Release, seed: int) -> float | None:
    facts = Facts(task=task.row.slug, subject_digest=release.digest, detail={"bench": "levers", "seed": seed})
    reading = Reading(f"bench {seed}", VERIFIER, ("task", task.row.slug), facts)
    with open_hidden(task.evaluator, task.spec.inputs_file, reading) as hidden:
        report = run_hidden(task, release, hidden, seed)
    return report.score.value if report.score else None
