"""Rules of the code itself: who writes governance rows, and that the picture of the states is true."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from governance import actions
from governance.desk.diagram import mermaid, page
from governance.transitions import NEXT

REPO = Path(__file__).parents[2]
WRITES = {
    "save",
    "create",
    "update",
    "delete",
    "get_or_create",
    "update_or_create",
    "bulk_create",
    "bulk_update",
}
MODELS = {model.__name__ for model in apps.get_app_config("governance").get_models()}
WRITERS = {
    "governance/audit/log.py": {"AuditEntry", "AuditHead"},
    "governance/audit/checkpoints.py": {"Checkpoint"},
    "governance/audit/rows.py": {"a row"},
    "governance/audit/stored_tree.py": {"AuditNode"},
    "governance/audit/campaign_tokens.py": {"CampaignToken"},
    "governance/audit/tokens.py": {"ReadToken"},
    "governance/assurance/witnesses.py": {"Witnessing"},
}


def _writes(path: Path) -> list[str]:
    """Where a file writes rows: a manager's write on a governance model, or `.save()`/`.delete()` on anything."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES
        ):
            continue
        names = {part.id for part in ast.walk(node.func.value) if isinstance(part, ast.Name)}
        touched = names & MODELS or ({"a row"} if node.func.attr in {"save", "delete"} else set())
        found += [f"{path.relative_to(REPO).as_posix()}: {name}.{node.func.attr}" for name in sorted(touched)]
    return found


def _sources(*folders: str) -> list[Path]:
    files = [path for folder in folders for path in sorted((REPO / folder).rglob("*.py"))]
    return [path for path in files if "migrations" not in path.parts]


def test_only_actions_and_the_log_write_governance_rows() -> None:
    outside = [
        found
        for path in _sources("governance")
        if not path.is_relative_to(REPO / "governance" / "actions")
        for found in _writes(path)
    ]
    allowed = {f"{file}: {model}" for file, models in WRITERS.items() for model in models}
    assert [found for found in outside if found.rsplit(".", 1)[0] not in allowed] == []


def test_nothing_outside_the_core_writes_governance_rows() -> None:
    found = [line for path in _sources("loop", "deploy") for line in _writes(path)]
    assert [line for line in found if line.split(": ")[1].split(".")[0] in MODELS] == []


def test_the_search_for_writers_finds_them() -> None:
    found = _writes(REPO / "governance" / "actions" / "reverting.py")
    assert "governance/actions/reverting.py: a row.save" in found


def test_raw_sql_is_used_only_to_look_at_the_triggers() -> None:
    raw = [
        path for path in _sources("governance", "loop") if re.search(r"\.cursor\(|\.raw\(", path.read_text())
    ]
    assert raw == [REPO / "governance" / "assurance" / "verify.py"]
    assert not re.search(r"(?i)insert into|update \w+ set|delete from", raw[0].read_text())


@pytest.mark.parametrize(
    "name", [name for name in actions.__all__ if name[0].islower() and name != "policy_manifest"]
)
def test_every_act_takes_keywords_only_and_names_who_acts(name: str) -> None:
    parameters = inspect.signature(getattr(actions, name)).parameters
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())
    assert "by" in parameters
    assert len(parameters) <= 6


def test_the_diagram_shows_every_move_of_the_table() -> None:
    drawn = mermaid()
    listed = page()
    for old, following in NEXT.items():
        row = next(line for line in listed.splitlines() if line.startswith(f"| {old} |"))
        assert all(str(new) in row for new in following)
    assert "approved --> promoting" in drawn
    assert "draft --> approved" not in drawn


def test_the_page_of_states_in_the_documentation_is_up_to_date() -> None:
    call_command("state_diagram", check=True)


def test_an_outdated_page_of_states_is_refused(settings: object, tmp_path: Path) -> None:
    settings.REPO = tmp_path  # type: ignore[attr-defined]
    (tmp_path / "docs").mkdir()
    with pytest.raises(CommandError, match="state_diagram --write"):
        call_command("state_diagram", check=True)
    call_command("state_diagram", write=True)
    call_command("state_diagram", check=True)
