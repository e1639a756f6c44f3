"""The verifier: hidden test of a release against the live one. Runs on the `verify` queue and nowhere else.

Nothing but one bit goes back to the loop. The figures go onto the proposal as evidence, for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.db import transaction
from django.utils import timezone

from governance import actions
from governance.actors import VERIFIER
from governance.audit.log import Facts
from governance.errors import GovernanceError
from governance.models import Release
from governance.pointers import live_release
from governance.transitions import Status
from loop import outages
from loop.contract import Contract
from loop.detection import (
    HiddenReport,
    Runs,
    compared,
    exhibit_of,
    guarded,
    hidden_report,
    merged,
    sampled,
    texts_of,
)
from loop.detectors.exhibit import Finding
from loop.detectors.measure import in_force
from loop.detectors.registry import findings
from loop.errors import LoopError, Outage, ProviderError
from loop.gate import Comparison, Rules, Ruling, Scores, compare_trials, rule
from loop.hidden import HiddenSet, Reading, keep_report, open_hidden
from loop.installed import (
    InstalledTask,
    evaluation_of,
    gateway_limits,
    harness_folder,
    open_task,
    runtime_by,
    upstream_of,
)
from loop.leases import held
from loop.models import Campaign, HiddenQuery, Rollout, Verification
from loop.proposal_evidence import Examined, evidence_items
from loop.rollout import RolloutRequest, run_rollout
from loop.rollouts import PUBLIC_VAL, charge
from loop.scratch import scratch
from loop.second_reader import second_reading
from loop.strata import HiddenRows, groups_of
from loop.types import ModelCall, Outcome

# Why there is no score, in words of ours: those of a harness or an evaluator could carry hidden rows out.
NO_SCORE = {
    Outcome.OK: "the evaluator failed",
    Outcome.HARNESS_FAILED: "its harness failed",
    Outcome.TIMEOUT: "it ran out of time",
    Outcome.LIMIT: "it ran into a limit",
    Outcome.OUTPUT_REJECTED: "its outputs were rejected",
    Outcome.SANDBOX_ERROR: "the sandbox could not be used",
}
GATE_WORDS = "The gain on the hidden set is real by the contract's gate."


@dataclass(frozen=True, slots=True)
class Arm:
    """One release's hidden results, one mapping a trial, their mean, its stored public-val score."""

    report: HiddenReport
    trials: tuple[Scores, ...]
    hidden: float
    public: float


def verify(pk: int) -> bool:
    """Carry out one verification; False when it is not over: another worker is at it, or an outage put it off.

    Doing it again changes nothing.
    """
    with held(Verification, pk) as lease:
        if lease is None:
            return False
        row = Verification.objects.select_related("query__proposal", "query__campaign__task").get(pk=pk)
        now = timezone.now()
        if not Verification.objects.filter(outages.due(now), pk=pk).exists():
            return row.status != Verification.Status.WAITING
        if row.query.proposal.status != Status.VERIFYING:
            with lease.commit():
                _end(row, f"Its proposal is {row.query.proposal.status}; nothing is verified any more.")
            return True
        if row.query.campaign.status == Campaign.Status.STOPPED:
            with lease.commit():
                _fail(row, f"Its campaign was stopped: {row.query.campaign.status_reason}")
            return True
        with lease.commit():
            Verification.objects.filter(pk=pk).update(status=Verification.Status.RUNNING, retry_at=None)
        try:
            examined = examine(row.query)
        except ProviderError:
            return outages.void_try(row, lease, timezone.now())
        except (LoopError, GovernanceError) as error:
            with lease.commit():
                _fail(row, f"{type(error).__name__}: {error}")
            return True
        items = evidence_items(row.query, examined)
        with lease.commit():
            actions.finish_verification(
                proposal=row.query.proposal,
                passed=examined.ruling.passed,
                reason=" ".join(examined.ruling.reasons) or GATE_WORDS,
                evidence=items,
                by=VERIFIER,
            )
            Verification.objects.filter(pk=pk).update(
                status=Verification.Status.FINISHED, bit=examined.ruling.passed
            )
        return True


def examine(query: HiddenQuery) -> Examined:
    """Run both releases on the re-keyed hidden set and put the difference to the gate."""
    contract = Contract.from_json(query.campaign.contract)
    task = open_task(query.campaign.task)
    if task.evaluator.digest != contract.evaluator:
        raise LoopError(
            "The evaluator changed since the campaign began; start a new campaign under the new epoch."
        )
    if live_release(task.row) != query.against:
        raise LoopError("The live release changed since the submission; submit against the new one.")
    before = guarded(task, query.release)
    with open_hidden(task.evaluator, task.spec.inputs_file, _reading(query)) as hidden:
        rows = HiddenRows(hidden.inputs / task.spec.inputs_file, hidden.labels, hidden.canaries)
        groups = groups_of(rows, contract.cluster, contract.slices)
        reports = [
            [_trial(task, query, release, hidden, seed) for release in (query.release, query.against)]
            for seed in contract.seeds()
        ]
        new = _arm(query, query.release, [pair[0] for pair in reports])
        old = _arm(query, query.against, [pair[1] for pair in reports])
        again, names_again = _run_again(task, query)
        rules = contract.rules(query.alpha)
        comparison = compare_trials(new.trials, old.trials, rules, groups, contract.seed)
        digests = compared(before, guarded(task, query.release), task.evaluator.manifest)
        answers = texts_of(sorted(hidden.labels.glob("*.jsonl")))
        runs = Runs(new.report, old.report, again, hidden.originals, names_again, answers, digests)
        exhibit = exhibit_of(query, task, runs)
        seen = findings(exhibit, in_force())
    reading = second_reading(exhibit)
    charge(query.campaign, None, reading.tokens, reading.cost_usd)
    seen = (*seen, reading.finding)
    ruling = _ruling(comparison, rules, seen)
    return Examined(
        comparison, ruling, seen, new.public, old.public, new.report.sandbox(), sampled(query, exhibit)
    )


