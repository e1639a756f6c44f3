"""A changed evaluator is proposed, never put in force."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from governance.actions import (
    create_person,
    grant_role,
    install_pointer,
    install_policy,
    install_task,
    register_version,
)
from governance.actors import SETUP
from governance.digests import json_digest
from governance.models import Proposal, Version
from governance.pointers import evaluator_in_force
from governance.roles import OWNER
from loop.installation import ARTIFACTS, store

PASSWORD = "a long pass phrase for tests"
OLD = "def evaluate(outputs_dir, labels_dir): return {'items': {}}\n"


@pytest.fixture
def installed(db: None, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Version:
    """An instance with an owner and a task whose evaluator is in force."""
    settings.PAWL_HOME = tmp_path / "home"
    monkeypatch.setenv("PAWL_PASSWORD", PASSWORD)
    install_policy(by=SETUP)
    task = install_task(spec={"id": "digits"}, spec_digest="1" * 64, by=SETUP)
    code = tmp_path / "old"
    code.mkdir()
    (code / "evaluate.py").write_text(OLD)
    manifest = {
        "code": store(ARTIFACTS).put(code),
        "runtime": "r" * 64,
        "labels": "l" * 64,
        "hidden_commitment": "h" * 64,
    }
    version = register_version(
        kind="evaluator", digest=json_digest(manifest), task=task, manifest=manifest, by=SETUP
    )
    install_pointer(key="evaluator:digits", digest=version.digest, reason="First.", by=SETUP)
    grant_role(person=create_person(username="olga", password=PASSWORD, by=SETUP), role=OWNER, by=SETUP)
    return version


def _propose(*args: str) -> str:
    out = io.StringIO()
    call_command("propose", *args, "--as", "olga", "--json", stdout=out)
    return str(json.loads(out.getvalue())["ref"])


def test_a_changed_evaluator_waits_for_owners_with_its_diff_and_the_same_labels(
    installed: Version, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "evaluate.py").write_text(OLD.replace("{}", "{'a': 1.0}"))
    proposal = Proposal.objects.get(ref=_propose("--evaluator", str(folder), "--task", "digits"))
    assert (proposal.status, proposal.lane) == ("ready", "evaluator")
    assert proposal.task is not None and proposal.version is not None
    assert evaluator_in_force(proposal.task) == installed
    new = proposal.version.manifest
    assert store(ARTIFACTS).path(new["code"]).joinpath("evaluate.py").read_text().count("1.0") == 1
    assert {key for key in new if new[key] != installed.manifest[key]} == {"code", "runtime"}
    evidence = {item.name: json.loads(item.data()) for item in proposal.evidence.all()}
    assert evidence["diff"]["files"][0]["old"]["text"] == OLD
    assert evidence["not_tested"] == ["The live release was not scored under the new evaluator."]


def test_a_folder_without_an_evaluator_is_not_proposed(installed: Version, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(CommandError, match="no evaluate"):
        _propose("--evaluator", str(folder), "--task", "digits")
    with pytest.raises(CommandError, match="Say whose evaluator"):
        _propose("--evaluator", str(folder))
    with pytest.raises(CommandError, match="is no folder"):
        _propose("--evaluator", str(tmp_path / "none"), "--task", "digits")
    assert not Proposal.objects.exists()
