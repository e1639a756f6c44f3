"""`search`: no language model. It searches the settings that a harness declares; the rule picks the lever."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from loop.agents.backends.base import Evidence, Record
from loop.agents.facts import facts_of
from loop.agents.levers import choose_lever, weights_route
from loop.agents.settings_file import SETTINGS, Tunable, write_values
from loop.agents.space import Known, Params, Trial, key, propose, searchable, trials_of, weights_gain
from loop.types import Decision, Lever


@dataclass(frozen=True, slots=True)
class SearchBackend:
    """Agents without a model: deterministic in the evidence and its seed."""

    name: str = "search"

    def write_harness(self, evidence: Evidence, record: Record) -> Decision:
        """The seed harness as it is: without a language model there is nothing to write it with."""
        params = {name: entry.value for name, entry in searchable(evidence.settings).items()}
        return Decision(
            Lever.HARNESS, "The seed harness as it is: search changes settings only.", params=params
        )

    def decide(self, evidence: Evidence, record: Record) -> Decision:
        """The lever of the written rule; for the harness, settings that were never tried."""
        params = next_params(evidence)
        facts = facts_of(evidence, harness_exhausted=params is None)
        lever, reason = choose_lever(facts)
        if lever is Lever.WEIGHTS:
            chosen = weights_route(facts)
            return Decision(lever, reason, algorithm=chosen.algorithm, hyper=chosen.hyper)
        if lever is not Lever.HARNESS or params is None:
            return Decision(lever, reason)
        now = {name: entry.value for name, entry in evidence.settings.items()}
        moved = ", ".join(
            f"{name} {now[name]} -> {value}" for name, value in params.items() if now[name] != value
        )
        text = write_values(evidence.harness_files[SETTINGS], params)
        return Decision(lever, f"{reason} Try {moved}.", files={SETTINGS: text}, params=params)


def next_params(evidence: Evidence) -> Params | None:
    """Settings for the next harness generation, never tried before; None when there are none left."""
    space = searchable(evidence.settings)
    return propose(space, known_of(evidence, space)) if space else None


def known_of(evidence: Evidence, space: Mapping[str, Tunable]) -> Known:
    """What the evidence says of the space; the parent counts as a trial even when no generation made it."""
    current = {name: entry.value for name, entry in space.items()}
    trials = trials_of(space, evidence.history, evidence.higher_is_better)
    rows = [row for row in evidence.history if row.lever is Lever.HARNESS and set(space) <= set(row.params)]
    tried = {key({name: row.params[name] for name in space}) for row in rows}
    if evidence.score_before is not None and key(current) not in tried:
        sign = 1.0 if evidence.higher_is_better else -1.0
        at_first_weights = evidence.score_before - sum(weights_gain(row) for row in evidence.history)
        trials.insert(0, Trial(current, sign * at_first_weights))
    screened = sum(row.generation > 0 for row in rows)
    seed = draw_seed(evidence, len(trials))
    return Known(current, trials, frozenset(tried | {key(current)}), screened, seed)


def draw_seed(evidence: Evidence, trials: int) -> int:
    """A seed for this draw, the same after a restart."""
    digest = hashlib.sha256(f"search:{evidence.seed}:{evidence.generation}:{trials}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
