"""The commands, as they are typed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from governance.desk.finding import digest_by_prefix, release_by_prefix
from governance.errors import BadInput
from governance.models import Person, Proposal, Release
from governance.pointers import live_release
from governance.policy import bundled_text
from governance.roles import roles_of
from tests.governance.cast import BETTER, PASSWORD, REASON, World, age, make_release, promoted, ready

pytestmark = pytest.mark.one_database


@pytest.fixture(autouse=True)
def passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody's password is at hand, as it is for a script."""
    monkeypatch.setenv("PAWL_PASSWORD", PASSWORD)
    monkeypatch.setenv("PAWL_NEW_PASSWORD", PASSWORD)


def run(*args: str) -> str:
    """What a command prints."""
    out = io.StringIO()
    call_command(*args, stdout=out)
    return out.getvalue().strip()


def run_json(*args: str) -> Any:
    """What a command prints with --json."""
    return json.loads(run(*args, "--json"))


def test_an_instance_is_set_up_and_handed_to_its_owner_by_command(db: None, signer_home: Path) -> None:
    assert "Nobody is known here yet" in run("people")
    run("people", "add", "oscar", "--role", "operator", "--role", "reviewer")
    assert "until 1 more evaluator owner is added" in run(
        "people", "add", "olga", "--role", "evaluator owner"
    )
    run("people", "add", "otto", "--role", "viewer")
    assert run("people", "revoke", "otto", "--role", "viewer") == "otto holds: no role."
    run("people", "grant", "otto", "--role", "evaluator owner")
    with pytest.raises(CommandError, match="Say who acts"):
        run("people", "add", "late")
    assert "two other evaluator owners decide" in run(
        "people", "add", "late", "--role", "viewer", "--as", "olga"
    )
    made = run_json("people", "grant", "otto", "--role", "auditor", "--as", "oscar")
    assert (made["status"], made["lane"]) == ("ready", "roles")
    listed = {row["name"]: row["roles"] for row in run_json("people")}
    assert listed == {
        "oscar": ["operator", "reviewer"],
        "olga": ["evaluator owner"],
        "otto": ["evaluator owner"],
        "late": [],
    }


def test_the_second_owner_added_by_command_ends_the_set_up(db: None, signer_home: Path) -> None:
    run("people", "add", "olga", "--role", "evaluator owner")
    assert run("people", "add", "otto", "--role", "evaluator owner").endswith("The set-up is over.")
    assert run("people", "add", "late", "--as", "otto") == "Added late (no role). The set-up is over."
    assert not Proposal.objects.exists()


def test_at_a_terminal_the_password_is_typed_without_being_shown(service_env: dict[str, str]) -> None:
    program = "import django; django.setup(); from governance.desk.signin import ask_password as ask; "
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program + "print(ask('Password of rita: ', 'PAWL_PASSWORD'))"],
        env=service_env,
        stdin=inside,
        stdout=subprocess.PIPE,
        stderr=inside,
        start_new_session=True,
        text=True,
    )
    os.close(inside)
    shown = b""
    while b"Password of rita: " not in shown:
        assert select.select([terminal], [], [], 30)[0], "nothing asks for the password"
        shown += os.read(terminal, 1024)
    os.write(terminal, b"open sesame\n")
    told, _ = process.communicate(timeout=30)
    assert (told, process.returncode) == ("open sesame\n", 0)
    with contextlib.suppress(OSError):  # nobody holds the other end any more
        shown += os.read(terminal, 1024)
    os.close(terminal)
    assert b"sesame" not in shown


def test_one_person_stops_and_two_resume_by_command(world: World) -> None:
    assert "Everything is stopped" in run("stop", "--reason", REASON, "--as", "rita")
    assert "a second person must ask" in run("resume", "--reason", REASON, "--as", "operator")
    assert run("resume", "--reason", REASON, "--as", "olga") == "Everything goes on."
    assert "digits is stopped" in run("stop", "digits", "--reason", REASON, "--as", "rita")


def test_a_proposal_is_reviewed_promoted_and_reverted_by_command(world: World) -> None:
    proposal = ready(world)
    assert proposal.ref[:8] in run("review")
    shown = run("review", proposal.ref[:8])
    assert proposal.subject_digest in shown
    assert "1 by reviewers" in shown
    done = run_json(
        "review",
        proposal.ref[:8],
        "--approve",
        "--reason",
        REASON,
        "--as",
        "rita",
        "--subject",
        proposal.subject_digest[:12],
    )
    assert done["status"] == "approved"
    moved = run_json("promote", proposal.ref, "--reason", REASON, "--as", "operator")
    assert live_release(world.task).digest == moved["digest"] == proposal.target
    assert "(live)" in run("revert", "digits")
    back = run_json("revert", "digits", "--to", world.seed.digest[:8], "--reason", REASON, "--as", "operator")
    assert live_release(world.task) == world.seed
    assert back["ref"][:8] in run("review")
    run("review", back["ref"], "--acknowledge", "--reason", REASON, "--as", "rita")
    assert run("review") == "Nothing waits for a review."


def test_a_verdict_on_another_subject_is_refused(world: World) -> None:
    proposal = ready(world)
    with pytest.raises(CommandError, match="read the proposal again"):
        run("review", proposal.ref, "--approve", "--reason", REASON, "--as", "rita", "--subject", "0" * 12)


