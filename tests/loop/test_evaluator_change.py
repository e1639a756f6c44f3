"""A changed evaluator is proposed with the live release scored by both, and never put in force by that."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from governance.errors import NotAllowed
from governance.models import AuditEntry, Person, Pointer, Proposal, Release, Version
from governance.pointers import evaluator_in_force, live_release, release_key
from loop.errors import TaskError
from loop.evaluator_change import propose_evaluator
from loop.installation import ARTIFACTS, repo_of, store
from loop.jobs import due
from loop.leases import take
from loop.models import EvaluatorCheck, HiddenQuery
from loop.repos import CommitNote
from loop.rescoring_hidden import check
from tests.loop.conftest import COINS, Service

pytestmark = pytest.mark.one_database

OLD = (COINS / "evaluator" / "evaluate.py").read_text()
STRICT = OLD.replace('float(answers[row["id"]] == row["answer"])', "0.0")


def _folder(tmp_path: Path, code: str) -> Path:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "evaluate.py").write_text(code)
    return folder


def _propose(monkeypatch: pytest.MonkeyPatch, *args: str) -> Proposal:
    monkeypatch.setenv("PAWL_PASSWORD", "correct-horse-oscar")
    out = io.StringIO()
    call_command("propose", *args, "--as", "oscar", "--json", stdout=out)
    return Proposal.objects.get(ref=json.loads(out.getvalue())["ref"])


def test_a_changed_evaluator_waits_with_its_diff_and_the_live_release_scored_by_both(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = evaluator_in_force(service.task)
    assert STRICT != OLD
    proposal = _propose(
        monkeypatch, "--evaluator", str(_folder(tmp_path, STRICT)), "--task", service.task.slug
    )
    assert (proposal.status, proposal.lane) == ("verifying", "evaluator")
    assert not AuditEntry.objects.filter(action="hidden.read").exists()
    verified(proposal)
    assert proposal.status == "ready"
    assert proposal.version is not None
    assert evaluator_in_force(service.task) == installed
    new = proposal.version.manifest
    assert store(ARTIFACTS).path(new["code"]).joinpath("evaluate.py").read_text() == STRICT
    assert {key for key in new if new[key] != installed.manifest[key]} <= {"code", "runtime"}
    evidence = {item.name: json.loads(item.data()) for item in proposal.evidence.all()}
    assert evidence["diff"]["files"][0]["old"]["text"] == OLD
    told = evidence["rescored"]
    assert (told["release"], told["split"]) == (live_release(service.task).digest, "public-val")
    assert (told["old"]["evaluator"], told["new"]["evaluator"]) == (installed.digest, proposal.version.digest)
    assert told["old"]["score"] > 0 == told["new"]["score"]
    assert told["items_changed"] == round(told["old"]["score"] * told["n"])
    hidden = evidence["rescored_hidden"]
    assert (hidden["release"], hidden["split"], hidden["n"]) == (told["release"], "hidden", 160)
    assert (hidden["old"]["evaluator"], hidden["new"]["evaluator"]) == (
        installed.digest,
        proposal.version.digest,
    )
    assert 0.4 < hidden["old"]["score"] < 0.8 and hidden["new"]["score"] == 0
    assert hidden["items_changed"] == round(hidden["old"]["score"] * 160)
    (opened,) = AuditEntry.objects.filter(action="hidden.read")
    assert opened.entry()["detail"] == {"rescored_under": [installed.digest, proposal.version.digest]}
    assert not HiddenQuery.objects.exists()
    assert evidence["not_tested"] == [
        "No release but the live one was scored under the new evaluator, and that one ran once on each split."
    ]
    verified(proposal)
    assert AuditEntry.objects.filter(action="hidden.read").count() == 1


def verified(proposal: Proposal) -> None:
    """Have the verifier do what is due for it, after another worker took it and died."""
    for queue, function, key in due():
        if function == "check_evaluator":
            assert queue == "verify" and take(EvaluatorCheck, int(key)) is not None
            check(int(key))
            assert EvaluatorCheck.objects.filter(pk=key, done=False).exists()
            EvaluatorCheck.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            check(int(key))
            check(int(key))
    proposal.refresh_from_db()


def test_what_the_hidden_data_say_never_leaves_in_an_evaluators_own_words(
    service: Service, tmp_path: Path
) -> None:
    """The new evaluator scores public-val and fails on the hidden set, quoting a label."""
    quoting = OLD.replace(
        "    items = {", "    labels = list(labels)\n    assert len(labels) < 150, labels\n    items = {", 1
    )
    assert quoting != OLD
    proposal = propose_evaluator(service.task, _folder(tmp_path, quoting), "", service.operator)
    verified(proposal)
    assert proposal.status == "failed"
    assert proposal.status_reason == (
        "The new evaluator gives the live release no hidden score: It failed; the details are in the hidden store."
    )
    told = json.loads(proposal.evidence.get(name="rescored_hidden").data())
    assert told["new"]["score"] is None and told["items_changed"] is None and told["old"]["score"] > 0
    assert "assert" not in json.dumps(told)
    (report,) = (tmp_path / "home" / "hidden" / "reports").iterdir()
    assert "AssertionError" in report.read_text()


def test_an_evaluator_that_cannot_score_the_live_release_fails_at_once(
    service: Service, tmp_path: Path
) -> None:
    folder = _folder(tmp_path, "def evaluate(outputs_dir, labels_dir):\n    raise KeyError('a label')\n")
    proposal = propose_evaluator(service.task, folder, "", service.operator)
    assert proposal.status == "failed"
    assert "gives the live release no score" in proposal.status_reason
    assert "KeyError" in proposal.status_reason and "a label" not in proposal.status_reason
    told = json.loads(proposal.evidence.get(name="rescored").data())
    assert (told["new"]["score"], told["items_changed"]) == (None, None)
    assert told["old"]["score"] is not None


def test_a_live_release_that_does_not_run_judges_no_evaluator(service: Service, tmp_path: Path) -> None:
    row = service.task
    broken = {"main.py": ("file", b"raise SystemExit(3)\n")}
    commit = repo_of(row).commit(broken, None, CommitNote("broken", "test", timezone.now()), "broken")
    harness = Version.objects.create(
        kind="harness", digest="9" * 64, task=row, manifest={"commit": commit}, created_by="test"
    )
    old = live_release(row)
    release = Release.objects.create(
        digest="8" * 64, task=row, harness=harness, binding=old.binding, origin="test", created_by="test"
    )
    Pointer.objects.filter(key=release_key(row)).update(digest=release.digest)
    with pytest.raises(TaskError, match="gives no outputs on public-val"):
        propose_evaluator(row, _folder(tmp_path, STRICT), "", service.operator)
    assert not Proposal.objects.exists()


def test_only_people_with_a_role_have_an_evaluator_tried(service: Service, tmp_path: Path) -> None:
    stranger = Person.objects.get(user__username="rita")
    stranger.grants.all().delete()
    with pytest.raises(NotAllowed, match="needs the role"):
        propose_evaluator(service.task, _folder(tmp_path, STRICT), "", stranger.actor("command"))


def test_a_folder_without_an_evaluator_is_not_proposed(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(CommandError, match="no evaluate"):
        _propose(monkeypatch, "--evaluator", str(folder), "--task", service.task.slug)
    with pytest.raises(CommandError, match="Say whose evaluator"):
        _propose(monkeypatch, "--evaluator", str(folder))
    with pytest.raises(CommandError, match="is no folder"):
        _propose(monkeypatch, "--evaluator", str(tmp_path / "none"), "--task", service.task.slug)
    assert not Proposal.objects.exists()
