"""Which lever to pull, by the written rule; and which decisions are refused. Pure.

The rule: failures of tools, formats, parsing or time call for the harness; wrong judgement with the right
information and a success rate in .1 to .9 can be taught to the weights; a plateau of one lever calls
for the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from loop.agents.evidence import HistoryRow, Remaining
from loop.agents.failures import HARNESS_KINDS
from loop.errors import Refused
from loop.training.router import Route, RouterFacts, route
from loop.types import Decision, Landscape, Lever

HARNESS_SHARE = 0.3
LOW_SUCCESS, HIGH_SUCCESS = 0.1, 0.9
PLATEAU = 2
GIVE_UP = 3 * PLATEAU
HARNESS_TURNS = 2


@dataclass(frozen=True, slots=True)
class LeverFacts:
    """What the rule looks at.

    `success` is the success rate in [0, 1] (None: unknown), `failures` failed items by kind, `training` what
    the router needs beside the landscape. `harness_exhausted`: every setting was tried.
    """

    budget: Remaining
    history: tuple[HistoryRow, ...] = ()
    allowed: frozenset[Lever] = frozenset({Lever.HARNESS, Lever.STOP})
    success: float | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    landscape: Landscape | None = None
    training: RouterFacts | None = None
    harness_exhausted: bool = False

    def since_accepted(self, lever: Lever) -> int:
        """Generations of this lever since anything was last accepted."""
        count = 0
        for row in reversed(self.history):
            if row.accepted or row.generation == 0:
                break
            count += row.lever is lever
        return count

    def since_weights(self) -> int:
        """Harness generations since the last weight update (since the start when there was none)."""
        count = 0
        for row in reversed(self.history):
            if row.lever is Lever.WEIGHTS:
                break
            count += row.lever is Lever.HARNESS and row.generation > 0
        return count

    def first_round(self) -> bool:
        """Whether the weights were never updated in this campaign."""
        return all(row.lever is not Lever.WEIGHTS for row in self.history)


def weights_route(facts: LeverFacts) -> Route:
    """What the router says of a weight update now; refused as well when nothing was measured."""
    if facts.landscape is None:
        return Route("none", "No weight update: the reward landscape was not measured.")
    training = facts.training or RouterFacts(train_prompts=facts.landscape.prompts)
    return route(facts.landscape, replace(training, first_round=facts.first_round()))


def choose_lever(facts: LeverFacts) -> tuple[Lever, str]:
    """The lever of the next generation and the reason, with the numbers used."""
    spent = _spent(facts.budget)
    if spent:
        return Lever.STOP, spent
    weights = weights_route(facts)
    teach = Lever.WEIGHTS in facts.allowed and not weights.refused
    harness = Lever.HARNESS in facts.allowed and not facts.harness_exhausted
    why_not = weights.reason if Lever.WEIGHTS in facts.allowed else "Weights are not allowed here."
    failed = {lever: facts.since_accepted(lever) for lever in (Lever.HARNESS, Lever.WEIGHTS)}
    if harness and failed[Lever.HARNESS] >= GIVE_UP and (not teach or failed[Lever.WEIGHTS] >= PLATEAU):
        tried = failed[Lever.HARNESS]
        return Lever.STOP, f"Nothing was accepted in {tried} harness generations; {_down(why_not)}"
    if not harness and not teach:
        return Lever.STOP, f"Every setting of the harness was tried or may not be; {_down(why_not)}"
    if not teach:
        return Lever.HARNESS, f"Harness: {_down(why_not)}"
    if not harness:
        return Lever.WEIGHTS, f"Weights: every setting of the harness was tried. {weights.reason}"
    return _between(facts, weights, failed)


def _between(facts: LeverFacts, weights: Route, failed: Mapping[Lever, int]) -> tuple[Lever, str]:
    """Both levers are open."""
    total = sum(facts.failures.values())
    broken = sum(count for kind, count in facts.failures.items() if kind in HARNESS_KINDS)
    flat = {lever: count >= PLATEAU for lever, count in failed.items()}
    if total and broken / total >= HARNESS_SHARE and not flat[Lever.HARNESS]:
        share = f"{broken} of {total} failures ({broken / total:.2f}, limit {HARNESS_SHARE})"
        return Lever.HARNESS, f"Harness: {share} are of tools, formats, parsing or time."
    if flat[Lever.HARNESS] and flat[Lever.WEIGHTS]:
        last = facts.history[-1].lever
        other = Lever.WEIGHTS if last is Lever.HARNESS else Lever.HARNESS
        return other, f"Both levers are on a plateau ({_counts(failed)}); take turns, so {other.value}."
    if flat[Lever.HARNESS]:
        return Lever.WEIGHTS, f"Weights: the harness is on a plateau ({_counts(failed)}). {weights.reason}"
    if flat[Lever.WEIGHTS]:
        return Lever.HARNESS, f"Harness: the weights are on a plateau ({_counts(failed)})."
    if facts.success is not None and not LOW_SUCCESS <= facts.success <= HIGH_SUCCESS:
        return (
            Lever.HARNESS,
            f"Harness: success {facts.success:.3f} is outside {LOW_SUCCESS} to {HIGH_SUCCESS}.",
        )
    tried = facts.since_weights()
    last_chance = tried >= 1 and facts.first_round() and facts.budget.generations == 1
    if tried >= HARNESS_TURNS or last_chance:
        wrong = f"{total - broken} of {total} failures are wrong judgement"
        judged = wrong if total else "failures are not classified"
        chance = (
            "the last generation left"
            if last_chance
            else f"{tried} harness generations since the last update"
        )
        return Lever.WEIGHTS, f"Weights: {judged}; {chance}. {weights.reason}"
    return (
        Lever.HARNESS,
        f"Harness: {tried} of {HARNESS_TURNS} harness generations since the last weight update.",
    )


def check_decision(decision: Decision, facts: LeverFacts) -> None:
    """Raise Refused for a lever that is not open, weights that cannot learn, or a missing reason."""
    if not decision.reason.strip():
        raise Refused("A decision needs a reason; none was given.")
    if decision.lever is not Lever.STOP and decision.lever not in facts.allowed:
        names = ", ".join(sorted(lever.value for lever in facts.allowed))
        raise Refused(
            f"The lever {decision.lever.value} is not open in this campaign; choose one of {names}."
        )
    if decision.lever is Lever.WEIGHTS:
        answer = weights_route(facts)
        if answer.refused:
            raise Refused(f"Weights are refused. {answer.reason}")
    if decision.lever is Lever.HARNESS and not decision.files:
        raise Refused(
            "The lever is harness, but no file was changed; edit something or choose another lever."
        )


def _spent(budget: Remaining) -> str:
    if budget.generations <= 0:
        return "Stop: no generation is left in the budget."
    for name, left, unit in (
        ("money", budget.cost_usd, "USD"),
        ("tokens", budget.tokens, "tokens"),
        ("time", budget.wall_s, "s"),
    ):
        if left is not None and left <= 0:
            return f"Stop: the {name} budget is spent ({left:g} {unit} left)."
    return ""


def _counts(failed: Mapping[Lever, int]) -> str:
    harness, weights = failed[Lever.HARNESS], failed[Lever.WEIGHTS]
    return f"{harness} harness and {weights} weight generations since anything was accepted"


def _down(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
