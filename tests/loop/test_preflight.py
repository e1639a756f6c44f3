"""No campaign starts on a task whose own submissions did not come to what they must."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from governance.digests import json_digest
from governance.errors import NotAllowed
from governance.models import AuditEntry, Person, Task, Version
from loop import hidden_store, preflight
from loop.catalog import PreflightNeed, TaskSpec, load_task
from loop.errors import TaskError
from loop.installation import install
from loop.installed import InstalledTask, open_task
from loop.models import Campaign, Preflight
from loop.preflight import CHEATS, EXPOSED, HONEST, SCREENED, Check, Ended, Verdict
from loop.preflights import carry_out, green_preflight, hold_preflight, latest
from loop.types import Score
from tests.loop.conftest import COINS, Service

pytestmark = pytest.mark.one_database


def quiet(check: Check) -> None:
    """Nobody listens."""


@pytest.fixture
def bare(service: Service) -> Service:
    """The service without the preflight that its fixture holds."""
    Preflight.objects.all().delete()
    return service


@pytest.fixture
def viewer(service: Service) -> Client:
    """The operator at the desk."""
    client = Client(headers={"host": "localhost"})
    client.force_login(Person.objects.get(ref=service.operator.ref).user)
    return client


def changed(service: Service, tmp_path: Path, edits: dict[str, tuple[str, str]]) -> InstalledTask:
    """Another task made from coins by replacing text in some of its files, installed."""
    folder = tmp_path / "other"
    shutil.copytree(COINS, folder)
    for name, (old, new) in {**edits, "task.toml": edits.get("task.toml", ("", ""))}.items():
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
    path = folder / "task.toml"
    path.write_text(path.read_text().replace('id = "coins"', 'id = "other"'))
    return open_task(install(folder, service.operator))


def failed(row: Preflight) -> dict[str, str]:
    """What was found by the checks that did not pass."""
    return {check["name"]: check["found"] for check in row.checks if not check["passed"]}


def test_an_honest_task_is_green_and_its_campaign_names_the_preflight(bare: Service, viewer: Client) -> None:
    told: list[Check] = []
    row = carry_out(open_task(bare.task), bare.operator, told.append)
    assert (row.green, failed(row)) == (True, {})
    assert {check.name for check in told} == {check["name"] for check in row.checks}
    assert [check["name"] for check in row.checks] == [
        "splits", "seed harness", "evaluator twice", "empty harness", "honest constant", "honest random",
        "honest right_cut", "cheat one_item", "cheat reads_labels", "cheat table", "reference right_cut",
        "base rate constant", "base rate random", "hidden set", "hidden apart", "hidden scored",
    ]  # fmt: skip
    assert row.digests["evaluator"] == open_task(bare.task).evaluator.digest
    campaign = bare.campaign()
    assert campaign.preflight == row
    page = viewer.get(f"/campaigns/{campaign.ref}/").content.decode()
    assert "16 checks passed" in page and "cheat reads_labels" in page
    entry = AuditEntry.objects.get(action="preflight.finish").entry()
    assert (entry["outcome"], entry["detail"]["preflight"]) == ("allowed", row.ref)
    read = AuditEntry.objects.get(action="hidden.read").entry()
    assert (read["actor"]["ref"], read["detail"]) == ("verifier", {"preflight": row.ref})
    assert read["seq"] < entry["seq"]


def test_without_a_preflight_no_campaign_starts_and_the_command_is_named(bare: Service) -> None:
    with pytest.raises(TaskError, match=r"without a preflight .* manage.py preflight coins --as OPERATOR"):
        bare.campaign()
    assert not Campaign.objects.exists()


def test_a_preflight_of_another_evaluator_does_not_count(service: Service) -> None:
    task = open_task(service.task)
    assert latest(task) is not None
    manifest = {**task.evaluator.manifest, "code": "c" * 64}
    other = Version(kind="evaluator", digest=json_digest(manifest), manifest=manifest)
    assert latest(replace(task, evaluator=other)) is None


def test_the_last_preflight_counts_and_an_unfinished_one_does_not(service: Service) -> None:
    task = open_task(service.task)
    good = green_preflight(task)
    facts = {"task": task.row, "digests": good.digests, "digest": good.digest, "run_by": "someone"}
    Preflight.objects.create(ref="begun", **facts)
    assert green_preflight(task) == good
    check = Check("cheat table", "screened", "score 1", False).as_json()
    Preflight.objects.create(ref="red", checks=[check], finished_at=good.finished_at, **facts)
    with pytest.raises(TaskError, match=r"its last preflight was red \(cheat table\)"):
        service.campaign()


def test_a_green_preflight_is_held_and_not_made_again(bare: Service) -> None:
    first = hold_preflight(bare.task, bare.operator, quiet)
    assert hold_preflight(bare.task, bare.operator, quiet) == first


def test_only_an_operator_examines(service: Service) -> None:
    with pytest.raises(NotAllowed):
        carry_out(open_task(service.task), service.reviewers[0], quiet)


def test_an_evaluator_that_believes_everyone_makes_everything_red(bare: Service, tmp_path: Path) -> None:
    trusting = ('answers[row["id"]] == row["answer"]', 'answers[row["id"]] != ""')
    row = carry_out(changed(bare, tmp_path, {"evaluator/evaluate.py": trusting}), bare.operator, quiet)
    assert not row.green
    assert failed(row) == {
        "honest constant": "score 1",
        "honest random": "score 1",
        "cheat reads_labels": "score 1, better than answering without looking",
        "base rate constant": "1",
        "base rate random": "1",
    }
    with pytest.raises(TaskError, match="cheat reads_labels"):
        green_preflight(open_task(Task.objects.get(slug="other")))


def test_an_evaluator_that_rolls_dice_is_seen(bare: Service, tmp_path: Path) -> None:
    told = 'return {"items": items'
    dice = (told, f"import os\n    items[min(items)] = int.from_bytes(os.urandom(6)) / 2**48\n    {told}")
    row = carry_out(changed(bare, tmp_path, {"evaluator/evaluate.py": dice}), bare.operator, quiet)
    assert failed(row) == {"evaluator twice": "another result"}


def test_a_reference_below_its_bar_a_shown_hidden_row_and_an_accepted_table_are_red(
    bare: Service, tmp_path: Path
) -> None:
    edits = {
        "task.toml": ("bar = 0.8", "bar = 0.97"),
        "prepare.py": (
            "            weight = rng.random()\n",
            "            weight = rng.random() if number else 0.5\n",
        ),
        "tests/cheats/table/main.py": ("TABLE = [", "TABLE = 500 * ['light']\nREST = ["),
        "tests/expected.toml": (
            '[cheats.table]\noutcome = "screened"',
            '[cheats.table]\noutcome = "timeout"',
        ),
    }
    row = carry_out(changed(bare, tmp_path, edits), bare.operator, quiet)
    found = failed(row)
    assert found.keys() == {"reference right_cut", "splits", "hidden apart", "cheat table"}
    assert found["hidden apart"] == "1 rows are public"
    assert found["cheat table"].startswith("score")


def test_a_hidden_set_that_was_changed_is_red_and_nothing_of_it_is_told(bare: Service) -> None:
    task = open_task(bare.task)
    path = hidden_store.sets().root / task.evaluator.manifest["hidden_commitment"] / "inputs" / "inputs.jsonl"
    path.write_text(path.read_text().replace("weight", "height"))
    row = carry_out(task, bare.operator, quiet)
    assert failed(row).keys() == {"hidden set"}
    assert "was changed on disk" in failed(row)["hidden set"]


def test_the_command_tells_each_check_and_fails_when_one_is_red(
    bare: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAWL_PASSWORD", "correct-horse-oscar")
    changed(bare, tmp_path, {"task.toml": ("bar = 0.8", "bar = 0.97")})
    out, progress = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError, match="is red; no campaign starts"):
        call_command("preflight", "other", "--as", "oscar", "--json", stdout=out, stderr=progress)
    told = json.loads(out.getvalue())
    assert told["green"] is False
    assert len(progress.getvalue().strip().splitlines()) == len(told["checks"])
    with pytest.raises(CommandError, match="no task 'nothing'"):
        call_command("preflight", "nothing", "--as", "oscar")


# --- judgement ---


@pytest.fixture(scope="module")
def coins() -> TaskSpec:
    return load_task(COINS)


def test_a_cheat_that_scores_better_than_a_guess_is_red_whatever_its_verdict_allows(coins: TaskSpec) -> None:
    lax = Verdict(CHEATS, "x", "ok", 0.0, 1.0)
    assert preflight.judge(lax, Ended("ok", 0.66), coins).passed
    assert not preflight.judge(lax, Ended("ok", 0.67), coins).passed
    assert not preflight.judge(lax, Ended("ok", None), coins).passed


def test_for_a_metric_that_is_to_be_small_better_is_smaller(coins: TaskSpec) -> None:
    small = replace(
        coins,
        metric=replace(coins.metric, maximize=False),
        preflight=PreflightNeed("best", 0.2, 0.9, 0.1, ("constant",)),
    )
    lax = Verdict(CHEATS, "x", "ok", 0.0, 1.0)
    assert preflight.judge(lax, Ended("ok", 0.81), small).passed
    assert not preflight.judge(lax, Ended("ok", 0.79), small).passed
    assert preflight.judge_reference("best", 0.2, small).passed
    assert not preflight.judge_reference("best", 0.21, small).passed


@pytest.mark.parametrize(
    ("verdict", "ended", "passed"),
    [
        (Verdict(HONEST, "x", "ok", 0.4, 0.6), Ended("ok", 0.6), True),
        (Verdict(HONEST, "x", "ok", 0.4, 0.6), Ended("ok", 0.61), False),
        (Verdict(HONEST, "x", "ok", 0.4, 0.6), Ended("timeout", None), False),
        (Verdict(CHEATS, "x", "output_rejected"), Ended("output_rejected", None), True),
        (Verdict(CHEATS, "x", "output_rejected"), Ended("timeout", None), False),
        (Verdict(CHEATS, "x", SCREENED), Ended("passed the screen", None), False),
        (Verdict(EXPOSED, "x", "ok", 0.9, 1.0), Ended("ok", 1.0), True),
        (Verdict(EXPOSED, "x", "ok", 0.9, 1.0), Ended("output_rejected", None), False),
    ],
)
def test_a_submission_is_held_to_its_verdict(
    coins: TaskSpec, verdict: Verdict, ended: Ended, passed: bool
) -> None:
    assert preflight.judge(verdict, ended, coins).passed is passed


def test_a_hole_may_be_known_only_where_labels_are_public(coins: TaskSpec) -> None:
    hole = Verdict(EXPOSED, "x", "ok", 0.9, 1.0)
    assert not preflight.judge(hole, Ended("ok", 1.0), replace(coins, label_secrecy="secret")).passed


def test_an_unknown_score_passes_for_the_empty_harness_alone(coins: TaskSpec) -> None:
    assert preflight.judge_empty(Ended("output_rejected", None)).passed
    assert not preflight.judge_empty(Ended("ok", 0.0)).passed
    assert not preflight.judge_seed(Ended("ok", None, "The evaluator failed.")).passed
    assert not preflight.judge_reference("x", None, coins).passed
    assert not preflight.judge_blind("x", None, coins).passed
    assert not preflight.judge_repeat(None, None, coins.metric).passed
    one = Score(1.0, {"a": 1.0}, {"accuracy": 1.0})
    assert not preflight.judge_repeat(one, replace(one, items={"a": 0.5}), coins.metric).passed


def test_no_checks_at_all_are_not_green() -> None:
    assert not preflight.is_green([])
    assert not preflight.is_green([Check("a", "", "", True), Check("b", "", "", False)])


@pytest.mark.parametrize(
    ("val", "found"),
    [
        ([("a", "1")], "public-val has 1 items, not 2"),
        ([("a", "1"), ("x", "2")], "shares 1 ids or rows"),
        ([("a", "1"), ("b", "9")], "shares 1 ids or rows"),
        ([("a", "1"), ("b", "")], "as declared"),
    ],
)
def test_splits_of_another_size_or_with_shared_rows_are_seen(val: list[tuple[str, str]], found: str) -> None:
    rows = {"public-train": [("x", "9"), ("y", "")], "public-val": val}
    check = preflight.judge_splits(rows, {"public-train": 2, "public-val": 2})
    assert found in check.found
    assert check.passed == (found == "as declared")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[cheats.table]", "[cheats.tables]", "needs both a verdict here and a folder"),
        ('[cheats.table]\noutcome = "screened"', "", "cheats.table needs both"),
        ('outcome = "screened"', 'outcome = "fine"', "must be ok or harness_failed"),
        ('outcome = "screened"', 'outcome = "screened"\nscore = [0, 1]', "belongs to the outcome ok"),
        ("score = [0.40, 0.60]", "score = [0.60, 0.40]", "the lower one first"),
        ("score = [0.40, 0.60]", "", "belongs to the outcome ok"),
        ("[honest.constant]", "[good.constant]", "good is not a known field"),
        (
            '[honest.constant]\noutcome = "ok"\nscore = [0.45, 0.65]',
            '[honest.constant]\noutcome = "timeout"',
            "must be ok",
        ),
        ("[honest.constant]", "[honest", "cannot be read as TOML"),
    ],
)
def test_verdicts_that_cannot_be_used_are_named(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    shutil.copytree(COINS, tmp_path / "task")
    path = tmp_path / "task" / "tests" / "expected.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(TaskError) as caught:
        preflight.read_verdicts(load_task(tmp_path / "task"))
    assert sentence in str(caught.value)


def test_a_task_without_verdicts_or_without_the_table_cannot_be_examined(
    tmp_path: Path, coins: TaskSpec
) -> None:
    with pytest.raises(TaskError, match=r"no tests/expected.toml"):
        preflight.read_verdicts(replace(coins, folder=tmp_path))
    with pytest.raises(TaskError, match=r"no \[preflight\] table"):
        preflight.needed(replace(coins, preflight=None))
