"""What detectors look at and what they answer. Frozen values; nothing here reads a file, a table or a clock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MOST_LETTERS = 160
MOST_EXCERPTS = 5
HIDDEN = "hidden"
Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of untrusted text and where it stands (`main.py:12`, `step 7`), escaped and capped."""

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What one detector saw. `fired` is None when it was given nothing to look at: that is not "found nothing"."""

    fired: bool | None
    detail: str
    excerpts: tuple[Excerpt, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A detector's sight, with whether it may block and the figures that say so."""

    detector: str
    fired: bool | None
    blocks: bool
    detail: str
    excerpts: tuple[Excerpt, ...] = ()
    measured: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The finding as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Call:
    """One step of a trajectory as the gateway recorded it. `split` says of which rollout."""

    index: int
    asked: str
    said: str
    item: str = ""
    split: str = "public-val"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Per-item scores of two runs over the same items, in the same order."""

    first: tuple[float, ...]
    second: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Canaries:
    """How many of the impossible items were answered with their impossible answer."""

    passed: int
    of: int


@dataclass(frozen=True, slots=True)
class Honeytoken:
    """A secret that nothing honest can contain, and the place it was planted in."""

    place: str
    token: str


@dataclass(frozen=True, slots=True)
class Digests:
    """One guarded thing, by digest, before and after the rollouts; `after` is None when it was gone."""

    what: str
    before: str
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """The preflight of the task: whether it is green, for which digests, and every sentence against it."""

    green: bool
    current: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a reward history. Shares lie in [0, 1]; None where a thing was not measured.

    `tokens` counts completion tokens, `unscored` is the share of rewards that are None, `flat` the share of groups
    without variance.
    """

    reward: float | None
    tokens: int | None = None
    unscored: float | None = None
    flat: float | None = None


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Everything that is known of a candidate when it is judged. What is not known is empty or None.

    `before` and `after` are the harness trees. `answers` and `ids` are the labels' texts and the original ids of every
    split; `inputs` is the text of the public inputs; `sizes` the number of items of each split. `public` and `hidden`
    pair incumbent with candidate; `rerun` pairs the candidate's hidden run with its second one. `span` is the width
    of the metric's range.
    """

    before: Files = field(default_factory=dict)
    after: Files = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    logs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()
    inputs: str = ""
    sizes: frozenset[int] = frozenset()
    public: Pairs | None = None
    hidden: Pairs | None = None
    rerun: Pairs | None = None
    higher_is_better: bool = True
    span: float = 1.0
    canaries: Canaries | None = None
    tokens: tuple[Honeytoken, ...] = ()
    digests: tuple[Digests, ...] = ()
    histories: Mapping[str, tuple[Round, ...]] = field(default_factory=dict)
    readiness: Readiness | None = None


def withheld(place: str) -> Excerpt:
    """An excerpt of a hidden run: where it stands, and nothing of what stands there."""
    return excerpt(place, "[not shown: it stands in a hidden run]")


def excerpt(place: str, text: str) -> Excerpt:
    """Untrusted text made safe to show: one line, nothing invisible or bidirectional, at most 160 letters."""
    shown = "".join(
        letter if letter.isprintable() else _escaped(letter) for letter in text[: 2 * MOST_LETTERS]
    )
    cut = shown if len(shown) <= MOST_LETTERS else shown[: MOST_LETTERS - 1] + "…"
    return Excerpt("".join(letter for letter in place if letter.isprintable())[:120], cut)


def _escaped(letter: str) -> str:
    return " " if letter in "\n\t\r" else json.dumps(letter)[1:-1]