def test_refusals_reach_the_command_line_as_the_rules_own_sentence(world: World) -> None:
    proposal = ready(world)
    with pytest.raises(CommandError, match="starter started or proposed this change"):
        run("review", proposal.ref, "--approve", "--reason", REASON, "--as", "starter")
    with pytest.raises(CommandError, match="only an approved one"):
        run("promote", proposal.ref, "--reason", REASON, "--as", "operator")
    with pytest.raises(CommandError, match="No proposal begins with"):
        run("promote", "0000", "--reason", REASON, "--as", "operator")
    with pytest.raises(CommandError, match="too short"):
        run("review", "0")
    with pytest.raises(CommandError, match="Task 'nope' is not installed"):
        run("revert", "nope")


def test_a_release_is_found_by_the_beginning_of_its_digest_when_no_other_begins_so(world: World) -> None:
    other = make_release(world.task, BETTER)
    assert release_by_prefix(f" {other.digest[:8].upper()} ") == other
    with pytest.raises(BadInput, match="No release begins with 'ffffffff'"):
        release_by_prefix("ffffffff")
    Release.objects.filter(pk=world.seed.pk).update(digest=other.digest[:12] + "0" * 52)
    with pytest.raises(BadInput, match="More than one release begins with"):
        release_by_prefix(other.digest[:8])
    with pytest.raises(BadInput, match="More than one release or version begins with"):
        digest_by_prefix(other.digest[:8])


def test_a_wrong_password_acts_for_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAWL_PASSWORD", "wrong")
    with pytest.raises(CommandError, match="do not fit together"):
        run("review", ready(world).ref, "--approve", "--reason", REASON, "--as", "rita")


def test_without_a_terminal_the_password_is_asked_for_by_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAWL_PASSWORD")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="set PAWL_PASSWORD"):
        run("review", ready(world).ref, "--approve", "--reason", REASON, "--as", "rita")


def test_an_account_without_a_person_acts_for_nobody(world: World) -> None:
    User.objects.create_superuser("root", password=PASSWORD)
    with pytest.raises(CommandError, match="belongs to no person"):
        run("promote", ready(world).ref, "--reason", REASON, "--as", "root")


def test_a_policy_is_proposed_by_command_and_waits_for_owners(world: World, tmp_path: Path) -> None:
    file = tmp_path / "new.toml"
    file.write_text(bundled_text().replace("max_changed_lines = 200", "max_changed_lines = 50"))
    made = run_json("propose", "--policy", str(file), "--summary", "Smaller steps.", "--as", "olga")
    assert (made["status"], made["lane"]) == ("ready", "policy")
    proposal = Proposal.objects.get(ref=made["ref"])
    assert {item.name for item in proposal.evidence.all()} == {"diff", "not_tested"}
    again = run_json("propose", "--policy", str(file), "--as", "olga")
    assert again["ref"] == made["ref"]


def test_a_policy_that_cannot_be_used_is_not_proposed(world: World, tmp_path: Path) -> None:
    file = tmp_path / "new.toml"
    file.write_text("name = 3")
    with pytest.raises(CommandError, match="lacks the table"):
        run("propose", "--policy", str(file), "--as", "olga")
    with pytest.raises(CommandError, match="is no file"):
        run("propose", "--policy", str(tmp_path / "none.toml"), "--as", "olga")
    assert not Proposal.objects.exists()


def test_lists_are_empty_and_people_are_found_when_there_is_little_to_show(world: World) -> None:
    assert run_json("review") == []
    proposal = promoted(world)
    age(proposal, hours=1)
    assert "approve   rita" in run("review", proposal.ref)
    assert roles_of(Person.objects.get(user__username="rita")) == {"reviewer"}


def test_commands_that_lack_a_name_or_a_role_say_so(world: World) -> None:
    with pytest.raises(CommandError, match="Say whom: people add NAME"):
        run("people", "add")
    with pytest.raises(CommandError, match="Say which role"):
        run("people", "grant", "rita", "--as", "olga")
    assert "stateDiagram-v2" in run("state_diagram")


def test_a_bad_version_is_previewed_held_reverted_and_lifted_by_command(world: World) -> None:
    proposal = promoted(world)
    assert run("hold") == "Nothing is held."
    assert "would go back to" in run("hold", proposal.target[:8], "--preview")
    done = run("hold", proposal.target[:8], "--revert", "--reason", REASON, "--as", "operator")
    assert f"digits is back at {world.seed.digest[:12]}" in done
    assert "Nothing that is live" in run("hold", proposal.target[:8], "--preview")
    assert REASON in run("hold")
    assert "a second person" in run(
        "hold", proposal.target[:8], "--lift", "--reason", REASON, "--as", "operator"
    )
    assert "no longer held" in run(
        "hold", proposal.target[:8], "--lift", "--reason", REASON, "--as", "starter"
    )
    assert "is held" in run("hold", proposal.target[:8], "--reason", REASON, "--as", "operator")
    with pytest.raises(CommandError, match="No release or version begins"):
        run("hold", "ffffffff")


def test_the_glass_is_broken_by_command(world: World) -> None:
    why = "Every answer since midnight is wrong and nothing former is better."
    release = make_release(world.task, BETTER)
    said = run("break_glass", "digits", "--release", release.digest[:8], "--reason", why, "--as", "operator")
    assert "waits for 2 other operators" in said
