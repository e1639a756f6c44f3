"""The level that one hidden query is held to, so that a whole series of queries errs at most `alpha` of the time."""

from __future__ import annotations

import math


def corrected_alpha(alpha: float, queries: int, promotions: int) -> float:
    """The level for one hidden query when `queries` may be asked and `promotions` made in a campaign.

    Union bound over the timings of promotions when one bit is released a query: alpha / sum_j C(k, j).
    Raises ValueError unless 0 < alpha < 1 and 1 <= promotions <= queries.
    """
    _check(alpha, queries, promotions)
    return alpha / sum(math.comb(queries, taken) for taken in range(1, promotions + 1))


def fresh_slice_alpha(alpha: float, queries: int, promotions: int) -> float:
    """The level when hidden data are fresh after each promotion: alpha / (k B).

    The timings of earlier promotions then say nothing about the items that decide the next one, so that B runs of k
    queries are B times a union bound over k. Raises ValueError as `corrected_alpha` does.
    """
    _check(alpha, queries, promotions)
    return alpha / (queries * promotions)


def open_ended_alpha(alpha: float, query: int) -> float:
    """The level of the `query`-th query (from 1) when no number of them was fixed: 6 alpha / (pi^2 t^2).

    These levels sum to alpha over all t. Raises ValueError unless 0 < alpha < 1 and query >= 1.
    """
    _check(alpha, query, 1)
    return 6 * alpha / (math.pi**2 * query**2)


def _check(alpha: float, queries: int, promotions: int) -> None:
    if not 0 < alpha < 1 or not 1 <= promotions <= queries:
        raise ValueError(
            f"alpha={alpha}, queries={queries}, promotions={promotions} is not a usable contract."
        )
