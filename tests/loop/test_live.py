"""Serving follows the pointer on a receipt of the signed log, and refuses whatever else stands in the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from governance.audit.checkpoints import key_files
from governance.audit.signer import KEY_FILE
from governance.models import AuditEntry, Pointer, Release, Version
from governance.pointers import live_release
from loop.installation import repo_of
from loop.live import REFUSED, follow_live
from loop.repos import CommitNote
from tests.loop.conftest import Service


def refusals() -> list[str]:
    """The reasons of all refusals, oldest first."""
    return [row.entry()["reason"] for row in AuditEntry.objects.filter(action=REFUSED).order_by("seq")]


def test_what_the_log_made_live_is_served(service: Service) -> None:
    assert follow_live() == ["coins"]
    assert repo_of(service.task).live() == live_release(service.task).harness.manifest["commit"]
    assert (follow_live(), refusals()) == ([], [])


@pytest.mark.parametrize(
    ("table", "change", "sentence"),
    [
        (
            Pointer.objects.filter(key="release:coins"),
            {"generation": 7},
            "at generation 7, the log's last move at 0",
        ),
        (
            Pointer.objects.filter(key="release:coins"),
            {"digest": "f" * 64},
            "Release matching query does not exist",
        ),
        (Release.objects, {"digest": "e" * 64}, "Release matching query does not exist"),
        (Release.objects, {"binding": {"base_model": "x"}}, "do not give its digest"),
    ],
)
def test_a_row_that_somebody_changed_is_not_served_and_the_refusal_is_one_entry(
    service: Service, table: Any, change: dict[str, Any], sentence: str
) -> None:
    table.all().update(**change)
    assert follow_live() == [] and follow_live() == []
    assert repo_of(service.task).live() == ""
    assert len(refusals()) == 1 and sentence in refusals()[0]


def test_a_pointer_moved_to_another_registered_release_by_hand_is_not_served(service: Service) -> None:
    live = live_release(service.task)
    other = Release.objects.create(
        digest="d" * 64, task=service.task, harness=live.harness, binding={}, origin="x", created_by="x"
    )
    Pointer.objects.filter(key="release:coins").update(digest=other.digest)
    assert follow_live() == []
    assert "not of release:coins at dddddddddddd" in refusals()[0]


def test_a_commit_with_other_bytes_than_the_harness_is_not_served(service: Service) -> None:
    repo, harness = repo_of(service.task), live_release(service.task).harness
    tree = {**repo.read(harness.manifest["commit"]), "extra.py": ("file", b"import os\n")}
    note = CommitNote("Other", "agent", datetime(2026, 1, 1, tzinfo=UTC))
    other = repo.commit(tree, None, note, "other")
    Version.objects.filter(pk=harness.pk).update(manifest={**harness.manifest, "commit": other})
    assert follow_live() == []
    assert "does not hold the harness" in refusals()[0]


def test_nothing_new_is_served_while_the_log_cannot_be_signed(service: Service) -> None:
    key = key_files().folder / KEY_FILE
    kept = key.read_bytes()
    key.unlink()
    assert follow_live() == [] and len(refusals()) == 1
    key.write_bytes(kept)
    key.chmod(0o600)
    assert follow_live() == ["coins"]
