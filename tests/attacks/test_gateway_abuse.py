"""Hostile harnesses against a real gateway, judged by what the provider received, what it cost and what was recorded.

The control at the end sends the same programs to the provider directly, as a gateway that passes everything on would:
there the judge must find violations.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.attacks.catalogue import attacks
from tests.attacks.gateway_judge import attempt, judge_gateway, passed_on

GATEWAY = {name: attack for name, attack in attacks().items() if attack.needs_gateway}


@pytest.mark.parametrize("name", GATEWAY)
def test_an_abuse_of_the_gateway_is_contained(name: str) -> None:
    verdict = judge_gateway(GATEWAY[name], "root")
    assert not verdict.problems, verdict.explain()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gateway")]


def test_a_race_for_the_budget_spends_all_of_it_and_no_more(tmp_path: Path) -> None:
    trial = attempt("gateway_budget_race", tmp_path)
    assert trial.report.usage.cost_usd == pytest.approx(0.3) and len(trial.seen) == 30


def test_a_harness_that_leaves_with_a_call_in_flight_is_scored_and_charged(tmp_path: Path) -> None:
    trial = attempt("gateway_outage_fraud", tmp_path)
    cut = [call for call in trial.report.calls if call.status == 499]
    assert cut and all(call.reserved_tokens > 0 and call.cost_usd > 0 for call in cut if call.attempts)


@pytest.mark.parametrize("name", [name for name, attack in GATEWAY.items() if attack.works])
def test_without_the_gateway_the_same_abuse_reaches_the_provider(name: str, tmp_path: Path) -> None:
    assert passed_on(name, tmp_path)
