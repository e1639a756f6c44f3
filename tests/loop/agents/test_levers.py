"""Which lever the written rule pulls, and which decisions it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loop.agents.evidence import HistoryRow, Remaining
from loop.agents.facts import facts_of, success_rate
from loop.agents.levers import LeverFacts, check_decision, choose_lever, weights_route
from loop.errors import Refused
from loop.types import Decision, Landscape, Lever
from tests.loop.agents.samples import ALL, TEACHES, evidence, harness_row, weights_row

FLAT = Landscape(p=0.5, z=0.85, prompts=60, samples_per_prompt=8)
HOPELESS = Landscape(p=0.01, z=0.5, prompts=60, samples_per_prompt=8)


def facts(*history: HistoryRow, **changes: Any) -> LeverFacts:
    base = LeverFacts(
        budget=Remaining(generations=4),
        history=history,
        allowed=ALL,
        success=0.5,
        failures={"judgement": 50},
        landscape=TEACHES,
    )
    return replace(base, **changes)


CASES: list[tuple[str, LeverFacts, Lever, str]] = [
    ("a fresh campaign starts with the harness", facts(), Lever.HARNESS, "0 of 2"),
    ("one harness generation is not enough", facts(harness_row(1, True)), Lever.HARNESS, "1 of 2"),
    (
        "wrong judgement after two harness generations goes to the weights",
        facts(harness_row(1, True), harness_row(2)),
        Lever.WEIGHTS,
        "50 of 50 failures are wrong judgement",
    ),
    (
        "the last generation goes to weights that were never tried",
        facts(harness_row(1, True), budget=Remaining(generations=1)),
        Lever.WEIGHTS,
        "last generation left",
    ),
    (
        "after an accepted weight update it is the harness's turn",
        facts(harness_row(1), harness_row(2), weights_row(3, True)),
        Lever.HARNESS,
        "0 of 2",
    ),
    (
        "the first harness is not a harness generation",
        facts(harness_row(0, True), harness_row(1)),
        Lever.HARNESS,
        "1 of 2",
    ),
    (
        "failures of format, tools and time call for the harness",
        facts(harness_row(1, True), harness_row(2), failures={"judgement": 6, "format": 2, "timeout": 2}),
        Lever.HARNESS,
        "4 of 10 failures (0.40, limit 0.3)",
    ),
    (
        "few such failures do not",
        facts(harness_row(1, True), harness_row(2), failures={"judgement": 8, "tool": 2}),
        Lever.WEIGHTS,
        "8 of 10",
    ),
    (
        "success too high to teach is the harness's",
        facts(harness_row(1, True), harness_row(2), success=0.95),
        Lever.HARNESS,
        "0.950 is outside",
    ),
    (
        "success too low to teach is the harness's",
        facts(harness_row(1, True), harness_row(2), success=0.05),
        Lever.HARNESS,
        "0.050 is outside",
    ),
    (
        "a plateau of the harness goes to the weights",
        facts(harness_row(1), harness_row(2), failures={"format": 10}, success=0.05),
        Lever.WEIGHTS,
        "2 harness and 0 weight generations",
    ),
    (
        "a plateau of the weights goes to the harness",
        facts(harness_row(1, True), harness_row(2), weights_row(3), weights_row(4)),
        Lever.HARNESS,
        "weights are on a plateau",
    ),
    (
        "a plateau of both takes turns after the harness",
        facts(weights_row(1), weights_row(2), harness_row(3), harness_row(4)),
        Lever.WEIGHTS,
        "take turns",
    ),
    (
        "a plateau of both takes turns after the weights",
        facts(harness_row(1), harness_row(2), weights_row(3), weights_row(4)),
        Lever.HARNESS,
        "take turns",
    ),
    (
        "flat groups cannot teach",
        facts(harness_row(1), harness_row(2), landscape=FLAT),
        Lever.HARNESS,
        "z=0.850",
    ),
    (
        "success near zero cannot teach",
        facts(harness_row(1), harness_row(2), landscape=HOPELESS),
        Lever.HARNESS,
        "p=0.010",
    ),
    (
        "weights that were not measured are not tried",
        facts(harness_row(1), harness_row(2), landscape=None),
        Lever.HARNESS,
        "not measured",
    ),
    (
        "weights that are not allowed are not tried",
        facts(harness_row(1), harness_row(2), allowed=frozenset({Lever.HARNESS})),
        Lever.HARNESS,
        "not allowed",
    ),
    (
        "an exhausted harness leaves the weights",
        facts(harness_exhausted=True),
        Lever.WEIGHTS,
        "every setting",
    ),
    (
        "an exhausted harness without weights stops",
        facts(harness_exhausted=True, landscape=FLAT),
        Lever.STOP,
        "z=0.850",
    ),
    (
        "six vain harness generations without weights stop",
        facts(*(harness_row(number) for number in range(1, 7)), landscape=HOPELESS),
        Lever.STOP,
        "6 harness generations",
    ),
    ("no generation left stops", facts(budget=Remaining(0)), Lever.STOP, "no generation"),
    ("no money left stops", facts(budget=Remaining(3, cost_usd=0.0)), Lever.STOP, "money budget"),
    ("no tokens left stops", facts(budget=Remaining(3, tokens=0)), Lever.STOP, "tokens budget"),
    ("no time left stops", facts(budget=Remaining(3, wall_s=-2.0)), Lever.STOP, "time budget"),
]


@pytest.mark.parametrize(("case", "given", "lever", "words"), CASES, ids=[case[0] for case in CASES])
def test_the_rule(case: str, given: LeverFacts, lever: Lever, words: str) -> None:
    chosen, reason = choose_lever(given)
    assert (chosen, words in reason) == (lever, True), reason
    assert reason.endswith(".")


def test_six_generations_of_wrong_judgement_use_both_levers_in_turns() -> None:
    history: list[HistoryRow] = []
    for number in range(1, 7):
        lever, _ = choose_lever(facts(*history, budget=Remaining(generations=7 - number)))
        history.append(HistoryRow(number, lever, True, "kept", 0.5, 0.55))
    names = [row.lever.value[0] for row in history]
    assert names == ["h", "h", "w", "h", "h", "w"]


def test_the_router_hears_of_the_first_weight_round() -> None:
    assert facts().first_round() and not facts(weights_row(1)).first_round()
    assert not weights_route(facts(weights_row(1))).refused


@pytest.mark.parametrize(
    ("decision", "given", "words"),
    [
        (Decision(Lever.WEIGHTS, "teach"), facts(landscape=FLAT), "z=0.850"),
        (Decision(Lever.WEIGHTS, "teach"), facts(landscape=HOPELESS), "p=0.010"),
        (Decision(Lever.WEIGHTS, "teach"), facts(landscape=None), "not measured"),
        (Decision(Lever.WEIGHTS, "teach"), facts(allowed=frozenset({Lever.HARNESS})), "not open"),
        (Decision(Lever.EVALUATOR, "look"), facts(allowed=frozenset({Lever.HARNESS})), "not open"),
        (Decision(Lever.HARNESS, "edit"), facts(), "no file was changed"),
        (Decision(Lever.HARNESS, " ", files={"main.py": "x"}), facts(), "needs a reason"),
    ],
)
def test_a_decision_against_the_rules_is_refused_with_a_sentence(
    decision: Decision, given: LeverFacts, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        check_decision(decision, given)


@pytest.mark.parametrize(
    "decision",
    [
        Decision(Lever.WEIGHTS, "teach"),
        Decision(Lever.HARNESS, "edit", files={"main.py": "x"}),
        Decision(Lever.STOP, "enough"),
        Decision(Lever.EVALUATOR, "look"),
    ],
)
def test_a_decision_within_the_rules_passes(decision: Decision) -> None:
    check_decision(decision, facts())


def test_stopping_is_always_open() -> None:
    check_decision(Decision(Lever.STOP, "enough"), facts(allowed=frozenset({Lever.HARNESS})))


def test_success_is_the_measured_rate_or_the_score_within_its_range() -> None:
    assert success_rate(evidence(score_before=0.9)) == TEACHES.p
    assert success_rate(evidence(landscape=None, score_before=30.0, score_range=(20.0, 40.0))) == 0.5
    lower = evidence(landscape=None, score_before=2.0, score_range=(0.0, 8.0), higher_is_better=False)
    assert success_rate(lower) == 0.75
    assert success_rate(evidence(landscape=None, score_before=None)) is None
    assert success_rate(evidence(landscape=None, score_range=None)) is None
    assert success_rate(evidence(landscape=None, score_range=(1.0, 1.0))) is None
    assert facts_of(evidence(), harness_exhausted=True).harness_exhausted
