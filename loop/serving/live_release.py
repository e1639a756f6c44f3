"""The live release, loaded and run: its parts are taken by digest, and run as in every rollout, in the sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.models import Release
from governance.subjects import release_digest
from loop.catalog import TaskSpec, read_ids
from loop.errors import HarnessError, LoopError, TaskError
from loop.gateway import GatewayLimits, Upstream
from loop.harness_tree import check_tree
from loop.installed import ModelParts, gateway_limits, model_of, open_task, runtime_by, tree_of
from loop.outputs import OutputError, read_outputs
from loop.repos import digest_of, write_tree
from loop.rollout import RolloutReport, RolloutRequest, run_rollout
from loop.runtimes import Runtime
from loop.scratch import scratch
from loop.serving.engine import RequestRefused
from loop.types import Outcome


class NoOutputs(LoopError):
    """The release gave no outputs for these inputs; the message says why."""


@dataclass(frozen=True, slots=True)
class LoadedRelease:
    """A release whose bytes were checked against its digest. Its harness lies in a folder; no database is needed."""

    release: Release
    task: TaskSpec
    harness: Path
    runtime: Runtime
    limits: GatewayLimits
    model: ModelParts | None

    def upstream(self) -> Upstream | None:
        """Where its model answers, started where it is down; None for a task without one. Raises ProviderError."""
        return self.model.upstream() if self.model else None

    def run(self, inputs: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
        """The outputs for these inputs (rows with a string `id` each), in their order.

        Raises RequestRefused for inputs without ids, NoOutputs when the harness gave none, ProviderError when the
        model does not answer.
        """
        with scratch("serve") as folder:
            given, workdir = folder / "in", folder / "work"
            given.mkdir()
            workdir.mkdir()
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in inputs)
            (given / self.task.inputs_file).write_text(lines, encoding="utf-8")
            try:
                ids = read_ids(given, self.task.inputs_file)
            except TaskError as error:
                raise RequestRefused("Every row of `inputs` needs a string `id` of its own.") from error
            report = self._roll_out(given, workdir, seed)
            if report.outcome is not Outcome.OK:
                raise NoOutputs(f"The release gave no outputs ({report.outcome}): {report.reason}")
            try:
                rows = read_outputs(workdir / "outputs" / self.task.outputs.file, self.task.outputs, ids)
            except OutputError as error:
                raise NoOutputs(f"The release's outputs were rejected: {error}") from error
            return [{**rows[key], "id": key} for key in ids]

    def _roll_out(self, inputs: Path, workdir: Path, seed: int) -> RolloutReport:
        return run_rollout(
            RolloutRequest(
                task=self.task,
                harness=self.harness,
                inputs=inputs,
                runtime=self.runtime,
                workdir=workdir,
                seed=seed,
                upstream=self.upstream(),
                gateway_limits=self.limits,
            )
        )


@contextmanager
def loaded(digest: str) -> Iterator[LoadedRelease]:
    """The release with this digest, out of this data home's stores, for the length of the block.

    Raises LoopError unless each part, down to the harness's bytes, is what the digest names.
    """
    rows = Release.objects.select_related("task", "harness__task", "adapter")
    release = rows.filter(digest=digest).first()
    if release is None or release_digest(release) != digest:
        raise HarnessError(
            f"Release {digest[:12]} is not in this data home, or its parts do not give its digest."
        )
    tree = tree_of(release.harness)
    if digest_of(tree) != release.harness.digest:
        raise HarnessError(f"The repository does not hold the harness {release.harness.digest[:12]}.")
    check_tree({path: len(data) for path, (_, data) in tree.items()})
    task = open_task(release.task)
    with scratch("live") as folder:
        write_tree(tree, folder / "harness")
        runtime = runtime_by(release.binding["runtime"])
        limits, model = gateway_limits(task), model_of(release)
        ready = LoadedRelease(release, task.spec, folder / "harness", runtime, limits, model)
        ready.upstream()
        yield ready