def _run_again(task: InstalledTask, query: HiddenQuery) -> tuple[HiddenReport, Mapping[str, str]]:
    """The candidate once more on the same items under another key, reworded where the task says how."""
    reading = _reading(query)
    reading = replace(reading, purpose=f"{reading.purpose} again")
    with open_hidden(task.evaluator, task.spec.inputs_file, reading, reworded=True) as hidden:
        return _trial(task, query, query.release, hidden, query.campaign.seed), hidden.originals


def _ruling(comparison: Comparison, rules: Rules, seen: tuple[Finding, ...]) -> Ruling:
    verdict = rule(comparison, rules)
    blocking = tuple(f"{each.detector}: {each.detail}." for each in seen if each.fired and each.blocks)
    return Ruling(verdict.passed and not blocking, verdict.reasons + blocking)


def _trial(
    task: InstalledTask, query: HiddenQuery, release: Release, hidden: HiddenSet, seed: int
) -> HiddenReport:
    """One scored rollout, charged to the campaign; what is raised says in words of ours why there is no score.

    Raises ProviderError when the task model was out of reach, LoopError otherwise; the details stay hidden.
    """
    kind, why = LoopError, "the task model was out of reach"
    try:
        report = run_hidden(task, release, hidden, seed)
        charge(query.campaign, None, report.usage.tokens, report.usage.cost_usd)
        if report.score is not None:
            return report
        why = NO_SCORE[report.outcome]
        details = "\n".join((report.reason, report.log_tail, report.evaluator_log))
    except ProviderError as error:
        if isinstance(error, Outage):
            charge(query.campaign, None, error.tokens, error.cost_usd)
        kind, details = ProviderError, str(error)
    keep_report(f"{query.proposal.ref}-{release.digest[:12]}", details)
    raise kind(
        f"Release {release.digest[:12]} has no hidden score: {why}; the details are in the hidden store."
    )


def _arm(query: HiddenQuery, release: Release, reports: list[HiddenReport]) -> Arm:
    scores = [report.score for report in reports if report.score is not None]
    stored = Rollout.objects.filter(campaign=query.campaign, release=release, split=PUBLIC_VAL).first()
    if stored is None or stored.score is None:
        raise LoopError(
            f"Release {release.digest[:12]} has no public-val score; roll it out before submitting it."
        )
    trials = tuple(results(score.items, report.calls) for score, report in zip(scores, reports, strict=True))
    return Arm(merged(reports), trials, sum(score.value for score in scores) / len(scores), stored.score)


def results(items: Mapping[str, float], calls: tuple[ModelCall, ...]) -> dict[str, float | None]:
    """One trial's results by item: None where the item's last model call was lost to an outage (status 5xx).

    The evaluator scores every item, also one that was never answered because the model could not be reached: that
    score says nothing about the harness. Which item a call is about the harness says itself, so it could lose results
    on purpose; the gate blocks when the arms differ by more than two points of them.
    """
    lost = {call.item_id: call.status >= 500 for call in calls if call.item_id}
    return {item: None if lost.get(item) else score for item, score in items.items()}


def run_hidden(task: InstalledTask, release: Release, hidden: HiddenSet, seed: int) -> HiddenReport:
    """One rollout of a release on an opened hidden set, scored; canaries count in no score."""
    with harness_folder(release) as harness, scratch("rollout", hidden.scratch) as workdir:
        report = run_rollout(
            RolloutRequest(
                task=task.spec,
                harness=harness,
                inputs=hidden.inputs,
                evaluation=evaluation_of(task.spec, task.evaluator, hidden.labels, hidden.ids),
                upstream=upstream_of(release),
                gateway_limits=gateway_limits(task),
                seed=seed,
                workdir=workdir,
                runtime=runtime_by(release.binding["runtime"]),
            )
        )
        return hidden_report(report, task, hidden.canaries, workdir / "outputs")


def _reading(query: HiddenQuery) -> Reading:
    return Reading(
        purpose=query.proposal.ref,
        by=VERIFIER,
        subject=("proposal", query.proposal.ref),
        facts=Facts(
            task=query.campaign.task.slug,
            subject_digest=query.release.digest,
            detail={"query": query.number, "campaign": query.campaign.ref},
        ),
    )


@transaction.atomic
def _fail(row: Verification, reason: str) -> None:
    actions.finish_verification(
        proposal=row.query.proposal, passed=False, reason=reason, evidence=(), by=VERIFIER
    )
    _end(row, "")


def _end(row: Verification, reason: str) -> None:
    Verification.objects.filter(pk=row.pk).update(
        status=Verification.Status.FAILED, bit=False, retry_at=None, reason=reason
    )
