"""The table of threats in docs/security.md names tests that exist; and what no other test shows."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.utils.module_loading import import_string

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security.md"
THREATS = 25


def rows() -> list[list[str]]:
    """The cells of the table of threats."""
    section = PAGE.read_text(encoding="utf-8").partition("## Threats,")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in lines[1:]]


def names_of_tests() -> set[str]:
    """Every test function of this repository."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found.update(
            node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        )
    return found


def test_every_threat_has_an_answer_and_tests_that_exist() -> None:
    told, known = rows(), names_of_tests()
    assert len(told) == THREATS
    for threat, answer, shown in told:
        names = re.findall(r"`(test_\w+)`", shown)
        assert threat and answer and names, threat
        assert [name for name in names if name not in known] == [], threat


class Touch:
    """What runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        """Where the traces would be."""
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """Make the file on unpickling."""
        return Path.touch, (self.path,)


def test_no_queue_unpickles_what_lies_in_it(tmp_path: Path) -> None:
    poison = pickle.dumps(Touch(tmp_path / "owned"))
    assert settings.RQ_QUEUES
    for name, queue in settings.RQ_QUEUES.items():
        serializer = import_string(queue["SERIALIZER"])
        with pytest.raises((ValueError, UnicodeDecodeError)):
            serializer.loads(poison)
        assert not list(tmp_path.iterdir()), name
    pickle.loads(poison)
    assert (tmp_path / "owned").exists()
