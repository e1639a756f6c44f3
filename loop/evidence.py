"""What the agents get to read, from the database: public splits of this campaign and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from governance.models import Release
from loop.agents.evidence import Evidence, HistoryRow, Remaining
from loop.archive import Accepted
from loop.catalog import read_ids
from loop.contract import Spent
from loop.installation import ARTIFACTS, store
from loop.installed import tree_of
from loop.landscapes import training_data
from loop.models import Campaign, Generation, Rollout
from loop.repos import Tree
from loop.rollouts import PUBLIC_TRAIN, PUBLIC_VAL
from loop.training.features import training_available
from loop.training.router import RouterFacts
from loop.turn import Turn
from loop.types import Landscape, Lever

SAMPLED_FAILURES = 20
SAMPLED_SUCCESSES = 5
SHOWN_LETTERS = 2000


def accepted(campaign: Campaign) -> list[Accepted]:
    """The campaign's archive as the pure rule takes it."""
    rows = campaign.archive.select_related("release", "generation")
    return [Accepted(row.release.digest, row.score, row.generation.number) for row in rows]


def meta_evidence(turn: Turn) -> Evidence:
    """What the Meta-Agent reads: the task's description and the seed harness. No scores exist yet."""
    return Evidence(
        task_md=turn.task.row.spec["description"],
        harness_files=_texts(tree_of(turn.campaign.base_release.harness)),
        score_before=None,
        budget=remaining(turn),
        seed=turn.contract.seed,
        generation=turn.generation.number,
        metric=turn.contract.metric,
        higher_is_better=turn.contract.higher_is_better,
    )


def feedback_evidence(turn: Turn) -> Evidence:
    """What the Feedback-Agent reads before it decides a generation."""
    parent = turn.generation.parent
    assert parent is not None
    rollout = Rollout.objects.get(campaign=turn.campaign, release=parent, split=PUBLIC_VAL)
    known = turn.generation.comparison.get("landscape")
    metric = turn.task.spec.metric
    return Evidence(
        task_md=turn.task.row.spec["description"],
        harness_files=_texts(tree_of(parent.harness)),
        score_before=rollout.score,
        budget=remaining(turn),
        seed=turn.contract.seed,
        generation=turn.generation.number,
        items=rollout.items,
        trajectories=tuple(_sampled(rollout)),
        history=history(turn),
        landscape=Landscape(**known) if known else None,
        allowed_levers=allowed_levers(turn),
        failures=rollout.failures,
        training=_router_facts(turn, parent),
        metric=turn.contract.metric,
        higher_is_better=turn.contract.higher_is_better,
        score_range=(metric.low, metric.high),
    )


def remaining(turn: Turn) -> Remaining:
    """What is left of the budgets; the generation that is being decided counts as left."""
    spent, budgets = Spent(**turn.campaign.spent), turn.contract.budgets
    return Remaining(
        generations=budgets.generations - turn.generation.number + 1,
        cost_usd=budgets.cost_usd - spent.cost_usd,
        tokens=budgets.tokens - spent.tokens,
        wall_s=budgets.wall_s - spent.wall_s,
    )


def allowed_levers(turn: Turn) -> frozenset[Lever]:
    """The levers that the contract and this machine leave open."""
    levers = {Lever(name) for name in turn.contract.levers} | {Lever.STOP, Lever.EVALUATOR}
    if turn.task.spec.model is None or not training_available()[0]:
        levers.discard(Lever.WEIGHTS)
    return frozenset(levers)


def history(turn: Turn) -> tuple[HistoryRow, ...]:
    """The campaign's finished generations with a lever, oldest first."""
    done = turn.campaign.generations.filter(step=Generation.Step.DONE).exclude(lever="")
    return tuple(
        HistoryRow(
            generation=row.number,
            lever=Lever(row.lever),
            accepted=row.verdict in (Generation.Verdict.KEPT, Generation.Verdict.BASELINE),
            reason=row.reason,
            score_before=row.score_before,
            score=row.score_after,
            params=row.decision.get("params", {}),
            algorithm=row.decision.get("algorithm", ""),
        )
        for row in done.order_by("number")
    )


def _router_facts(turn: Turn, parent: Release) -> RouterFacts | None:
    if Lever.WEIGHTS not in allowed_levers(turn):
        return None
    ids = read_ids(turn.task.inputs(PUBLIC_TRAIN), turn.task.spec.inputs_file)
    manifest = store(ARTIFACTS).root / parent.binding["base_model"] / "manifest.json"
    parameters = json.loads(manifest.read_bytes()).get("parameters") if manifest.is_file() else None
    return RouterFacts(
        train_prompts=len(ids),
        first_round=parent.adapter is None,
        parameters=parameters,
        fixed=_fixed_hyper(turn, parent),
    )


def _fixed_hyper(turn: Turn, parent: Release) -> dict[str, Any]:
    """The hyper-parameters that the task sets, and the length of answers that the harness's own calls allow."""
    rollout = Rollout.objects.filter(campaign=turn.campaign, release=parent, split=PUBLIC_TRAIN).first()
    if rollout is None:
        return dict(turn.task.spec.training)
    return {
        **turn.task.spec.training,
        "max_completion": training_data(turn.task, rollout).max_completion,
    }


def _texts(tree: Tree) -> dict[str, str]:
    """The files that are text; agents neither see nor edit the others."""
    texts = {}
    for path, (_, data) in tree.items():
        try:
            texts[path] = data.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return texts


def _sampled(rollout: Rollout) -> Iterable[dict[str, Any]]:
    """Whole conversations of some failed and some solved items, in item order."""
    failed = [item for item, score in sorted(rollout.items.items()) if score < 0.5][:SAMPLED_FAILURES]
    solved = [item for item, score in sorted(rollout.items.items()) if score >= 0.5][:SAMPLED_SUCCESSES]
    for item in failed + solved:
        steps = rollout.steps.filter(item_id=item).order_by("index")
        yield {
            "item": item,
            "score": rollout.items[item],
            "calls": [{"request": step.body["request"], "reply": step.body["reply"]} for step in steps],
        }
    yield {"log_tail": rollout.log_tail[-SHOWN_LETTERS:]}
