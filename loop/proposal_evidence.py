"""What a reviewer gets to see of a verified release, as evidence copied onto its proposal. Aggregates only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from governance import actions
from governance.diffs import pack
from governance.digests import canonical_json
from governance.models import Release
from governance.policy import policy_now
from loop.contract import Contract, Spent
from loop.detectors.exhibit import Finding
from loop.gate import Comparison, Ruling
from loop.installed import tree_of
from loop.ledger import answered, level_spent
from loop.models import Campaign, Generation, HiddenQuery, Rollout, TrainingJob, Verification
from loop.rollouts import PUBLIC_VAL

NOT_TESTED = (
    "Inputs that are unlike the task's own data.",
    "Behaviour over time: each rollout starts fresh.",
    "What the model provider does with the prompts.",
    "Kernel exploits against the sandbox.",
)


@dataclass(frozen=True, slots=True)
class Examined:
    """The verifier's result: the paired hidden comparison, the gate's ruling, the detectors, both public scores.

    `sandbox` says where the hidden rollouts ran: the backend and what its probe found. `sample` names the
    trajectories that people should read.
    """

    comparison: Comparison
    ruling: Ruling
    findings: tuple[Finding, ...]
    public_new: float
    public_old: float
    sandbox: Mapping[str, Any]
    sample: Mapping[str, Any]


def evidence_items(query: HiddenQuery, examined: Examined) -> list[actions.EvidenceItem]:
    """Every piece of evidence for the query's proposal, each canonical JSON."""
    campaign = query.campaign
    contract = Contract.from_json(campaign.contract)
    parts: dict[str, Any] = {
        "comparison": _comparison(contract, query, examined),
        "public": _public(contract, examined),
        "attribution": _attribution(query, contract),
        "ledger": _ledger(campaign, contract, query),
        "detectors": [finding.as_json() for finding in examined.findings],
        "sample": examined.sample,
        "decision": {"decisions": _decisions(query.release, campaign)},
        "cost": Spent(**Campaign.objects.values_list("spent", flat=True).get(pk=campaign.pk)).as_json(),
        "contract": campaign.contract,
        "not_tested": list(NOT_TESTED),
        "diff": pack(tree_of(query.against.harness), tree_of(query.release.harness)),
    }
    if query.release.adapter is not None:
        parts["adapter"] = query.release.adapter.manifest
    return [
        actions.EvidenceItem(name, "application/json", canonical_json(json.loads(json.dumps(body))))
        for name, body in parts.items()
    ]


def _comparison(contract: Contract, query: HiddenQuery, examined: Examined) -> dict[str, Any]:
    result = examined.comparison
    return {
        "metric": contract.metric,
        "direction": "maximize" if contract.higher_is_better else "minimize",
        "evaluator": contract.evaluator,
        "split": "hidden",
        "n": result.n,
        "score_before": result.incumbent,
        "score_after": result.candidate,
        "difference": result.gain,
        "interval": [result.low, result.high],
        "level": 0.95,
        "b": result.wins,
        "c": result.losses,
        "p": result.p,
        "p_trials": result.p_trials,
        "p_units": result.p_units,
        "alpha": query.alpha,
        "smallest_gain": contract.smallest_gain,
        "passed": examined.ruling.passed,
        "reason": " ".join(examined.ruling.reasons) or "The gain is real by the contract's gate.",
        "method": result.test,
        "unit": result.unit,
        "trials": result.trials,
        "results": result.results,
        "missing_before": result.missing_incumbent,
        "missing_after": result.missing_candidate,
        "slices": [each.as_json() for each in result.slices],
        "sandbox": dict(examined.sandbox),
    }


def _public(contract: Contract, examined: Examined) -> dict[str, Any]:
    return {
        "metric": contract.metric,
        "split": PUBLIC_VAL,
        "evaluator": contract.evaluator,
        "score_before": examined.public_old,
        "score_after": examined.public_new,
        "hidden_after": examined.comparison.candidate,
        "gap_before": examined.public_old - examined.comparison.incumbent,
        "gap_after": examined.public_new - examined.comparison.candidate,
    }


def attribution_cells(query_against: Release, release: Release) -> list[tuple[str, str, Release | None]]:
    """The 2x2 of old and new harness with old and new adapter; None where that release was never registered."""
    cells: list[tuple[str, str, Release | None]] = []
    for harness_name, harness in (("old", query_against.harness), ("new", release.harness)):
        for adapter_name, adapter in (("old", query_against.adapter), ("new", release.adapter)):
            found = Release.objects.filter(
                task=release.task, harness=harness, adapter=adapter, binding=release.binding
            ).first()
            cells.append((harness_name, adapter_name, found))
    return cells


def _attribution(query: HiddenQuery, contract: Contract) -> dict[str, Any]:
    cells = []
    for harness, adapter, release in attribution_cells(query.against, query.release):
        row = (
            release
            and Rollout.objects.filter(campaign=query.campaign, release=release, split=PUBLIC_VAL).first()
        )
        cells.append({"harness": harness, "adapter": adapter, "score": row.score if row else None})
    return {
        "split": PUBLIC_VAL,
        "metric": contract.metric,
        "evaluator": contract.evaluator,
        "cells": cells,
    }


def _ledger(campaign: Campaign, contract: Contract, query: HiddenQuery) -> dict[str, Any]:
    policy = policy_now()
    used, lost = answered(query.hidden_set, query.place)
    return {
        "used": HiddenQuery.objects.filter(campaign=campaign, number__lte=query.number).count(),
        "allowed": contract.budgets.hidden_queries,
        "promotions_allowed": contract.promotions,
        "alpha": contract.alpha,
        "alpha_query": query.alpha,
        "correction": contract.correction,
        "hidden_set": query.hidden_set,
        "epoch_used": used,
        "epoch_lost": lost,
        "tries_voided": Verification.objects.get(query=query).outages,
        "epoch_allowed": policy.gate.hidden_queries_per_epoch,
        "epoch_alpha": level_spent(query.hidden_set, query.place),
    }


def _decisions(release: Release, campaign: Campaign) -> list[dict[str, Any]]:
    """The decisions on the release's line of descent in this campaign, oldest first."""
    line: list[Generation] = []
    made_by = {
        row.candidate.digest: row
        for row in campaign.generations.select_related("candidate", "parent")
        if row.candidate is not None and row.verdict == Generation.Verdict.KEPT
    }
    current: Release | None = release
    while current is not None and current.digest in made_by:
        row = made_by[current.digest]
        line.append(row)
        current = row.parent
    return [_decision(row, campaign) for row in reversed(line)]


def _decision(row: Generation, campaign: Campaign) -> dict[str, Any]:
    job = TrainingJob.objects.filter(generation=row).first()
    return {
        "generation": row.number,
        "lever": row.lever,
        "reason": row.decision.get("reason", ""),
        "backend": campaign.profile,
        "params": row.decision.get("params", {}),
        "algorithm": job.algorithm if job else "",
        "hyper": job.spec["hyper"] if job else {},
        "score_before": row.score_before,
        "score_after": row.score_after,
    }
