"""The simulation of the gate as a table for people, as JSON and as a picture."""

from __future__ import annotations

from typing import Any

from django.utils.safestring import SafeString

from governance.desk.svg import Scale, element, join
from loop.bench_gate import ACCURACY, ALPHA, COLUMNS, POWER, PUBLISHED, REDRAWN, Figure, Results

DISCORDANCE = 2 * REDRAWN * ACCURACY * (1 - ACCURACY)
SUPPOSED = f"""\
Supposed: every answer of every candidate is right with probability {ACCURACY}, so that no candidate is ever better; a
candidate is the leader with {REDRAWN:.0%} of its items answered anew (discordance {DISCORDANCE:.2f}), and becomes the
leader when the rule accepts it. The two numbers were fitted to the published table (docs/gate.md), which states
neither. After each bar the published figure, whose own simulation error is not known; ± is one standard error of this
simulation."""
WIDE = 43  # letters of a column
WIDTH, HEIGHT, BOTTOM, TOP = 720, 250, 190, 26
SHADES = ("#8a3b12", "#c9762b", "#b9a24a", "#2f6f5e")


def as_text(results: Results) -> str:
    """Every figure with its simulation error, the published one after the bar."""
    lines = [
        SUPPOSED,
        "",
        "True gain zero: points of inflation that the best leader reports, and (false promotions) in a campaign.",
        f"{'n, k':<9}" + "".join(f"{name:<{WIDE}}" for name in COLUMNS),
    ]
    for n, k in PUBLISHED:
        cells = (_cell(*results.campaigns[n, k, name]) for name in COLUMNS)
        lines.append(f"{f'{n}, {k}':<9}" + "".join(f"{cell:<{WIDE}}" for cell in cells).rstrip())
    lines += ["", "An adversary that submits random answers and learns from (n = 100, k = 20):"]
    lines += [
        f"  {name:<28}{figure.value:+5.1f} points ±{figure.error:.1f} | {figure.published:+.1f}"
        for name, figure in results.adversary.items()
    ]
    lines += [
        "",
        f"Power at alpha' = .0025: the stated {POWER} on the items that the formula asks for.",
        "  discordance  gain   items | published   simulated power",
    ]
    for (spread, gain), (n, figure) in results.power.items():
        more = "  more than stated: such a candidate loses no item" if gain == spread else ""
        shown = f"{figure.value:.3f} ±{figure.error:.3f}{more}"
        lines.append(f"  {spread:<11.1f}  {gain:+.2f}  {n:>5} | {figure.published:<9.0f}   {shown}")
    lines += ["", f"Candidates without gain that pass one query at {ALPHA}, five trials an item, 100 items:"]
    lines += [
        f"  {name:<44}{figure.value:.3f} ±{figure.error:.3f}" for name, figure in results.repeated.items()
    ]
    return "\n".join(lines)


def as_json(results: Results) -> dict[str, Any]:
    """The same figures as plain JSON."""
    return {
        "supposed": {"accuracy": ACCURACY, "redrawn": REDRAWN, "alpha": ALPHA},
        "campaigns": [
            {"n": n, "k": k, "rule": name, "inflation": _json(inflation), "false_promotions": _json(false)}
            for (n, k, name), (inflation, false) in results.campaigns.items()
        ],
        "adversary": {name: _json(figure) for name, figure in results.adversary.items()},
        "power": [
            {"discordance": spread, "gain": gain, "items": n, "published_items": figure.published}
            | {"power": figure.value, "error": figure.error}
            for (spread, gain), (n, figure) in results.power.items()
        ],
        "repeated_trials": {name: _json(figure) for name, figure in results.repeated.items()},
        "failures": results.failures(),
    }


def as_svg(results: Results) -> str:
    """Bars: the inflation that each rule reports, by row of the table; a line where it was published."""
    y = Scale(0.0, 20.0, BOTTOM, TOP)
    parts = [
        element("title", {}, "Score inflation in points by rule, when no candidate is better"),
        element("rect", {"width": WIDTH, "height": HEIGHT, "fill": "#fff"}),
    ]
    for tick in (0, 5, 10, 15, 20):
        parts.append(
            element("line", {"x1": 40, "x2": WIDTH - 10, "y1": y(tick), "y2": y(tick), "stroke": "#ddd"})
        )
        parts.append(_text(34, y(tick) + 4, f"{tick}", "end"))
    for row, (n, k) in enumerate(PUBLISHED):
        left = 56 + row * 132
        parts.append(_text(left + 52, BOTTOM + 18, f"n = {n}, k = {k}"))
        for column, name in enumerate(COLUMNS):
            figure, x = results.campaigns[n, k, name][0], float(left + column * 27)
            top = y(max(0.0, figure.value))
            tip = f"{name}: {figure.value:+.1f} points, published {figure.published:+.1f}"
            parts.append(_bar(x, top, SHADES[column], tip))
            mark = y(max(0.0, figure.published or 0.0))
            parts.append(
                element("line", {"x1": x - 2, "x2": x + 24, "y1": mark, "y2": mark, "stroke": "#111"})
            )
    for column, name in enumerate(COLUMNS):
        x = 56 + column * 165
        parts.append(
            element("rect", {"x": x, "y": HEIGHT - 26, "width": 12, "height": 12, "fill": SHADES[column]})
        )
        parts.append(_text(x + 18, HEIGHT - 15, name, "start"))
    view = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img"}
    return str(element("svg", view, join(parts))) + "\n"


def _bar(x: float, top: float, shade: str, tip: str) -> SafeString:
    shape: dict[str, str | float] = {"x": x, "y": top, "width": 22, "height": BOTTOM - top, "fill": shade}
    return element("rect", shape, element("title", {}, tip))


def _cell(inflation: Figure, false: Figure) -> str:
    seen = f"{inflation.value:+.1f}±{inflation.error:.1f} ({false.value:.2f}±{false.error:.2f})"
    return f"{seen} | {inflation.published:+.1f} ({false.published:.2f})"


def _json(figure: Figure) -> dict[str, float | None]:
    return {"value": figure.value, "error": figure.error, "published": figure.published}


def _text(x: float, y: float, text: str, anchor: str = "middle") -> SafeString:
    style: dict[str, str | float] = {"font-size": 12, "font-family": "sans-serif", "text-anchor": anchor}
    return element("text", {"x": x, "y": y, **style}, text)
