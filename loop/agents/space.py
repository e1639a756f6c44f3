"""The space of a harness's tunables: which settings were tried, and which come next. Pure apart from Optuna's draw.

Nothing is kept between generations: the study is rebuilt from the history every time, so that a restarted worker
proposes the same settings.
"""

from __future__ import annotations

import itertools
import math
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
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings that have a score, larger is better."""

    params: Mapping[str, Scalar]
    value: float


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
    """A value as it is written: whole for int, four significant digits for float."""
    if isinstance(value, str | bool):
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
        if (
            row.lever is Lever.WEIGHTS
            and row.accepted
            and row.score is not None
            and row.score_before is not None
        ):
            shift += row.score - row.score_before
        params = {name: row.params[name] for name in space if name in row.params}
        if row.lever is Lever.HARNESS and row.score is not None and fits(space, params):
            out.append(Trial(params, sign * (row.score - shift)))
    return out


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


def propose(
    space: Mapping[str, Tunable], trials: Sequence[Trial], tried: set[str], seed: int
) -> Params | None:
    """Settings that were never tried, or None when all were.

    First the far corner of the numeric settings (the other end of each range from the seed's value: `trials[0]`
    is where the search starts), then Optuna's TPE, then the nearest unexplored settings to the best ones.
    """
    if math.prod(values_of(entry) for entry in space.values()) <= len(tried):
        return None
    corner = far_corner(space, trials[0].params) if trials else None
    if corner is not None and key(corner) not in tried:
        return corner
    for params in draws(space, trials, seed):
        if key(params) not in tried:
            return params
    return nearest(space, max(trials, key=lambda trial: trial.value).params if trials else {}, tried)


def far_corner(space: Mapping[str, Tunable], start: Mapping[str, Scalar]) -> Params:
    """Every numeric range at the end that is farther from `start`; choices stay."""
    out: Params = {}
    for name, entry in space.items():
        value = start[name]
        if entry.choices or entry.low is None or entry.high is None or not isinstance(value, int | float):
            out[name] = value
            continue
        ends = grid(entry)
        out[name] = ends[-1] if value - entry.low <= entry.high - value else ends[0]
    return out


def draws(space: Mapping[str, Tunable], trials: Sequence[Trial], seed: int) -> Iterator[Params]:
    """TPE proposals after re-telling all trials; each is told back as failed before the next."""
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
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=RANDOM_TRIALS)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space_of = {name: distribution(entry) for name, entry in space.items()}
    for trial in trials:
        study.add_trial(
            optuna.trial.create_trial(params=dict(trial.params), distributions=space_of, value=trial.value)
        )
    for _ in range(MAX_ASKS):
        asked = study.ask(space_of)
        yield {name: tidy(space[name], value) for name, value in asked.params.items()}
        study.tell(asked, state=optuna.trial.TrialState.FAIL)


def nearest(space: Mapping[str, Tunable], start: Mapping[str, Scalar], tried: set[str]) -> Params | None:
    """The unexplored point of the grid closest to `start` (share of each range), earliest in order among equals."""
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
    assert tunable.low is not None and tunable.high is not None
    return abs(one - other) / ((tunable.high - tunable.low) or 1.0)
