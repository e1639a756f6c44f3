"""Archive, contract and screen: pure rules of the loop."""

from __future__ import annotations

import pytest

from loop.archive import Accepted, best
from loop.contract import Budgets, Contract, Spent, check_budgets, query_level
from loop.errors import BudgetSpent, HarnessError, TaskError
from loop.screen import screen

MAIN = {"main.py": ("file", b"print(1)\n")}


def test_the_parent_is_the_best_accepted_version_and_the_oldest_of_equals() -> None:
    entries = [Accepted("a", 0.5, 0), Accepted("b", 0.7, 1), Accepted("c", 0.7, 3), Accepted("d", 0.6, 4)]
    assert best(entries).release == "b"
    assert best(entries, higher_is_better=False).release == "a"


def test_an_empty_archive_has_no_parent() -> None:
    with pytest.raises(ValueError, match="archive is empty"):
        best([])


@pytest.mark.parametrize(
    ("spent", "word"),
    [
        (Spent(wall_s=3600.0), "wall time"),
        (Spent(tokens=20_000_000), "tokens"),
        (Spent(cost_usd=10.0), r"\$10.00"),
    ],
)
def test_each_budget_ends_the_campaign_and_is_named(spent: Spent, word: str) -> None:
    with pytest.raises(BudgetSpent, match=word):
        check_budgets(spent, Budgets())


def test_what_is_left_of_a_budget_may_be_used() -> None:
    check_budgets(Spent(wall_s=3599.0, tokens=1, cost_usd=9.99), Budgets())


def test_a_contract_survives_its_json() -> None:
    contract = Contract(
        "t", "accuracy", True, "e", "p", "b", "search", 1, ("harness",), Budgets(generations=2)
    )
    assert Contract.from_json(contract.as_json()) == contract


def test_a_contract_without_a_hidden_query_is_refused() -> None:
    with pytest.raises(TaskError, match="at least one hidden query"):
        query_level(0.05, Budgets(hidden_queries=0), 1)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import evaluate\n", "imports evaluate"),
        ("from ctypes import CDLL\n", "imports ctypes"),
        ("import os\nos._exit(0)\n", "reaches for _exit"),
        ("p = '/labels/labels.jsonl'\n", "names the private place /labels/"),
        (f"A = {list(range(300))}\n", "table of 300 constants"),
        (f"A = {dict.fromkeys(range(300), 'x')}\n", "table of 300 constants"),
        ("def broken(:\n", "not valid Python"),
    ],
)
def test_the_screen_stops_an_edit_and_names_the_line(source: str, what: str) -> None:
    with pytest.raises(HarnessError, match=what):
        screen(MAIN, {"main.py": ("file", source.encode())})


def test_the_screen_stops_what_is_no_text() -> None:
    with pytest.raises(HarnessError, match="not UTF-8"):
        screen(MAIN, {**MAIN, "blob": ("file", b"\xff\xfe")})


def test_the_screen_looks_at_changed_files_only() -> None:
    old = {**MAIN, "helper.py": ("file", b"import ctypes\n")}
    screen(old, {**old, "main.py": ("file", b"import json\n")})
