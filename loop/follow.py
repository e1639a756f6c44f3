"""Showing a campaign as it goes: a line a step, a live line for long work, and the table at the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

from governance.rules import halt_over
from loop.models import Campaign, Generation, HiddenQuery
from loop.presenters import waits

POLL_S = 0.5
QUIET_S = 10.0

STEP_WORDS = {
    Generation.Step.PREPARE: "preparing",
    Generation.Step.ROLL_OUT: "rolling out the parent",
    Generation.Step.DECIDE: "deciding",
    Generation.Step.EDIT: "committing the edit",
    Generation.Step.TRAIN: "training an adapter",
    Generation.Step.COMPARE: "scoring the candidate on public-val",
}


@dataclass
class Ticker:
    """Prints lines; on a terminal the last one is live and is written over, elsewhere it comes every ten seconds."""

    out: TextIO
    started: float = field(default_factory=time.monotonic)
    _live: str = ""
    _said_at: float = 0.0

    def line(self, text: str) -> None:
        """A line that stays, with the seconds since the start."""
        self._clear()
        self.out.write(f"[{time.monotonic() - self.started:5.0f} s] {text}\n")
        self.out.flush()
        self._said_at = time.monotonic()

    def live(self, text: str) -> None:
        """What is going on now."""
        if text == self._live:
            return
        if self.out.isatty():
            width = shutil.get_terminal_size().columns - 1
            self.out.write("\r\x1b[K" + f"          {text}"[:width])
            self.out.flush()
            self._live = text
        elif time.monotonic() - self._said_at >= QUIET_S:
            self.line(text)

    def _clear(self) -> None:
        if self._live:
            self.out.write("\r\x1b[K")
            self._live = ""


def follow(campaign: Campaign, ticker: Ticker, alive: Callable[[], None] = lambda: None) -> Campaign:
    """Show the campaign until it ends and return it as it ended. `alive` may raise to stop waiting."""
    told: dict[int, str] = {}
    verifying, waiting = False, ""
    while True:
        campaign.refresh_from_db()
        for row in campaign.generations.order_by("number"):
            _tell(row, told, ticker)
        queries = list(HiddenQuery.objects.filter(campaign=campaign).select_related("verification"))
        if queries and not verifying:
            verifying = True
            ticker.line("The best release was submitted: the verifier runs it on the hidden set")
        if (told_now := waits(queries)) != waiting:
            waiting = told_now
            ticker.line(waiting or "The verifier tries the hidden test again")
        if campaign.status != Campaign.Status.RUNNING:
            ticker.line(f"Campaign {campaign.status}: {campaign.status_reason}")
            return campaign
        if halt_over(campaign.task.slug) is not None:
            ticker.live("stopped by a person; two people can resume it (manage.py resume)")
        alive()
        time.sleep(POLL_S)


def _tell(row: Generation, told: dict[int, str], ticker: Ticker) -> None:
    if row.step == Generation.Step.DONE:
        if told.get(row.number) != row.step:
            ticker.line(f"generation {row.number}: {summary(row)}")
        told[row.number] = row.step
        return
    if told.get(row.number) != row.step:
        told[row.number] = row.step
        what = STEP_WORDS[Generation.Step(row.step)]
        lever = f" ({row.lever})" if row.lever else ""
        ticker.line(f"generation {row.number}{lever}: {what}")
        if row.step in {Generation.Step.EDIT, Generation.Step.TRAIN} and row.decision.get("reason"):
            ticker.line(f"              {row.decision['reason']}")
    elif row.progress.get("text"):
        ticker.live(f"generation {row.number}: {row.progress['text']}")


def summary(row: Generation) -> str:
    """One finished generation in a line."""
    scores = f"{number(row.score_before)} -> {number(row.score_after)}"
    return f"{row.lever or 'none'}, public-val {scores}, {row.verdict}: {row.reason}"


def number(value: float | None) -> str:
    """A score for people; a dash when it is unknown."""
    return "-" if value is None else f"{value:.3f}"


def table(campaign: Campaign) -> str:
    """The campaign's generations as a table of text, under the evaluator epoch that all of its scores are of."""
    head = ("gen", "lever", "public-val", "verdict", "cost $", "seconds", "why")
    rows = [head]
    for row in campaign.generations.order_by("number"):
        seconds = (row.finished_at - row.started_at).total_seconds() if row.finished_at else None
        rows.append(
            (
                str(row.number),
                row.lever or "-",
                f"{number(row.score_before)} -> {number(row.score_after)}",
                row.verdict,
                f"{row.cost_usd:.2f}",
                "-" if seconds is None else f"{seconds:.0f}",
                row.reason,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.insert(0, f"public-val scores of evaluator epoch {campaign.epoch[:12]}")
    return "\n".join([*lines[:2], "-" * min(120, max(map(len, lines))), *lines[2:]])
