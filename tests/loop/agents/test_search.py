"""The `search` backend: deterministic, never twice the same, and better for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from loop.agents.backends.search import SearchBackend, known_of
from loop.agents.evidence import Evidence, HistoryRow, Remaining
from loop.agents.feedback import decide
from loop.agents.meta import first_harness
from loop.agents.settings_file import parse_settings
from loop.agents.space import far_end, grid, key, screening, searchable, trials_of, values_of
from loop.types import AgentCallRecord, Decision, Lever
from tests.loop.agents.samples import HARNESS, SETTINGS, evidence, harness_row, weights_row

HARNESS_ONLY = frozenset({Lever.HARNESS, Lever.STOP})
MANY = (
    "\n".join(f'[s{number}]\nvalue = 0\ntype = "int"\nmin = 0\nmax = 4\n' for number in range(6))
    + '[mode]\nvalue = "a"\ntype = "choice"\nchoices = ["a", "b", "c"]\n'
)


def nothing(record: AgentCallRecord) -> None:
    raise AssertionError("search has no exchanges to record")


def play(
    settings: str, score: Callable[[Mapping[str, Any]], float], turns: int, seed: int = 3
) -> list[HistoryRow]:
    """A campaign with the harness lever only, keeping what is better."""
    files = {**HARNESS, "settings.toml": settings}
    history: list[HistoryRow] = []
    for number in range(1, turns + 1):
        values = {name: entry.value for name, entry in parse_settings(files["settings.toml"]).items()}
        given = evidence(
            harness_files=files,
            score_before=score(values),
            history=tuple(history),
            generation=number,
            seed=seed,
            allowed_levers=HARNESS_ONLY,
            budget=Remaining(99),
        )
        decision = decide(SearchBackend(), given, nothing)
        if decision.lever is Lever.STOP:
            break
        new = score({**values, **decision.params})
        better = new > score(values)
        history.append(HistoryRow(number, Lever.HARNESS, better, "", score(values), new, decision.params))
        if better:
            files = {path: text for path, text in {**files, **decision.files}.items() if text is not None}
    return history


def test_the_first_harness_is_the_seed_with_its_settings_on_record() -> None:
    decision = first_harness(SearchBackend(), evidence(score_before=None), nothing)
    assert decision.files == {} and decision.params == {"votes": 1, "temperature": 1.0, "strict": True}


def test_an_edit_changes_settings_only_and_keeps_the_rest_of_the_file() -> None:
    decision = decide(SearchBackend(), evidence(), nothing)
    assert decision.lever is Lever.HARNESS and set(decision.files) == {"settings.toml"}
    text = decision.files["settings.toml"]
    assert text is not None and "# What may be tuned." in text and "# asked once" in text
    assert {name: entry.value for name, entry in searchable(parse_settings(text)).items()} == decision.params
    assert "votes 1 -> 5" in decision.reason and "0 of 2" in decision.reason


def test_the_same_evidence_gives_the_same_decision() -> None:
    history = (harness_row(1, params={"votes": 5, "temperature": 0.0, "strict": False}), weights_row(2, True))
    assert decide(SearchBackend(), evidence(history=history), nothing) == decide(
        SearchBackend(), evidence(history=history), nothing
    )


def test_settings_are_never_tried_twice_and_the_search_stops_when_all_were() -> None:
    history = play(SETTINGS, lambda values: 0.5, 99)
    keys = [key(row.params) for row in history]
    assert len(set(keys)) == len(keys) == 6
    given = evidence(history=tuple(history[:5]), allowed_levers=HARNESS_ONLY, budget=Remaining(99))
    assert decide(SearchBackend(), given, nothing).lever is Lever.HARNESS


def test_every_setting_of_a_small_space_is_reached() -> None:
    small = '[a]\nvalue = 1\ntype = "int"\nmin = 1\nmax = 2\n[b]\nvalue = false\ntype = "bool"\n'
    rising = itertools.count()
    history = play(small, lambda values: float(next(rising)), 99)
    assert {key(row.params) for row in history} == {
        key({"a": one, "b": other}) for one in (1, 2) for other in (False, True) if (one, other) != (1, False)
    }


def test_weights_go_on_when_every_setting_was_tried() -> None:
    small = '[a]\nvalue = 1\ntype = "int"\nmin = 1\nmax = 2\n'
    files = {**HARNESS, "settings.toml": small}
    history = (harness_row(1, params={"a": 2}),)
    decision = decide(SearchBackend(), evidence(harness_files=files, history=history), nothing)
    assert decision.lever is Lever.WEIGHTS and decision.algorithm == "grpo" and decision.hyper
    assert "every setting of the harness was tried" in decision.reason


def test_a_harness_without_settings_leaves_the_weights_or_stops() -> None:
    files = {"main.py": "x = 1\n"}
    assert decide(SearchBackend(), evidence(harness_files=files), nothing).lever is Lever.WEIGHTS
    alone = evidence(harness_files=files, landscape=None)
    assert decide(SearchBackend(), alone, nothing).lever is Lever.STOP


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_search_finds_better_settings_than_the_seed(seed: int) -> None:
    def score(values: Mapping[str, Any]) -> float:
        return values["s0"] + values["s3"] - abs(values["s1"] - 2) + 3 * (values["mode"] == "b")

    history = play(MANY, score, 24, seed)
    best = max(row.score for row in history if row.score is not None)
    assert history[0].accepted and best >= 8.0


def test_choices_keep_their_type() -> None:
    history = play(SETTINGS, lambda values: values["votes"], 6)
    assert all(isinstance(row.params["votes"], int) for row in history)


def test_settings_are_screened_in_groups_at_their_far_ends_first() -> None:
    space = searchable(parse_settings(MANY))
    assert screening(space) == [["s0", "s1", "s2"], ["s3", "s4", "s5"], ["mode"]]
    history = play(MANY, lambda values: values["s0"], 3)
    assert history[0].params == {"s0": 4, "s1": 4, "s2": 4, "s3": 0, "s4": 0, "s5": 0, "mode": "a"}
    assert history[1].params == {"s0": 4, "s1": 4, "s2": 4, "s3": 4, "s4": 4, "s5": 4, "mode": "a"}
    assert history[2].params == {"s0": 4, "s1": 4, "s2": 4, "s3": 0, "s4": 0, "s5": 0, "mode": "c"}
    assert far_end(space["s0"], 4) == 0 and far_end(space["s0"], 2) == 4


def test_a_continuous_range_is_searched_too() -> None:
    text = '[t]\nvalue = 0.3\ntype = "float"\nmin = 0.0\nmax = 1.0\n'
    space = searchable(parse_settings(text))
    assert values_of(space["t"]) == float("inf") and len(grid(space["t"])) == 11
    history = play(text, lambda values: -abs(values["t"] - 0.7), 12)
    assert len(history) == 12 and max(row.score or -9 for row in history) > -0.15


def test_the_gain_of_a_weight_update_is_taken_off_later_scores() -> None:
    space = searchable(parse_settings(SETTINGS))
    params = {"votes": 3, "temperature": 0.5, "strict": True}
    rows = (
        replace(harness_row(1, params=params), score=0.5),
        replace(weights_row(2, True), score_before=0.5, score=0.75),
        replace(harness_row(3, params={**params, "votes": 5}), score=0.7),
        harness_row(4, params={"votes": 9, "temperature": 0.5, "strict": True}),
        replace(harness_row(5, params={**params, "votes": 1}), score=None),
    )
    assert [trial.value for trial in trials_of(space, rows, True)] == pytest.approx([0.5, 0.45])
    assert [trial.value for trial in trials_of(space, rows, False)] == pytest.approx([-0.5, -0.45])


def test_the_parent_is_told_at_the_first_weights_too() -> None:
    space = searchable(parse_settings(SETTINGS))
    history = (replace(weights_row(1, True), score_before=0.3, score=0.5),)
    known = known_of(evidence(history=history, score_before=0.55), space)
    assert [trial.value for trial in known.trials] == pytest.approx([0.35])


def test_what_a_backend_decides_is_checked_whoever_it_is() -> None:
    class Idle:
        name = "idle"

        def write_harness(self, given: Evidence, record: Any) -> Decision:
            return Decision(Lever.STOP, "no")

        def decide(self, given: Evidence, record: Any) -> Decision:
            return Decision(Lever.HARNESS, "nothing new", files={"main.py": HARNESS["main.py"]})

    with pytest.raises(Exception, match="changes nothing"):
        decide(Idle(), evidence(), nothing)
    with pytest.raises(Exception, match="one job is to write a harness"):
        first_harness(Idle(), evidence(), nothing)
