"""Charts of a campaign as plain SVG, without scripts. Pure: numbers in, markup out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from django.utils.safestring import SafeString

from governance.desk.svg import Scale, element, join

Direction: TypeAlias = Literal["maximize", "minimize"]

WIDTH, HEIGHT = 760, 254  # pixels of the view box
LEFT, RIGHT, TOP, BOTTOM = 52, 744, 14, 216


@dataclass(frozen=True, slots=True)
class ScorePoint:
    """One generation: its public-val score in the metric's unit (None when unknown), lever and verdict."""

    number: int
    score: float | None
    lever: str
    verdict: str


def score_chart(points: Sequence[ScorePoint], *, metric: str, direction: Direction, epoch: str) -> SafeString:
    """Score by generation: one mark for each candidate and a step line through the best kept so far.

    Circles are harness changes, squares weight updates; kept marks are filled, others hollow. A finished
    generation without a score is a cross on the axis. Empty when there are no points. All scores are of the one
    `epoch` (an evaluator's digest) that the title names.
    """
    if not points:
        return SafeString()
    scores = [point.score for point in points if point.score is not None]
    ticks = nice_ticks(min(scores, default=0.0), max(scores, default=1.0))
    x = Scale(points[0].number - 0.4, points[-1].number + 0.4, LEFT, RIGHT)
    y = Scale(ticks[0], ticks[-1], BOTTOM, TOP)
    title = f"{metric} on public-val by generation, evaluator epoch {epoch[:12]}"
    parts = [element("title", {}, title), element("desc", {}, _describe(points, direction))]
    parts += [_tick_line(y(tick), f"{tick:.10g}") for tick in ticks]
    step = max(1, math.ceil(len(points) / 16))
    parts += [_label(x(point.number), str(point.number)) for point in points[::step]]
    parts += [_caption(), _best_line(points, direction, x, y)]
    for point in points:
        parts.append(_mark(point, x(point.number), None if point.score is None else y(point.score)))
    return element("svg", {"class": "chart", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img"}, join(parts))


def sparkline(values: Sequence[float], *, label: str) -> SafeString:
    """A line without axes, for live training metrics; values that are not finite are left out."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return SafeString()
    x, y = Scale(0, len(finite) - 1, 2, 158), Scale(min(finite), max(finite), 30, 4)
    path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in enumerate(finite))
    parts = [
        element("title", {}, f"{label}: from {finite[0]:.3g} to {finite[-1]:.3g}"),
        element("polyline", {"class": "line", "points": path}),
        element("circle", {"class": "point", "cx": x(len(finite) - 1), "cy": y(finite[-1]), "r": 2.5}),
    ]
    return element("svg", {"class": "spark", "viewBox": "0 0 164 34", "role": "img"}, join(parts))


def nice_ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers that cover [low, high], from lowest to highest."""
    span = high - low or abs(high) or 1.0
    raw = span / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    if last - first < 2:
        first, last = first - 1, last + 1
    return [round(at * step, 12) for at in range(first, last + 1)]


def best_so_far(points: Sequence[ScorePoint], direction: Direction) -> list[float | None]:
    """The best baseline or kept score up to each point."""
    best: float | None = None
    found: list[float | None] = []
    for point in points:
        if point.score is not None and point.verdict in ("baseline", "kept"):
            better = best is None or (point.score > best if direction == "maximize" else point.score < best)
            best = point.score if better else best
        found.append(best)
    return found


def _best_line(points: Sequence[ScorePoint], direction: Direction, x: Scale, y: Scale) -> SafeString:
    path: list[str] = []
    for point, best in zip(points, best_so_far(points, direction), strict=True):
        if best is not None:
            at = x(point.number)
            path.append(f"H{at:.1f} V{y(best):.1f}" if path else f"M{at:.1f} {y(best):.1f}")
    return element("path", {"class": "best", "d": " ".join(path)}) if path else SafeString()


def _mark(point: ScorePoint, x: float, y: float | None) -> SafeString:
    score = "no score" if point.score is None else f"{point.score:.4g}"
    text = f"Generation {point.number}: {point.lever or 'start'}, {score}, {point.verdict}"
    title = element("title", {}, text)
    css = f"mark {'weights' if point.lever == 'weights' else 'harness'} {point.verdict}"
    if y is None and point.verdict == "open":
        return SafeString()
    if y is None:
        cross = f"M{x - 4:.1f} {BOTTOM - 4} l8 8 m0 -8 l-8 8"
        return element("path", {"class": "mark none", "d": cross}, title)
    if point.lever == "weights":
        return element("rect", {"class": css, "x": x - 5, "y": y - 5, "width": 10, "height": 10}, title)
    return element("circle", {"class": css, "cx": x, "cy": y, "r": 5.5}, title)


def _tick_line(y: float, text: str) -> SafeString:
    line = element("line", {"class": "grid", "x1": LEFT, "x2": RIGHT, "y1": y, "y2": y})
    label = element("text", {"class": "tick", "x": LEFT - 8, "y": y + 4, "text-anchor": "end"}, text)
    return join([line, label])


def _label(x: float, text: str) -> SafeString:
    return element("text", {"class": "tick", "x": x, "y": BOTTOM + 18, "text-anchor": "middle"}, text)


def _caption() -> SafeString:
    return element(
        "text",
        {"class": "tick", "x": (LEFT + RIGHT) / 2, "y": HEIGHT - 5, "text-anchor": "middle"},
        "generation",
    )


def _describe(points: Sequence[ScorePoint], direction: Direction) -> str:
    best = best_so_far(points, direction)
    known = [value for value in best if value is not None]
    if not known:
        return f"{len(points)} generations, none with a score yet."
    kept = sum(point.verdict == "kept" for point in points)
    return f"{len(points)} generations, {kept} kept; best kept score from {known[0]:.4g} to {known[-1]:.4g}."
