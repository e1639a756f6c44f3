"""What a task must show before a campaign may start on it, and whether it did. Pure, apart from reading verdicts.

A cheat's best end is no score. One that is scored must not come out better than answering without looking.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from loop.catalog import Metric, PreflightNeed, TaskSpec
from loop.errors import TaskError
from loop.toml_tables import Table
from loop.types import Outcome

HONEST, CHEATS, EXPOSED = "honest", "cheats", "exposed"
KINDS = (HONEST, CHEATS, EXPOSED)
SCREENED = "screened"
EXPECTED = "expected.toml"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was examined: what was expected, what was found, in words; `seconds` of wall time."""

    name: str
    expected: str
    found: str
    passed: bool
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, as it is stored and printed."""
        return asdict(self)

    def line(self) -> str:
        """The check in a line, for progress."""
        return f"{'ok ' if self.passed else 'RED'} {self.name}: {self.found} ({self.seconds:.1f} s)"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one shipped submission must come to.

    `outcome` is an Outcome's value, or `screened` where the screen of edits refuses the tree before it could run.
    A submission that is scored must lie in [low, high]. `settings` makes it the seed harness with other tunables
    in place of a folder of its own.
    """

    kind: str
    name: str
    outcome: str
    low: float | None = None
    high: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name in the table of checks."""
        return f"{'cheat' if self.kind == CHEATS else self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Ended:
    """What a submission came to: outcome, score (None: unknown) and the reason in words."""

    outcome: str
    score: float | None
    reason: str = ""

    def words(self) -> str:
        """For the table."""
        if self.outcome == Outcome.OK:
            return "no score" if self.score is None else f"score {self.score:.4g}"
        return self.outcome.replace("_", " ")


def read_verdicts(task: TaskSpec) -> tuple[Verdict, ...]:
    """The verdicts of a task's tests/expected.toml, in its order.

    Raises TaskError for a verdict without its submission, a submission without its verdict, or a malformed table.
    """
    path = task.tests / EXPECTED
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TaskError(f"{task.id} has no tests/{EXPECTED}; a preflight needs its verdicts.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise TaskError(f"{path} cannot be read as TOML: {error}.") from None
    table = Table(str(path), "", values)
    table.refuse_unknown(frozenset(KINDS))
    found: list[Verdict] = []
    for kind in KINDS:
        group = table.table(kind, optional=True)
        found += [_verdict(group.table(name), kind, name) for name in group.values]
        shipped = {entry.parent.name for entry in (task.tests / kind).glob("*/main.py")}
        named = {each.name for each in found if each.kind == kind and not each.settings}
        if shipped != named:
            odd = sorted(shipped ^ named)[0]
            raise table.error(f"{kind}.{odd}", "needs both a verdict here and a folder with main.py")
    return tuple(found)


def _verdict(table: Table, kind: str, name: str) -> Verdict:
    table.refuse_unknown(frozenset({"outcome", "score", "settings"}))
    outcome = table.choice("outcome", (*(each.value for each in Outcome), SCREENED))
    if (outcome == Outcome.OK) != ("score" in table.values):
        raise table.error("score", "belongs to the outcome ok, and only to it")
    if kind == HONEST and outcome != Outcome.OK:
        raise table.error("outcome", "of an honest submission must be ok")
    settings = table.table("settings", optional=True).values
    if outcome != Outcome.OK:
        return Verdict(kind, name, outcome, settings=settings)
    pair = table.values["score"]
    if not isinstance(pair, list) or len(pair) != 2 or not pair[0] <= pair[1]:
        raise table.error("score", "must be two numbers, the lower one first")
    return Verdict(kind, name, outcome, float(pair[0]), float(pair[1]), settings)


def judge(verdict: Verdict, ended: Ended, task: TaskSpec) -> Check:
    """Whether a submission came to what it must come to."""
    if verdict.kind == EXPOSED:
        return _judge_exposed(verdict, ended, task)
    expected, passed = verdict.outcome.replace("_", " "), ended.outcome == verdict.outcome
    if verdict.low is not None and verdict.high is not None:
        expected = f"score in [{verdict.low:.4g}, {verdict.high:.4g}]"
        passed = passed and ended.score is not None and verdict.low <= ended.score <= verdict.high
    found = ended.words()
    if verdict.kind == CHEATS and ended.score is not None and not _is_blind(ended.score, task):
        passed, found = False, f"{found}, better than answering without looking"
    return Check(verdict.title, expected, found, passed)


def _is_blind(score: float, task: TaskSpec) -> bool:
    """Whether a score is no better than answering without looking."""
    need = needed(task)
    if task.metric.maximize:
        return score <= need.base_rate + need.tolerance
    return score >= need.base_rate - need.tolerance


def _judge_exposed(verdict: Verdict, ended: Ended, task: TaskSpec) -> Check:
    """A hole that is known and told; only labels that are public anyway may have one."""
    told = task.label_secrecy == "public"
    expected = "known not to be refused (public labels)" if told else "none where labels are secret"
    scored = ended.outcome == Outcome.OK and ended.score is not None
    found = ended.words() if scored else f"{ended.words()}: closed by now, so it belongs under cheats"
    return Check(verdict.title, expected, found, told and scored)


def judge_seed(ended: Ended) -> Check:
    """The seed harness runs and is scored."""
    passed = ended.outcome == Outcome.OK and ended.score is not None
    found = ended.words() if passed else f"{ended.words()}: {ended.reason}"
    return Check("seed harness", "a score", found, passed)


def judge_empty(ended: Ended) -> Check:
    """A harness that writes nothing gets no score: an unknown, not a zero."""
    return Check("empty harness", "no score", ended.words(), ended.score is None)


def judge_reference(name: str, score: float | None, task: TaskSpec) -> Check:
    """The reference solution reaches its bar."""
    need = needed(task)
    reached = score is not None and (score >= need.bar if task.metric.maximize else score <= need.bar)
    bar = f"{'at least' if task.metric.maximize else 'at most'} {need.bar:.4g}"
    return Check(f"reference {name}", bar, "no score" if score is None else f"{score:.4g}", reached)


def judge_blind(name: str, score: float | None, task: TaskSpec) -> Check:
    """Answering without looking is worth the base rate."""
    need = needed(task)
    near = score is not None and abs(score - need.base_rate) <= need.tolerance
    expected = f"{need.base_rate:.4g} within {need.tolerance:.4g}"
    return Check(f"base rate {name}", expected, "no score" if score is None else f"{score:.4g}", near)


def judge_repeat(first: Any, second: Any, metric: Metric) -> Check:
    """The evaluator says the same of the same outputs: every item, every metric."""
    same = first is not None and first == second
    return Check("evaluator twice", f"the same {metric.name}", "the same" if same else "another result", same)


def judge_splits(rows: Mapping[str, Iterable[tuple[str, str]]], sizes: Mapping[str, int]) -> Check:
    """Splits have their declared sizes and share no id and no row. `rows` maps a split to its (id, content) pairs.

    An empty content says nothing and is not compared.
    """
    ids: dict[str, str] = {}
    contents: dict[str, str] = {}
    troubles = []
    for split, pairs in rows.items():
        listed = list(pairs)
        if len(listed) != sizes[split]:
            troubles.append(f"{split} has {len(listed)} items, not {sizes[split]}")
        shared = sum(ids.get(key, split) != split for key, _ in listed)
        shared += sum(bool(text) and contents.get(text, split) != split for _, text in listed)
        if shared:
            troubles.append(f"{split} shares {shared} ids or rows with another split")
        ids |= {key: split for key, _ in listed}
        contents |= {text: split for _, text in listed}
    found = "; ".join(troubles) or "as declared, nothing shared"
    return Check("splits", "declared sizes, nothing shared", found, not troubles)


def needed(task: TaskSpec) -> PreflightNeed:
    """The task's [preflight] table. Raises TaskError for a task without one."""
    if task.preflight is None:
        raise TaskError(
            f"task.toml of {task.id} has no [preflight] table; name its reference, bar, base_rate and tolerance."
        )
    return task.preflight


def is_green(checks: Iterable[Check]) -> bool:
    """Whether there was something to check and all of it passed."""
    listed = list(checks)
    return bool(listed) and all(check.passed for check in listed)


def as_table(checks: Iterable[Check]) -> str:
    """The checks as a table of text."""
    head = ("check", "expected", "found", "seconds", "")
    body = [
        (each.name, each.expected, each.found, f"{each.seconds:.1f}", "ok" if each.passed else "RED")
        for each in checks
    ]
    rows = (head, *body)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([lines[0], "-" * min(120, max(map(len, lines))), *lines[1:]])
