"""Puts the exhibit together that detectors look at: from the verifier's own runs, its disk and the database."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from governance.digests import json_digest, tree_digest
from governance.models import Release
from loop import honeytokens
from loop.catalog import PUBLIC_SPLITS, read_ids
from loop.detectors.exhibit import HIDDEN, Call, Canaries, Digests, Exhibit, Pairs, Readiness, Round
from loop.detectors.sample import Rolled, pick
from loop.detectors.transcript import flagged_calls
from loop.installation import ARTIFACTS, LABELS, store
from loop.installed import InstalledTask, runtime_by, tree_of
from loop.models import Generation, HiddenQuery, Preflight, Rollout, TrainingJob
from loop.preflights import latest
from loop.repos import Tree
from loop.rollout import RolloutReport
from loop.rollouts import PUBLIC_VAL
from loop.types import ModelCall, Score

MOST_TEXT = 2_000_000
MOST_ROUNDS = 8
Items = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class HiddenReport(RolloutReport):
    """A hidden rollout. Its score holds the items that count; `canaries` says how the impossible ones went.

    `wrote` is the text of its output files, untrusted and cut at 2 million letters.
    """

    canaries: Canaries | None = None
    wrote: str = ""


@dataclass(frozen=True, slots=True)
class Runs:
    """The verifier's runs: the candidate's and the live release's, and the candidate's second one.

    `names` and `names_again` map the ids of each opening of the hidden set to the original ones.
    """

    new: HiddenReport
    old: HiddenReport
    again: HiddenReport | None
    names: Mapping[str, str]
    names_again: Mapping[str, str]
    answers: tuple[str, ...]
    digests: tuple[Digests, ...]


def hidden_report(
    report: RolloutReport, task: InstalledTask, canaries: frozenset[str], outputs: Path
) -> HiddenReport:
    """The report with canaries (by id) taken out of its score and its outputs read as text."""
    base = {each.name: getattr(report, each.name) for each in fields(RolloutReport)}
    wrote = "".join(
        (outputs / file.name).read_bytes()[:MOST_TEXT].decode("utf-8", "replace")
        for file in report.outputs
        if (outputs / file.name).is_file()
    )
    if report.score is None or not canaries:
        return HiddenReport(**base, wrote=wrote)
    metric = task.spec.metric
    best = metric.item_high if metric.maximize else metric.item_low
    items = report.score.items
    passed = sum(items[key] == best for key in canaries)
    counted = {key: value for key, value in items.items() if key not in canaries}
    score = Score(report.score.value, counted, report.score.metrics)
    return HiddenReport(**{**base, "score": score}, canaries=Canaries(passed, len(canaries)), wrote=wrote)


def merged(reports: Sequence[HiddenReport]) -> HiddenReport:
    """Several trials of one release as one report: items by their mean, canaries summed, everything said kept."""
    first = reports[0]
    scores = [each.score for each in reports if each.score is not None]
    canaries = [each.canaries for each in reports if each.canaries is not None]
    return replace(
        first,
        score=Score(_average(scores), _item_means(scores), {}) if scores else None,
        calls=tuple(call for each in reports for call in each.calls),
        log_tail="\n".join(each.log_tail for each in reports),
        wrote="\n".join(each.wrote for each in reports)[:MOST_TEXT],
        canaries=Canaries(sum(each.passed for each in canaries), sum(each.of for each in canaries))
        if canaries
        else None,
    )


def _average(scores: Sequence[Score]) -> float:
    return sum(score.value for score in scores) / len(scores)


def _item_means(scores: Sequence[Score]) -> dict[str, float]:
    return {key: sum(score.items[key] for score in scores) / len(scores) for key in scores[0].items}


def exhibit_of(query: HiddenQuery, task: InstalledTask, runs: Runs) -> Exhibit:
    """Everything that detectors may look at for one hidden query."""
    public_new, public_old = _public(query, query.release), _public(query, query.against)
    spec, inputs = task.spec, task.inputs(PUBLIC_VAL) / task.spec.inputs_file
    originals = frozenset(
        key for split in _public_splits(task) for key in read_ids(task.inputs(split), spec.inputs_file)
    )
    span = spec.metric.high - spec.metric.low
    return Exhibit(
        before=_bytes(tree_of(query.against.harness)),
        after=_bytes(tree_of(query.release.harness)),
        calls=(*_stored_calls(public_new), *calls_of(runs.new.calls, HIDDEN)),
        logs={PUBLIC_VAL: public_new.log_tail if public_new else "", HIDDEN: runs.new.log_tail},
        outputs={HIDDEN: runs.new.wrote},
        answers=(*texts_of(_label_files(task)), *runs.answers),
        ids=originals | frozenset(runs.names.values()),
        inputs=inputs.read_text(encoding="utf-8")[:MOST_TEXT],
        sizes=frozenset(spec.splits.values()),
        public=paired(public_old.items, public_new.items) if public_new and public_old else None,
        hidden=paired(_items(runs.old), _items(runs.new)),
        rerun=_rerun(runs),
        higher_is_better=spec.metric.maximize,
        span=span if math.isfinite(span) else 1.0,
        canaries=runs.new.canaries,
        tokens=honeytokens.all_tokens(),
        digests=runs.digests,
        histories=_histories(query),
        readiness=readiness_of(task),
    )


def readiness_of(task: InstalledTask) -> Readiness | None:
    """What the task's last preflight says, and whether it is of the digests in force; None without any."""
    row = latest(task)
    known = row or Preflight.objects.filter(task=task.row, finished_at__isnull=False).order_by("-pk").first()
    if known is None:
        return None
    failed = tuple(f"{check['name']}: {check['found']}" for check in known.checks if not check["passed"])
    return Readiness(bool(known.green), row is not None, failed)


