"""How rewards lie at a release: its harness's own prompts on public-train, sampled and judged by the evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from governance.models import Release
from loop.catalog import read_ids
from loop.installation import LABELS, store
from loop.installed import InstalledTask, runtime_by, upstream_of
from loop.models import Generation, Rollout
from loop.rollouts import PUBLIC_TRAIN, as_call
from loop.sandbox import get_backend
from loop.training.dataset import TrainingData, build_dataset
from loop.training.features import training_available
from loop.training.landscape import Sampling, measure
from loop.training.rewards import RewardServer, RewardSource
from loop.turn import Turn
from loop.types import Landscape, Lever


def landscape_of(turn: Turn, release: Release) -> Landscape | None:
    """The landscape at `release`, measured once a campaign; None where weights cannot be updated at all."""
    usable = Lever.WEIGHTS.value in turn.contract.levers and turn.task.spec.model is not None
    if not usable or not training_available()[0]:
        return None
    for earlier in Generation.objects.filter(campaign=turn.campaign, parent=release):
        known = earlier.comparison.get("landscape")
        if known:
            return Landscape(**known)
    data = training_data(turn.task, turn.roll_out(release, PUBLIC_TRAIN))
    upstream = upstream_of(release)
    assert upstream is not None
    turn.show(f"measuring the reward landscape on {Sampling().limit} prompts")
    sampling = Sampling(max_tokens=data.max_completion, seed=turn.contract.seed)
    with reward_server(turn.task) as server:
        return measure(upstream.base_url, upstream.served_model, data.rows, server.rewards, sampling)


def training_data(task: InstalledTask, rollout: Rollout) -> TrainingData:
    """The prompts of a rollout on public-train that a weight update can learn from."""
    calls = [as_call(step) for step in rollout.steps.order_by("index").iterator()]
    ids = read_ids(task.inputs(PUBLIC_TRAIN), task.spec.inputs_file)
    return build_dataset(calls, frozenset(ids))


@contextmanager
def reward_server(task: InstalledTask) -> Iterator[RewardServer]:
    """The evaluator's reward function over public-train, in a sandbox of its own."""
    evaluation = task.evaluation(PUBLIC_TRAIN)
    source = RewardSource(
        evaluator_dir=evaluation.evaluator_dir,
        labels_dir=store(LABELS).path(task.evaluator.manifest["labels"]) / PUBLIC_TRAIN,
        runtime=runtime_by(task.evaluator.manifest["runtime"]).path,
    )
    with RewardServer(get_backend(), source) as server:
        yield server
