"""Whether a difference is real. Pure: frozen inputs, a returned value, no clock, no query.

Unit is the item, or a cluster of items from one source. Both arms were run with the same seeds on the same items; a
missing result is None and is left out of both arms, and blocks when missingness itself differs between the arms.
docs/gate.md says what each figure means and what it does not.
"""

from __future__ import annotations

from loop.gate.binary import binary_interval, cmh, cmh_z, mcnemar
from loop.gate.compare import compare, compare_trials, planned_test
from loop.gate.levels import corrected_alpha, fresh_slice_alpha, open_ended_alpha
from loop.gate.power import items_needed, smallest_visible_gain
from loop.gate.real import mean_interval, sign_flip
from loop.gate.ruling import keeps, missingness, rule
from loop.gate.types import Comparison, Groups, Guarded, Rules, Ruling, Scores, SliceResult

__all__ = [
    "Comparison",
    "Groups",
    "Guarded",
    "Rules",
    "Ruling",
    "Scores",
    "SliceResult",
    "binary_interval",
    "cmh",
    "cmh_z",
    "compare",
    "compare_trials",
    "corrected_alpha",
    "fresh_slice_alpha",
    "items_needed",
    "keeps",
    "mcnemar",
    "mean_interval",
    "missingness",
    "open_ended_alpha",
    "planned_test",
    "rule",
    "sign_flip",
    "smallest_visible_gain",
]
