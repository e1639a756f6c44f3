"""The desk's colours can be read: contrast of at least 4.5 to 1 (WCAG AA) in light and in dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import governance

CSS = (Path(governance.__file__).parent / "static" / "pawl" / "pawl.css").read_text(encoding="utf-8")
PAIRS = [
    *[(ink, ground) for ink in ("ink", "muted", "accent") for ground in ("bg", "panel", "sunken")],
    ("accent-ink", "accent"),
    ("accent", "accent-soft"),
    ("good", "good-soft"),
    ("warn", "warn-soft"),
    ("bad", "bad-soft"),
    ("good", "panel"),
    ("bad", "panel"),
    *[(ink, ground) for ink in ("code", "k", "s", "n", "c", "f") for ground in ("panel", "add", "del")],
    ("muted", "add-num"),
    ("muted", "del-num"),
    ("code", "add-mark"),
    ("code", "del-mark"),
]


def tokens(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


LIGHT = tokens(CSS.split(":root {", 2)[1].split("}")[0])
DARK = tokens(CSS.split(":root {", 2)[2].split("}")[0])


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), PAIRS)
def test_text_stands_out_from_its_ground(look: str, ink: str, ground: str) -> None:
    colours = LIGHT if look == "light" else DARK
    low, high = sorted([luminance(colours[ink]), luminance(colours[ground])])
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_both_looks_define_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()


def test_nothing_is_fetched_from_another_host() -> None:
    assert "url(" not in CSS and "@import" not in CSS
