"""The simulation behind `bench gate`: small, seeded, by the gate's own functions, and able to fail."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from loop import bench_gate
from loop.bench_gate import Figure, Results, accepted, campaigns, decider, paired
from loop.bench_gate_report import as_svg, as_text
from loop.gate import Rules, compare, corrected_alpha, rule


@pytest.fixture(scope="module")
def found() -> Results:
    """A simulation of 200 campaigns a row."""
    return bench_gate.bench_gate(200, 3, lambda line: None)


def test_the_simulation_keeps_the_gates_promises_and_the_published_table(found: Results) -> None:
    assert found.failures() == []
    for n, k in ((50, 20), (100, 50), (1000, 50)):
        greedy, gated = (found.campaigns[n, k, name][1].value for name in ("best score", "gate, alpha/k"))
        assert greedy > 3
        assert gated <= 0.06


def test_the_same_seed_gives_the_same_table() -> None:
    row = campaigns(50, 20, 100, np.random.default_rng(5))
    assert row == campaigns(50, 20, 100, np.random.default_rng(5))
    assert row != campaigns(50, 20, 100, np.random.default_rng(6))


def test_repeated_trials_fool_cmh_alone_and_not_the_gate(found: Results) -> None:
    assert found.repeated["CMH alone, same answer in every trial"].value > 0.15
    assert found.repeated["gate, same answer in every trial"].value < 0.06


def test_the_simulation_decides_as_the_gate_does_item_by_item() -> None:
    rng = np.random.default_rng(1)
    new, old = (rng.random((40, 60)) < 0.5 for _ in range(2))
    new[:10] |= rng.random((10, 60)) < 0.6
    rules = Rules(corrected_alpha(0.05, 20, 1), 0.0)
    for a, b, taken in zip(new, old, accepted(decider("gate, alpha/k", 20), new, old), strict=True):
        arms = [{f"{at}": float(bit) for at, bit in enumerate(arm)} for arm in (a, b)]
        result = compare(arms[0], arms[1], rules)
        assert rule(result, rules).passed == bool(taken)
        assert paired(60, result.wins, result.losses).p == result.p


def test_a_gate_that_promotes_too_often_or_sees_too_little_fails(found: Results) -> None:
    key = (100, 20, "gate, alpha/k")
    often = {**found.campaigns, key: (found.campaigns[key][0], Figure(0.2, 0.01, 0.02))}
    assert "false promotions" in replace(found, campaigns=often).failures()[0]
    blind = {**found.power, (0.2, 0.05): (1062, Figure(0.6, 0.01, 1062.0))}
    assert "less than 0.8" in replace(found, power=blind).failures()[0]
    inflated = {**found.campaigns, key: (Figure(9.0, 0.1, 0.0), found.campaigns[key][1])}
    assert "points of inflation" in replace(found, campaigns=inflated).failures()[0]
    fooled = {"gate, same answer in every trial": Figure(0.3, 0.01)}
    assert "of the candidates pass" in replace(found, repeated=fooled).failures()[0]


def test_the_table_and_the_picture_show_every_row(found: Results) -> None:
    text = as_text(found)
    for words in ("Supposed:", "1000, 50", "+17.9 (4.10)", "the bit of the gate", "1595"):
        assert words in text
    picture = ElementTree.fromstring(as_svg(found))
    bars = [each for each in picture.iter() if each.tag.endswith("rect")]
    assert len(bars) == 1 + 5 * 4 + 4


def test_the_command_prints_json_draws_and_refuses_too_few_runs(tmp_path: Path) -> None:
    out = io.StringIO()
    call_command("bench", "gate", "--runs", "100", "--svg", str(tmp_path / "g.svg"), "--json", stdout=out)
    data = json.loads(out.getvalue())
    assert len(data["campaigns"]) == 20
    assert data["failures"] == []
    assert (tmp_path / "g.svg").read_text().startswith("<svg")
    with pytest.raises(CommandError, match="at least 100"):
        call_command("bench", "gate", "--runs", "5")
