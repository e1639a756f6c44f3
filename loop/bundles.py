"""The artifacts that go into an audit bundle: the harness history as a git bundle, and adapter manifests."""

from __future__ import annotations

import tempfile
from pathlib import Path

import git

from governance.digests import canonical_json
from governance.models import Task, Version
from loop.installation import repo_of


def artifacts_of(task: Task) -> dict[str, bytes]:
    """{relative name: bytes}: every harness version of the task, and each adapter's manifest."""
    found = {
        f"adapters/{version.digest}.json": canonical_json(version.manifest)
        for version in Version.objects.filter(task=task, kind=Version.Kind.ADAPTER)
    }
    with tempfile.TemporaryDirectory() as scratch, git.Repo(repo_of(task).path) as repo:
        path = Path(scratch) / "harness.bundle"
        repo.git.bundle("create", str(path), "--all")
        found[f"{task.slug}.harness.bundle"] = path.read_bytes()
    return found