def guarded(task: InstalledTask, release: Release) -> dict[str, str]:
    """What must not change while rollouts run, by name: evaluator, labels, both runtimes, the service's packages.

    A runtime is known by its files' sizes and times of change, since reading all of it would take seconds.
    """
    parts = task.evaluator.manifest
    found = {
        "evaluator": _digest(store(ARTIFACTS).root / parts["code"]),
        "public labels": _digest(store(LABELS).root / parts["labels"]),
        "runtime of the evaluator": _footprint(runtime_by(parts["runtime"]).path),
        "runtime of the harness": _footprint(runtime_by(release.binding["runtime"]).path),
        "the service's packages": _environment(),
    }
    if release.binding["base_model"]:
        found["base model"] = _footprint(store(ARTIFACTS).root / release.binding["base_model"])
    return found


def compared(
    before: Mapping[str, str], after: Mapping[str, str], manifest: Mapping[str, str]
) -> tuple[Digests, ...]:
    """Guarded things before and after; evaluator and labels are held to what the evaluator's manifest says."""
    known = {"evaluator": manifest["code"], "public labels": manifest["labels"]}
    return tuple(Digests(name, known.get(name, digest), after.get(name)) for name, digest in before.items())


def sampled(query: HiddenQuery, exhibit: Exhibit) -> dict[str, Any]:
    """The trajectories of the candidate's public-val rollout that people should read, drawn by the proposal's ref."""
    new, old = _public(query, query.release), _public(query, query.against)
    if new is None:
        return {}
    flagged = {
        call.item: kind for call, kind in flagged_calls(exhibit) if call.split == PUBLIC_VAL and call.item
    }
    rolled = Rolled(new.pk, new.items, old.items if old else {}, flagged, exhibit.higher_is_better)
    return pick(rolled, query.proposal.ref)


