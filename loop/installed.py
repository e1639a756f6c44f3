"""An installed task as the loop sees it: its public half, its evaluator by digest, its runtimes. No hidden data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from governance.models import Release, Task, Version
from governance.pointers import evaluator_in_force
from loop.catalog import TaskSpec, load_task, read_ids
from loop.errors import TaskError
from loop.gateway import GatewayLimits, Upstream
from loop.installation import ARTIFACTS, LABELS, repo_of, store
from loop.repos import Tree, write_tree
from loop.runtimes import MANIFEST, Runtime
from loop.scoring import Evaluation
from loop.scratch import scratch
from loop.serving.manager import serve


@dataclass(frozen=True, slots=True)
class InstalledTask:
    """A task with the evaluator in force when it was opened."""

    row: Task
    spec: TaskSpec
    evaluator: Version

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger metric is better."""
        return self.spec.metric.maximize

    def inputs(self, split: str) -> Path:
        """The folder that a harness sees at /in for a public split."""
        return store(ARTIFACTS).path(self.row.spec["stored"]["public"]) / split

    def evaluation(self, split: str) -> Evaluation:
        """The evaluator in force with the labels of a public split."""
        return evaluation_of(
            self.spec,
            self.evaluator,
            store(LABELS).path(self.evaluator.manifest["labels"]) / split,
            read_ids(self.inputs(split), self.spec.inputs_file),
        )


def open_task(row: Task) -> InstalledTask:
    """The installed task behind a row, checked against its digests. Raises TaskError when stored parts changed."""
    folder = store(ARTIFACTS).path(row.spec["stored"]["folder"])
    return InstalledTask(row, load_task(folder, None), evaluator_in_force(row))


def evaluation_of(
    spec: TaskSpec, evaluator: Version, labels: Path, expected_ids: tuple[str, ...]
) -> Evaluation:
    """One evaluator version over one set of labels."""
    return Evaluation(
        evaluator_dir=store(ARTIFACTS).path(evaluator.manifest["code"]),
        labels_dir=labels,
        expected_ids=expected_ids,
        task=spec,
        runtime=runtime_by(evaluator.manifest["runtime"]),
    )


def runtime_by(digest: str) -> Runtime:
    """A built runtime by its digest. Raises TaskError when it is gone from the data home."""
    path = Path(settings.PAWL_HOME) / "runtimes" / digest
    if not (path / MANIFEST).is_file():
        raise TaskError(f"Runtime {digest[:12]} is not in {path.parent}; install the task again to build it.")
    return Runtime(path, digest)


def tree_of(version: Version) -> Tree:
    """The files of a harness version."""
    assert version.task is not None
    return repo_of(version.task).read(version.manifest["commit"])


@contextmanager
def harness_folder(release: Release) -> Iterator[Path]:
    """The release's harness written to a folder of its own, removed afterwards."""
    with scratch("harness") as folder:
        target = folder / "harness"
        write_tree(tree_of(release.harness), target)
        yield target


def gateway_limits(task: InstalledTask) -> GatewayLimits:
    """The limits of one rollout's model access that the task itself sets."""
    return GatewayLimits(max_completion_tokens=task.spec.model.max_tokens if task.spec.model else 1)


@dataclass(frozen=True, slots=True)
class ModelParts:
    """The model of a release on disk, checked against its digests: base folder, and (digest, folder) of an adapter."""

    base_model: str
    folder: Path
    adapter: tuple[str, Path] | None

    def upstream(self) -> Upstream:
        """Where the gateway sends calls to it; its server is started where it is down. Raises ProviderError."""
        served = serve(self.folder, Path(settings.PAWL_HOME) / "run", self.adapter)
        return Upstream(
            base_url=served.base_url,
            served_model=served.model,
            base_model=self.base_model,
            adapter_digest=self.adapter[0] if self.adapter else "",
        )


def model_of(release: Release) -> ModelParts | None:
    """The model that a release runs with; None for a task without one. Raises TaskError for parts that changed."""
    base = release.binding["base_model"]
    if not base:
        return None
    artifacts = store(ARTIFACTS)
    adapter = None
    if release.adapter is not None:
        adapter = (release.adapter.digest, artifacts.path(release.adapter.manifest["adapter"]))
    return ModelParts(base, artifacts.path(base), adapter)


def upstream_of(release: Release) -> Upstream | None:
    """Where the gateway sends the release's model calls: its base model, with its adapter when it has one."""
    parts = model_of(release)
    return parts.upstream() if parts else None
