"""The space of a harness's tunables: which settings were tried, and which come next.

Nothing is kept between generations: the study is rebuilt from the history every time, so that a restarted
worker proposes the same settings.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loop.agents.evidence import HistoryRow
from loop.agents.settings_file import Scalar, Tunable
from loop.types import Lever

Params = dict[str, Scalar]
MAX_ASKS = 64
MAX_ENUMERATED = 200_000
RANDOM_TRIALS = 2
GROUP, GROUPS = 3, 3
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings that have a score, larger is better."""

    params: Mapping[str, Scalar]
    value: float


@dataclass(frozen=True, slots=True)
class Known:
    """What the search starts from: the parent's settings, scored trials, and everything that was tried.

    `screened` counts the harness generations so far, `seed` fixes the draw.
    """

    current: Mapping[str, Scalar]
    trials: Sequence[Trial]
    tried: frozenset[str]
    screened: int
    seed: int


def searchable(settings: Mapping[str, Tunable]) -> dict[str, Tunable]:
    """The tunables whose possible values are known."""
    return {name: entry for name, entry in settings.items() if values_of(entry) != 1 and entry.searchable}


def values_of(tunable: Tunable) -> float:
    """How many values a tunable can take; infinite for a float without a step."""
    if tunable.type == "bool":
        return 2
    if tunable.choices:
        return len(set(map(repr, tunable.choices)))
    if tunable.low is None or tunable.high is None:
        return 1
    step = tunable.step or (1 if tunable.type == "int" else 0)
    return math.floor((tunable.high - tunable.low) / step + 1e-9) + 1 if step else math.inf


def grid(tunable: Tunable) -> tuple[Scalar, ...]:
    """Its values in order; a float without a step as eleven evenly spaced ones."""
    if tunable.type == "bool":
        return (False, True)
    if tunable.choices:
        return tunable.choices
    assert tunable.low is not None and tunable.high is not None
    count = values_of(tunable)
    if math.isinf(count):
        return tuple(
            tidy(tunable, tunable.low + (tunable.high - tunable.low) * part / 10) for part in range(11)
        )
    step = tunable.step or 1
    return tuple(tidy(tunable, tunable.low + step * index) for index in range(int(count)))


def tidy(tunable: Tunable, value: Scalar) -> Scalar:
    """A value as it is written: a choice as declared, whole for int, four significant digits for float."""
    if tunable.choices or isinstance(value, str | bool):
        return value
    return round(value) if tunable.type == "int" else float(f"{value:.{DIGITS}g}")


def key(params: Mapping[str, Scalar]) -> str:
    """Settings as a comparable text."""
    return repr(sorted((name, float(value) if is_number(value) else value) for name, value in params.items()))


