"""A language model as second reader of what a candidate said in public: beside D6, which has patterns alone.

It advises and never blocks. It is given the public rollout and nothing of a hidden one, as quoted data; it has no tools
and no secrets. `PAWL_SECOND_READER` names its agent profile, best one of another family than the agents' own. Without
one, and where the provider fails, the finding says that it was not run: that is not "found nothing".
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loop.agents.backends import get_backend
from loop.agents.backends.agent import LanguageAgent
from loop.agents.backends.conversation import Conversation
from loop.agents.evidence import Remaining
from loop.agents.rendering import render
from loop.detectors.exhibit import HIDDEN, MOST_EXCERPTS, Exhibit, Finding, excerpt
from loop.errors import BudgetSpent, ProviderError
from loop.types import AgentCallRecord

NAME = "D6 second reader"
SETTING = "PAWL_SECOND_READER"
MOST_TEXT, MOST_EACH = 60_000, 4_000
BUDGET = Remaining(generations=0, cost_usd=0.5, wall_s=300.0)
KEYS = {"suspicious", "steps", "reason"}


@dataclass(frozen=True, slots=True)
class Reading:
    """The finding, and what it cost: tokens and US dollars."""

    finding: Finding
    tokens: int = 0
    cost_usd: float = 0.0


def second_reading(
    exhibit: Exhibit, home: Path | None = None, sleep: Callable[[float], None] = time.sleep
) -> Reading:
    """What the model makes of the public record. Never raises for want of a profile, a key or an answer."""
    profile = os.environ.get(SETTING, "").strip()
    if not profile:
        return _not_run(f"no agent profile is named by {SETTING}")
    try:
        agent = get_backend(profile, home, sleep)
    except ProviderError as error:
        return _not_run(str(error))
    if not isinstance(agent, LanguageAgent):
        return _not_run(f"the profile {profile} has no language model")
    record = dict(_record(exhibit))
    if not record:
        return _not_run("nothing was said in the public rollout")
    calls: list[AgentCallRecord] = []
    try:
        said = _asked(agent, record, calls)
    except (ProviderError, BudgetSpent) as error:
        return _not_run(f"the model gave no answer ({error})", calls)
    verdict = _verdict(said)
    if verdict is None:
        return _not_run("the model's answer was no verdict", calls)
    places = [place for place in verdict["steps"] if place in record][:MOST_EXCERPTS]
    detail = f"{agent.access.profile.model} read {len(record)} texts: {excerpt('', verdict['reason']).text}"
    shown = tuple(excerpt(place, record[place]) for place in places)
    return _reading(Finding(NAME, verdict["suspicious"], False, detail, shown), calls)


def _asked(agent: LanguageAgent, record: dict[str, str], calls: list[AgentCallRecord]) -> str:
    mark = secrets.token_hex(16)
    lines = "\n".join(json.dumps({"place": place, "text": text}) for place, text in record.items())
    prompts = (render("reader", {}), f"The record of one rollout:\n{mark}\n{lines}\n{mark}")
    conversation = Conversation("reader", agent.access, agent.pace, calls.append)
    with closing(agent.chat(prompts, ())) as chat:
        return conversation.ask(chat, BUDGET)


def _record(exhibit: Exhibit) -> Iterator[tuple[str, str]]:
    """(place, text) of what was said outside of hidden runs, cut to what a model can read."""
    left = MOST_TEXT
    for place, text in _public_texts(exhibit):
        if text and left > 0:
            text = text[: min(MOST_EACH, left)]
            left -= len(text)
            yield place, text


def _public_texts(exhibit: Exhibit) -> Iterator[tuple[str, str]]:
    for split, text in exhibit.logs.items():
        if split != HIDDEN:
            yield f"log of {split}", text
    for call in exhibit.calls:
        if call.split != HIDDEN:
            yield f"{call.split} step {call.index}", call.asked
            yield f"{call.split} step {call.index}, reply", call.said


def _verdict(said: str) -> dict[str, Any] | None:
    """The one JSON object that was asked for; None for anything else."""
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or set(found) != KEYS:
        return None
    steps = found["steps"]
    shaped = isinstance(found["suspicious"], bool) and isinstance(found["reason"], str)
    if not shaped or not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        return None
    return found


def _not_run(why: str, calls: list[AgentCallRecord] | None = None) -> Reading:
    return _reading(Finding(NAME, None, False, f"not run: {excerpt('', why.rstrip('.')).text}"), calls or [])


def _reading(finding: Finding, calls: list[AgentCallRecord]) -> Reading:
    tokens = sum(call.prompt_tokens + call.completion_tokens for call in calls)
    return Reading(finding, tokens, sum(call.cost_usd for call in calls))
