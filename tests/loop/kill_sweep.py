"""Campaigns whose every act is killed once: `python -m tests.loop.kill_sweep` in a data home of its own, JSON out.

First a campaign runs undisturbed and its acts' points are counted (tests/loop/fuse.py). Then, from a copy of what the
first act with n points found, campaign number n is run in which every act is killed at its n-th point and begun again
by a new process, for every n there is. Each line is
{"strikes": [[act, point]], "points": {act: [point]}, "outcome": {...}}.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
import git

from tests.loop.fuse import Fuse
from tests.loop.real_service import coins, next_act

SEED = 6


def in_child(act: Callable[[], object], fatal: int) -> tuple[bool, list[str]]:
    """Whether a child process that did `act` was killed at point `fatal`, and the points that it passed."""
    from django.db import connections

    connections.close_all()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _do(act, Fuse(fatal, lambda what: os.write(writing, f"{what}\n".encode())))
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        points = pipe.read().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"A worker ended with status {status}; its traceback is above.")
    return status != 0, points


def _do(act: Callable[[], object], fuse: Fuse) -> None:
    status = 1
    try:
        fuse.light()
        act()
        fuse.point("end of the act")
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def run(ref: str, fatal: int, before: Callable[[str], None] = lambda name: None) -> dict[str, Any]:
    """The campaign to its end; every act is begun once by a process that dies at its point `fatal`.

    `before` is called with the name of every act that is due.
    """
    points: dict[str, list[str]] = {}
    strikes = []
    while (due := next_act(ref)) is not None:
        name, act = due
        before(name)
        killed, passed = in_child(act, 0 if name in points else fatal)
        points.setdefault(name, passed)
        if killed:
            strikes.append([name, passed[-1]])
    return {"strikes": strikes, "points": points, "outcome": outcome(ref)}


def outcome(ref: str) -> dict[str, Any]:
    """Everything that a killed process must not change, without moments, durations and random names."""
    from governance.assurance.verify import live_differences
    from governance.models import AuditEntry, Proposal, Release, Version
    from loop.installation import repo_of
    from loop.models import ArchiveEntry, Campaign, Generation, HiddenQuery, Rollout, Verification

    campaign = Campaign.objects.get(ref=ref)
    actions = Counter(AuditEntry.objects.exclude(action="hidden.read").values_list("action", flat=True))
    with git.Repo(repo_of(campaign.task).path) as repo:
        branches = sorted(head.name for head in repo.heads)
    seen = {
        "status": campaign.status,
        "tokens": campaign.spent["tokens"],
        "archive": _rows(ArchiveEntry, "generation__number", "release__digest", "score", "submitted"),
        "generations": _rows(
            Generation, "number", "step", "verdict", "lever", "reason", "score_before", "score_after",
            "parent__digest", "candidate__digest", "decision", "comparison",
        ),
        "rollouts": _rows(Rollout, "release__digest", "split", "score", "items"),
        "releases": _rows(Release, "digest"),
        "versions": _rows(Version, "kind", "digest"),
        "proposals": _rows(Proposal, "status", "target"),
        "queries": _rows(HiddenQuery, "number", "release__digest", "against__digest"),
        "bits": _rows(Verification, "status", "bit"),
        "log": dict(sorted(actions.items())),
        "log differs": live_differences(),
        "branches": branches,
        "readable commits": [_readable(version) for version in Version.objects.filter(kind="harness")],
        "left behind": sorted(path.name for path in Path(tempfile.gettempdir()).iterdir()),
    }  # fmt: skip
    return dict(json.loads(json.dumps(seen)))


def _rows(model: Any, *fields: str) -> list[tuple[Any, ...]]:
    return sorted(model.objects.values_list(*fields), key=str)


def _readable(version: Any) -> bool:
    """Whether the commit of a version still is the tree that its digest names."""
    from loop.installed import tree_of
    from loop.repos import digest_of

    return digest_of(tree_of(version)) == version.digest


class Homes:
    """The data home, and copies of it as each act of the undisturbed campaign found it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.copies = home.with_name("copies")

    def keep(self, act: str) -> None:
        """Copies the home as this act finds it."""
        shutil.copytree(self.home, self.copies / act, symlinks=True)

    def put_back(self, act: str) -> None:
        """Makes the home what this act found."""
        from django.db import connections

        connections.close_all()
        shutil.rmtree(self.home)
        shutil.copytree(self.copies / act, self.home, symlinks=True)


def main() -> None:
    """One line of JSON for the undisturbed campaign and one for each n."""
    import optuna  # noqa: F401  # once for all workers
    from django.db import connections

    from loop.sandbox import get_backend

    homes = Homes(Path(os.environ["PAWL_HOME"]))
    get_backend()  # once for all workers: a sandbox that was tried is not tried again
    ref = coins(SEED)
    connections.close_all()
    calm = run(ref, 0, homes.keep)
    print(json.dumps(calm), flush=True)
    for fatal in range(1, max(map(len, calm["points"].values())) + 1):
        homes.put_back(next(act for act, points in calm["points"].items() if len(points) >= fatal))
        print(json.dumps(run(ref, fatal)), flush=True)


if __name__ == "__main__":
    django.setup()
    main()
