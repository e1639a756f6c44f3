"""Killed between any two statements, an act is there with its entries, or is not there at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.home import REPO
from governance.actions import hold, promote, revert, stop
from governance.errors import AuditError
from governance.models import AuditEntry, Halt, Hold, Pointer, Proposal, Review
from tests.governance.cast import REASON, World, approved, promoted


def test_an_act_killed_before_any_of_its_statements_happened_or_did_not(
    service_env: dict[str, str], pawl_home: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.governance.crash_sweep"],
        env=service_env,
        cwd=REPO,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {line["act"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert set(found) == {"promote", "roster", "revert", "stop", "hold", "break_glass"}
    for name, line in found.items():
        outcomes = [where for _, where in line["killed"]]
        assert line["wrong"] == [], name
        assert set(outcomes) <= {"before", "after"}, (name, line["killed"])
        assert outcomes.count("before") >= 5, (name, outcomes)
        assert outcomes == sorted(outcomes, reverse=True), f"{name} came undone after it was done"
    for name in ("promote", "roster", "revert"):  # what the signer does comes after the commit
        assert "after" in [where for _, where in found[name]["killed"]]


ACTS = {
    "promote": lambda world, proposal, by: promote(proposal=proposal, reason=REASON, by=by),
    "revert": lambda world, proposal, by: revert(
        key="release:digits", to_digest=world.seed.digest, reason=REASON, by=by
    ),
    "stop": lambda world, proposal, by: stop(scope="", reason=REASON, by=by),
    "hold": lambda world, proposal, by: hold(digest=world.seed.digest, reason=REASON, by=by),
}


@pytest.mark.parametrize("name", ACTS)
def test_an_act_whose_entry_cannot_be_written_does_not_happen(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposal = promoted(world) if name == "revert" else approved(world)
    live = Pointer.objects.get(key="release:digits").digest
    size = AuditEntry.objects.count()
    monkeypatch.setattr("governance.audit.log.MAX_ENTRY_BYTES", 100)  # no entry is this small
    with pytest.raises(AuditError, match="the log takes 100"):
        ACTS[name](world, proposal, world.cast.act("operator"))
    assert Pointer.objects.get(key="release:digits").digest == live
    assert AuditEntry.objects.count() == size
    status = proposal.status
    proposal.refresh_from_db()
    assert (proposal.status, Proposal.objects.count()) == (status, 1)
    assert not (Halt.objects.exists() or Hold.objects.exists())
    assert Review.objects.filter(consumed_at__isnull=False).count() == (1 if name == "revert" else 0)
