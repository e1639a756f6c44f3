"""Charts say what the figures say, for eyes and for screen readers."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from governance.desk.svg import Scale, element, interval_plot
from loop.charts import ScorePoint, best_so_far, nice_ticks, score_chart, sparkline

POINTS = [
    ScorePoint(0, 0.60, "", "baseline"),
    ScorePoint(1, 0.55, "harness", "discarded"),
    ScorePoint(2, 0.70, "weights", "kept"),
    ScorePoint(3, None, "harness", "failed"),
    ScorePoint(4, None, "", "open"),
]


def marks(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [item.attrib["class"] for item in root if item.attrib.get("class", "").startswith("mark")]


def test_every_finished_generation_has_one_mark_and_an_open_one_has_none() -> None:
    svg = score_chart(POINTS, metric="accuracy", direction="maximize", epoch="e" * 64)
    assert marks(svg) == [
        "mark harness baseline",
        "mark harness discarded",
        "mark weights kept",
        "mark none",
    ]


def test_a_higher_score_is_drawn_higher() -> None:
    root = ElementTree.fromstring(
        score_chart(POINTS, metric="accuracy", direction="maximize", epoch="e" * 64)
    )
    circles = [float(item.attrib["cy"]) for item in root if item.tag == "circle"]
    assert circles[0] < circles[1]


def test_the_description_names_the_best_kept_score() -> None:
    root = ElementTree.fromstring(
        score_chart(POINTS, metric="accuracy", direction="maximize", epoch="e" * 64)
    )
    assert root.findtext("desc") == "5 generations, 1 kept; best kept score from 0.6 to 0.7."
    assert root.findtext("title") == "accuracy on public-val by generation, evaluator epoch eeeeeeeeeeee"


def test_a_metric_name_cannot_bring_markup() -> None:
    svg = score_chart(POINTS, metric="<script>", direction="maximize", epoch="e" * 64)
    assert "<script>" not in svg


def test_no_points_draw_nothing_and_scoreless_points_still_draw() -> None:
    assert score_chart([], metric="accuracy", direction="maximize", epoch="e" * 64) == ""
    svg = score_chart(
        [ScorePoint(0, None, "", "failed")], metric="accuracy", direction="maximize", epoch="e" * 64
    )
    assert "none with a score yet" in svg


@pytest.mark.parametrize(
    ("direction", "expected"), [("maximize", [0.6, 0.6, 0.7, 0.7, 0.7]), ("minimize", [0.6] * 5)]
)
def test_only_kept_scores_move_the_best(direction: str, expected: list[float]) -> None:
    assert best_so_far(POINTS, "maximize" if direction == "maximize" else "minimize") == expected


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.604, 0.744), (5.0, 5.0), (0.0, 0.0), (-3.2, 17.0), (1e-9, 2e-9)]
)
def test_ticks_are_round_and_cover_the_data(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high
    assert 3 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))


def test_a_sparkline_skips_what_is_not_finite_and_needs_two_values() -> None:
    assert sparkline([1.0], label="loss") == ""
    root = ElementTree.fromstring(sparkline([1.0, float("nan"), 3.0], label="loss"))
    assert root.findtext("title") == "loss: from 1 to 3"
    (line,) = [item for item in root if item.tag == "polyline"]
    assert len(line.attrib["points"].split()) == 2


def test_an_interval_above_zero_is_drawn_as_good_and_shows_zero() -> None:
    root = ElementTree.fromstring(
        interval_plot(low=0.04, value=0.09, high=0.14, smallest_gain=0.02, label="Difference")
    )
    classes = [item.attrib.get("class", "") for item in root]
    assert "zero" in classes and "range good" in classes and "bar-min" in classes


@pytest.mark.parametrize(("low", "high", "tone"), [(-0.1, 0.1, "unsure"), (-0.2, -0.1, "bad")])
def test_an_interval_that_is_not_above_zero_is_not_good(low: float, high: float, tone: str) -> None:
    value = (low + high) / 2
    assert f"range {tone}" in interval_plot(low=low, value=value, high=high, smallest_gain=None, label="d")


def test_an_interval_upside_down_is_refused() -> None:
    with pytest.raises(ValueError, match="upside down"):
        interval_plot(low=1.0, value=0.5, high=0.0, smallest_gain=None, label="d")


def test_a_scale_without_width_stays_in_the_middle() -> None:
    assert Scale(2.0, 2.0, 0.0, 100.0)(2.0) == 50.0


def test_attributes_of_elements_are_escaped() -> None:
    assert element("text", {"class": '"><x'}, "a<b") == ('<text class="&quot;&gt;&lt;x">a&lt;b</text>')