def is_number(value: Any) -> bool:
    """An int or float that is not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def trials_of(
    space: Mapping[str, Tunable], history: Sequence[HistoryRow], higher_is_better: bool
) -> list[Trial]:
    """What past harness generations say of this space, with the gains of accepted weight updates taken off.

    Scores before and after a weight update are not comparable; the update's own gain (same settings, other
    weights) is subtracted from the scores that came after it. Rows whose settings no longer fit are left out.
    """
    sign = 1.0 if higher_is_better else -1.0
    out: list[Trial] = []
    shift = 0.0
    for row in history:
        shift += weights_gain(row)
        params = {name: row.params[name] for name in space if name in row.params}
        if row.lever is Lever.HARNESS and row.score is not None and fits(space, params):
            out.append(Trial(params, sign * (row.score - shift)))
    return out


def weights_gain(row: HistoryRow) -> float:
    """What an accepted weight update brought, 0 for every other row."""
    if row.lever is not Lever.WEIGHTS or not row.accepted or row.score is None or row.score_before is None:
        return 0.0
    return row.score - row.score_before


def fits(space: Mapping[str, Tunable], params: Mapping[str, Any]) -> bool:
    """Whether these are settings of this space."""
    return len(params) == len(space) and all(allowed(space[name], value) for name, value in params.items())


def allowed(tunable: Tunable, value: Any) -> bool:
    """Whether the tunable can take this value."""
    if tunable.type == "bool":
        return isinstance(value, bool)
    if tunable.choices:
        return value in tunable.choices
    low, high = tunable.low, tunable.high
    return is_number(value) and low is not None and high is not None and low <= value <= high


def propose(space: Mapping[str, Tunable], known: Known) -> Params | None:
    """Settings that were never tried, or None when all were.

    First group screening: the declared settings in groups, each moved once to the far ends.
    Then Optuna's TPE on some of the settings at a time. At last the nearest settings that are left.
    """
    if math.prod(values_of(entry) for entry in space.values()) <= len(known.tried):
        return None
    groups = screening(space)
    if known.screened < len(groups):
        names = groups[known.screened]
        params = {**known.current, **{name: far_end(space[name], known.current[name]) for name in names}}
        if key(params) not in known.tried:
            return params
    for params in draws(space, known):
        if key(params) not in known.tried:
            return params
    return nearest(space, known.current, known.tried)


def screening(space: Mapping[str, Tunable]) -> list[list[str]]:
    """The settings in at most three groups of at least three, in the order in which they are declared."""
    names = list(space)
    size = max(GROUP, math.ceil(len(names) / GROUPS))
    return [names[start : start + size] for start in range(0, len(names), size)]


def far_end(tunable: Tunable, value: Scalar) -> Scalar:
    """The end of the range, or of the list of choices, that is farther from `value`."""
    values = grid(tunable)
    if value in values:
        place = values.index(value) / (len(values) - 1)
    else:
        assert tunable.low is not None and tunable.high is not None and isinstance(value, int | float)
        place = (value - tunable.low) / (tunable.high - tunable.low)
    return values[-1] if place <= 0.5 else values[0]


def draws(space: Mapping[str, Tunable], known: Known) -> Iterator[Params]:
    """TPE proposals after re-telling all trials; each moves half of the settings and leaves the others."""
    import optuna  # imported here: it costs half a second, and most processes never search
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    def distribution(entry: Tunable) -> BaseDistribution:
        if entry.type == "bool" or entry.choices:
            return CategoricalDistribution(grid(entry))
        assert entry.low is not None and entry.high is not None
        if entry.type == "int":
            return IntDistribution(int(entry.low), int(grid(entry)[-1]), step=int(entry.step or 1))
        return FloatDistribution(entry.low, entry.high, step=entry.step)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=known.seed, n_startup_trials=RANDOM_TRIALS)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space_of = {name: distribution(entry) for name, entry in space.items()}
    for trial in known.trials:
        study.add_trial(
            optuna.trial.create_trial(params=dict(trial.params), distributions=space_of, value=trial.value)
        )
    pick = random.Random(known.seed)
    for _ in range(MAX_ASKS):
        asked = study.ask(space_of)
        moved = pick.sample(list(space), max(min(2, len(space)), len(space) // 2))
        yield {**known.current, **{name: tidy(space[name], asked.params[name]) for name in moved}}
        study.tell(asked, state=optuna.trial.TrialState.FAIL)


def nearest(
    space: Mapping[str, Tunable], start: Mapping[str, Scalar], tried: frozenset[str]
) -> Params | None:
    """The unexplored point of the grid closest to `start` (as shares of each range); of equals the first."""
    axes = [grid(entry) for entry in space.values()]
    names = list(space)
    best: tuple[float, Params] | None = None
    for point in itertools.islice(itertools.product(*axes), MAX_ENUMERATED):
        params = dict(zip(names, point, strict=True))
        if key(params) in tried:
            continue
        distance = sum(apart(space[name], start.get(name), value) for name, value in params.items())
        if best is None or distance < best[0]:
            best = (distance, params)
    return best[1] if best else None


def apart(tunable: Tunable, one: Scalar | None, other: Scalar) -> float:
    """Distance of two values in [0, 1]."""
    if one is None or one == other:
        return 0.0
    if tunable.choices or not isinstance(one, int | float) or not isinstance(other, int | float):
        return 1.0
    if tunable.low is None or tunable.high is None:
        return 1.0
    return abs(one - other) / ((tunable.high - tunable.low) or 1.0)
