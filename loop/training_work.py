"""One weight update as the `train` worker carries it out: data from trajectories, an adapter into the store."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings

from governance import actions
from governance.errors import GovernanceError
from governance.models import Version
from loop.candidates import agent
from loop.contract import Contract
from loop.errors import LoopError, TrainingError
from loop.installation import ARTIFACTS, store
from loop.installed import InstalledTask, open_task
from loop.landscapes import reward_server, training_data
from loop.leases import Lease, held
from loop.models import Campaign, Generation, Rollout, TrainingJob
from loop.rollouts import PUBLIC_TRAIN
from loop.training.dataset import write_dataset
from loop.training.run import Progress, TrainingResult, run_training
from loop.training.spec import TrainingSpec

Status = TrainingJob.Status


def train(pk: int) -> bool:
    """Carry out one training job; False when another worker is at it. Doing it again changes nothing."""
    started = time.monotonic()
    with held(TrainingJob, pk) as lease:
        if lease is None:
            return False
        job = TrainingJob.objects.select_related("generation__campaign__task", "generation__parent").get(
            pk=pk
        )
        if job.status in {Status.FINISHED, Status.FAILED}:
            return True
        folder = Path(settings.PAWL_HOME) / "training" / str(pk)
        try:
            task = open_task(job.generation.campaign.task)
            spec = _spec(job, task, folder)
            with lease.commit():
                TrainingJob.objects.filter(pk=pk).update(status=Status.RUNNING, spec=_public(spec))
            result = _run(job, lease, task, spec)
        except (LoopError, GovernanceError) as error:
            if lease.lost.is_set():
                raise
            with lease.commit():
                TrainingJob.objects.filter(pk=pk).update(status=Status.FAILED, reason=str(error))
            return True
        _finish(job, lease, task, result, time.monotonic() - started)
        return True


def _spec(job: TrainingJob, task: InstalledTask, folder: Path) -> TrainingSpec:
    generation = job.generation
    parent = generation.parent
    contract = Contract.from_json(generation.campaign.contract)
    assert parent is not None
    rollout = Rollout.objects.filter(campaign=generation.campaign, release=parent, split=PUBLIC_TRAIN).first()
    if rollout is None:
        raise TrainingError("The parent has no trajectories on public-train; nothing can be learned from.")
    data = training_data(task, rollout)
    folder.mkdir(parents=True, exist_ok=True)
    dataset = folder / "dataset.jsonl"
    artifacts = store(ARTIFACTS)
    before = parent.adapter.manifest["adapter"] if parent.adapter else None
    return TrainingSpec(
        base_dir=str(artifacts.path(parent.binding["base_model"])),
        base_digest=parent.binding["base_model"],
        algorithm=job.algorithm,
        dataset_path=str(dataset),
        dataset_digest=write_dataset(data.rows, dataset),
        reward_socket="",
        seed=contract.seed * 1000 + generation.number,
        budget_s=max(1.0, contract.budgets.wall_s - generation.campaign.spent["wall_s"]),
        out_dir=str(folder / "out"),
        hyper=generation.decision["hyper"],
        parent_adapter_dir=str(artifacts.path(before)) if before else None,
        parent_digest=before,
        trajectory_digests=(data.trajectory_digest,),
    )


def _run(job: TrainingJob, lease: Lease, task: InstalledTask, spec: TrainingSpec) -> TrainingResult:
    metrics: list[dict[str, Any]] = []

    def show(progress: Progress) -> None:
        metrics.append({"step": progress.step, "reward": progress.reward})
        TrainingJob.objects.filter(pk=job.pk, fence=lease.fence).update(metrics=metrics)
        text = f"{job.algorithm}: step {progress.step} of {progress.total}"
        if progress.reward is not None:
            text += f", mean reward {progress.reward:.2f}"
        Generation.objects.filter(pk=job.generation.pk).update(
            progress={"text": text, "done": progress.step, "total": progress.total}
        )

    def cancelled() -> bool:
        running = Campaign.objects.filter(pk=job.generation.campaign_id, status=Campaign.Status.RUNNING)
        return lease.lost.is_set() or not running.exists()

    with reward_server(task) as rewards:
        return run_training(spec, rewards, show, cancelled)


def _finish(
    job: TrainingJob, lease: Lease, task: InstalledTask, result: TrainingResult, seconds: float
) -> None:
    digest = store(ARTIFACTS).put(result.adapter_dir)
    parent = job.generation.parent
    assert parent is not None
    with lease.commit():
        version = actions.register_version(
            kind=Version.Kind.ADAPTER,
            digest=digest,
            task=task.row,
            parent=parent.adapter,
            manifest={**result.manifest, "adapter": digest, "campaign": job.generation.campaign.ref},
            by=agent(job.generation.campaign),
        )
        metrics = [dict(row) for row in result.metrics]
        TrainingJob.objects.filter(pk=job.pk).update(status=Status.FINISHED, adapter=version, metrics=metrics)
        campaign = Campaign.objects.select_for_update().get(pk=job.generation.campaign_id)
        Campaign.objects.filter(pk=campaign.pk).update(
            spent={**campaign.spent, "wall_s": campaign.spent["wall_s"] + seconds}
        )


def _public(spec: TrainingSpec) -> dict[str, Any]:
    """The job's specification without host paths."""
    hidden = {"base_dir", "dataset_path", "reward_socket", "out_dir", "parent_adapter_dir"}
    return {name: value for name, value in asdict(spec).items() if name not in hidden}