def texts_of(files: Iterable[Path]) -> tuple[str, ...]:
    """Every text and number in the rows of JSON-lines files, ids left out."""
    rows = (json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(text for row in rows for key, value in row.items() if key != "id" for text in _leaves(value))


def paired(first: Items, second: Items) -> Pairs | None:
    """The items that both runs scored, in one order; None when there are none."""
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    return Pairs(tuple(first[key] for key in shared), tuple(second[key] for key in shared))


def calls_of(calls: Iterable[ModelCall], split: str) -> Iterator[Call]:
    """Recorded model calls as detectors read them: all that was said, and whatever else the request asked for."""
    for call in calls:
        yield Call(
            call.index,
            json.dumps(call.request, ensure_ascii=False),
            _said(call.reply),
            call.item_id or "",
            split,
        )


def _stored_calls(rollout: Rollout | None) -> Iterator[Call]:
    if rollout is None:
        return
    for step in rollout.steps.order_by("index").iterator():
        asked = json.dumps(step.body.get("request"), ensure_ascii=False)
        yield Call(step.index, asked, _said(step.body.get("reply")), step.item_id, PUBLIC_VAL)


def _said(reply: Any) -> str:
    return "\n".join(_leaves(reply)) if reply else ""


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def _public(query: HiddenQuery, release: Release) -> Rollout | None:
    return Rollout.objects.filter(campaign=query.campaign, release=release, split=PUBLIC_VAL).first()


def _public_splits(task: InstalledTask) -> list[str]:
    return [split for split in PUBLIC_SPLITS if (task.inputs(split) / task.spec.inputs_file).is_file()]


def _label_files(task: InstalledTask) -> list[Path]:
    return sorted(store(LABELS).path(task.evaluator.manifest["labels"]).rglob("*.jsonl"))


def _bytes(tree: Tree) -> dict[str, bytes]:
    return {path: data for path, (_, data) in tree.items()}


def _items(report: HiddenReport) -> Items:
    return report.score.items if report.score else {}


def _rerun(runs: Runs) -> Pairs | None:
    if runs.again is None:
        return None
    first = {runs.names[key]: value for key, value in _items(runs.new).items()}
    second = {runs.names_again[key]: value for key, value in _items(runs.again).items()}
    return paired(first, second)


def _histories(query: HiddenQuery) -> dict[str, tuple[Round, ...]]:
    """The accepted generations of the release's campaign, and the training run behind its adapter."""
    kept = query.campaign.generations.filter(
        verdict__in=(Generation.Verdict.BASELINE, Generation.Verdict.KEPT)
    )
    rounds = [_round(query, row) for row in kept.order_by("number")]
    found = {"generations": tuple(rounds)}
    job = TrainingJob.objects.filter(
        generation__campaign=query.campaign, adapter=query.release.adapter_id
    ).first()
    if job is not None and query.release.adapter_id is not None:
        found["training"] = blocks([row for row in job.metrics if isinstance(row, dict)])
    return found


def _round(query: HiddenQuery, row: Generation) -> Round:
    rollout = _public(query, row.candidate) if row.candidate else None
    tokens = rollout.usage.get("tokens") if rollout else None
    return Round(row.score_after, tokens or None)


def blocks(rows: Sequence[Mapping[str, Any]]) -> tuple[Round, ...]:
    """A training run's steps in at most 8 rounds of equal length, each the mean of what its steps report."""
    size = max(1, math.ceil(len(rows) / MOST_ROUNDS))
    return tuple(
        Round(_mean(part, "reward"), None, None, _mean(part, "zero_variance"))
        for part in (rows[start : start + size] for start in range(0, len(rows), size))
    )


def _mean(rows: Iterable[Mapping[str, Any]], name: str) -> float | None:
    values = [float(row[name]) for row in rows if isinstance(row.get(name), int | float)]
    return sum(values) / len(values) if values else None


def _digest(folder: Path) -> str:
    return tree_digest(folder) if folder.is_dir() else ""


def _footprint(folder: Path) -> str:
    stats = {
        path.relative_to(folder).as_posix(): [status.st_size, status.st_mtime_ns, status.st_ino]
        for path in sorted(folder.rglob("*"))
        if (status := path.lstat())
    }
    return json_digest({name: list(map(str, values)) for name, values in stats.items()})


@cache
def _environment() -> str:
    """Its digest; a process has one environment, however often it is asked."""
    # `name` and `version` of a distribution would each read its metadata again.
    told = [each.metadata for each in metadata.distributions()]
    packages = sorted(f"{each['Name']}=={each['Version']}" for each in told)
    return json_digest({"python": sys.version, "machine": platform.machine(), "packages": packages})
