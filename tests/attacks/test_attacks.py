"""Hostile harnesses, judged from outside: secrets, files, sockets, survivors, limits and the score they get.

The catalogue runs once for each kind of worker, several attacks at a time, and each attack is a test of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from loop.types import Outcome
from tests.attacks.arena import Arena
from tests.attacks.catalogue import attacks
from tests.attacks.judge import Verdict, judge_all
from tests.attacks.workers import kinds

ATTACKS = {name: attack for name, attack in attacks().items() if not attack.needs_gateway}
Verdicts = Callable[[str, str], Verdict]


@pytest.fixture(scope="module")
def verdict(request: pytest.FixtureRequest) -> Verdicts:
    """The verdict on an attack by a kind of worker, from one run over all those that were selected."""
    found: dict[tuple[str, str], Verdict] = {}

    def selected(kind: str) -> set[str]:
        calls = [getattr(item, "callspec", None) for item in request.session.items]
        return {call.params["name"] for call in calls if call and call.params.get("kind") == kind}

    def look(kind: str, name: str) -> Verdict:
        if (kind, name) not in found:
            these = [attack for key, attack in ATTACKS.items() if key in selected(kind)]
            found.update({(kind, each.attack.name): each for each in judge_all(these, kind)})
        return found[kind, name]

    return look


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in kinds() for name in ATTACKS if ATTACKS[name].runs_as(kind)]
)
def test_an_attack_is_contained(verdict: Verdicts, kind: str, name: str) -> None:
    found = verdict(kind, name)
    assert not found.problems, found.explain()


def test_a_hostile_log_is_escaped(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    try:
        report = arena.run(arena.harness(ATTACKS["terminal_text"].folder), secrets.randbits(60))
    finally:
        arena.close()
    assert report.outcome is Outcome.OK
    assert "\\x1b[2J" in report.log_tail and "\\u202e" in report.log_tail
    assert not any(char in report.log_tail for char in "\x1b\u202e\u200b\x07")
