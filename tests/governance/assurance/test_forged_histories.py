"""Whoever holds the log's key breaks a rule and signs the log again: every verifier names the entry and the rule."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command

from governance.assurance.bundle import Pins, check_bundle
from governance.assurance.bundle_parts import INCOMPLETE, OK, RULE_BROKEN
from governance.assurance.replay import replay
from governance.assurance.verifier_script import verifier_script
from tests.governance.assurance.brake_breaches import BREACHES
from tests.governance.assurance.forge import KEY, Forged
from tests.governance.assurance.history import Forger, History
from tests.governance.assurance.independent_verifier import Verifier
from tests.governance.assurance.test_bundle import unpack

pytestmark = pytest.mark.one_database

PINS = Pins([str(KEY)])
Forge = Callable[[Forger], object]


def bundle(forger: Forger) -> dict[str, bytes]:
    """The files of an export of this log, made and signed by whoever holds the key."""
    own = {**forger.log[-1], "actor": forger.person("ada"), "subject_digest": "", "before": "", "after": ""}
    return Forged(
        forger.log, texts=forger.texts, exported={"actor": own["actor"], "time": own["time"]}
    ).files()


@pytest.fixture(scope="module")
def shipped() -> types.ModuleType:
    """The bundle's own verify.py, loaded as it is."""
    module = types.ModuleType("shipped_verify")
    sys.modules[module.__name__] = module
    exec(compile(verifier_script(), "verify.py", "exec"), vars(module))
    return module


def test_the_history_shows_every_kind_of_act_and_follows_the_rules(rich: History) -> None:
    report = check_bundle(bundle(Forger(rich)), PINS)
    assert (report.status, report.problem) == (OK, "")
    actions = {each["action"] for each in rich.entries}
    assert actions >= {
        "campaign.start", "hold", "hold.lift", "person.add", "pointer.move", "proposal.acknowledge",
        "proposal.approved_by_policy", "proposal.open", "proposal.ready", "proposal.review",
        "release.register", "resume", "role.grant", "stop", "version.register",
    }  # fmt: skip
    moves = [each["detail"] for each in rich.entries if each["action"] == "pointer.move"]
    assert {each.get("lane", "install") for each in moves} == {
        "install", "harness", "adapter", "evaluator", "policy", "roles", "revert", "break_glass",
    }  # fmt: skip


@pytest.mark.parametrize(("forge", "action", "sentence"), BREACHES.values(), ids=BREACHES)
def test_a_broken_rule_is_named_by_entry_and_rule(
    rich: History, shipped: types.ModuleType, forge: Forge, action: str, sentence: str
) -> None:
    forger = Forger(rich)
    forge(forger)
    files = bundle(forger)
    report = shipped.check_bundle(files, shipped.Pins([str(KEY)]))
    assert report.status == RULE_BROKEN and len(report.steps) == 8, report.problem
    log = [{**each, "seq": seq} for seq, each in enumerate(forger.log)]
    found = replay(log, forger.texts.get).broken
    assert report.problem.startswith(f"step 9 (Replay): {found[0]}")
    assert [line for line in found if sentence in line and f"({action} " in line], found
    mine = Verifier(files, [str(KEY)])
    assert mine.status() == RULE_BROKEN and found[0].startswith(f"{mine.breach.partition(':')[0]} "), (
        mine.breach
    )


def test_both_commands_end_with_the_status_of_a_broken_rule(
    rich: History, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forger = Forger(rich)
    forger.move("adapter")["detail"]["consumed"].pop()
    folder = unpack(bundle(forger), tmp_path / "bundle")
    command = [sys.executable, "-I", str(folder / "verify.py"), "--key", str(KEY)]
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == RULE_BROKEN
    assert "RULE BROKEN: step 9 (Replay): entry " in done.stderr and "asks for 2" in done.stderr
    with pytest.raises(SystemExit) as ended:
        call_command("verify_audit", str(folder), "--key", str(KEY))
    assert ended.value.code == RULE_BROKEN
    assert "asks for 2" in capsys.readouterr().out


def test_a_policy_or_evaluator_that_the_bundle_lacks_makes_it_incomplete(rich: History) -> None:
    for digest in rich.texts:
        forger = Forger(rich)
        del forger.texts[digest]
        report = check_bundle(bundle(forger), PINS)
        assert report.status == INCOMPLETE and f"versions/{digest}" in report.problem
        assert "is judged" in report.problem


def test_a_version_file_that_is_not_what_its_name_says_is_tampered(rich: History) -> None:
    forger = Forger(rich)
    digest = next(iter(forger.texts))
    forger.texts[digest] += b"\n"
    report = check_bundle(bundle(forger), PINS)
    assert f"SHA-256 of versions/{digest}" in report.problem and "step 8" in report.problem
