"""Small SVG pictures without scripts: an element builder, a scale, the interval of a comparison. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe


def element(name: str, attributes: Mapping[str, str | float], *children: str) -> SafeString:
    """One SVG element; plain strings among attributes and children are escaped, floats cut to 2 decimals."""
    pairs = ((key, f"{item:.2f}" if isinstance(item, float) else item) for key, item in attributes.items())
    inner = format_html_join("", "{}", ((child,) for child in children))
    return format_html("<{0}{1}>{2}</{0}>", name, format_html_join("", ' {}="{}"', pairs), inner)


def join(parts: list[SafeString]) -> SafeString:
    """Safe parts after one another."""
    return mark_safe("".join(parts))  # SafeStrings only


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map of [low, high] in data to [start, end] in pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of `value`."""
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def interval_plot(
    *, low: float, value: float, high: float, smallest_gain: float | None, label: str
) -> SafeString:
    """A difference with its interval on an axis that shows zero (and the smallest gain, when there is one).

    Raises ValueError when the interval is upside down.
    """
    if low > high:
        raise ValueError(f"An interval from {low} to {high} is upside down.")
    edges = [low, value, high, 0.0, *([smallest_gain] if smallest_gain is not None else [])]
    margin = (max(edges) - min(edges) or 1.0) * 0.12
    x = Scale(min(edges) - margin, max(edges) + margin, 8, 392)
    parts = [
        element("title", {}, label),
        element("line", {"class": "axis", "x1": 8, "x2": 392, "y1": 30, "y2": 30}),
        element("line", {"class": "zero", "x1": x(0.0), "x2": x(0.0), "y1": 12, "y2": 48}),
        element("text", {"class": "tick", "x": x(0.0), "y": 62, "text-anchor": "middle"}, "0"),
    ]
    if smallest_gain is not None:
        at = x(smallest_gain)
        parts.append(element("line", {"class": "bar-min", "x1": at, "x2": at, "y1": 12, "y2": 48}))
        text = f"needed {smallest_gain:+.3g}"
        parts.append(element("text", {"class": "tick", "x": at, "y": 8, "text-anchor": "middle"}, text))
    tone = "good" if low > 0 else "bad" if high < 0 else "unsure"
    parts += [
        element("line", {"class": f"range {tone}", "x1": x(low), "x2": x(high), "y1": 30, "y2": 30}),
        element("line", {"class": f"cap {tone}", "x1": x(low), "x2": x(low), "y1": 24, "y2": 36}),
        element("line", {"class": f"cap {tone}", "x1": x(high), "x2": x(high), "y1": 24, "y2": 36}),
        element("circle", {"class": f"point {tone}", "cx": x(value), "cy": 30, "r": 5}),
    ]
    return element("svg", {"class": "interval", "viewBox": "0 -4 400 70", "role": "img"}, join(parts))
