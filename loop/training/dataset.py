"""From the model calls of rollouts on public-train to the prompts that a weight update learns from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.digests import canonical_json, json_digest, sha256_hex
from loop.errors import TrainingError
from loop.types import ModelCall

Messages = tuple[Mapping[str, str], ...]
DEFAULT_COMPLETION = 64


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One prompt that the harness really sent, and the item that it was about."""

    item_id: str
    prompt: Messages

    def to_json(self) -> bytes:
        """One canonical JSON line: {"item_id", "prompt": [{"role", "content"}]}."""
        return canonical_json({"item_id": self.item_id, "prompt": [dict(message) for message in self.prompt]})


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The unique rows in a fixed order, how long an answer the harness asks for, and what was left out and why."""

    rows: tuple[PromptRow, ...]
    max_completion: int
    calls: int
    excluded: Mapping[str, int]
    trajectory_digest: str

    def summary(self) -> str:
        """One sentence for people: how many rows, and what was left out."""
        left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(self.excluded.items()))
        return f"{len(self.rows)} unique prompts from {self.calls} calls; left out: {left_out or 'none'}."


def build_dataset(calls: Iterable[ModelCall], items: frozenset[str]) -> TrainingData:
    """The first prompt of each of the given public-train items, sorted by item and prompt.

    An item is what a reward is about, so each counts once: a harness that asks five times about one item does not teach
    five times as much, and the same number of steps sees more items.
    A call without an item id, about an item that is not in `items`, that failed, or that continues a conversation (its
    prompt holds an assistant or tool turn) teaches nothing here: it is counted in `excluded` and left out.
    Raises TrainingError when nothing is left.
    """
    calls = tuple(calls)
    excluded: Counter[str] = Counter()
    rows: dict[bytes, PromptRow] = {}
    lengths: list[int] = []
    taught: set[str] = set()
    for call in sorted(calls, key=lambda call: call.index):
        reason, messages = _read(call, items)
        if reason or messages is None or call.item_id is None:
            excluded[reason] += 1
            continue
        if call.item_id in taught:
            excluded["about an item that is there already"] += 1
            continue
        taught.add(call.item_id)
        row = PromptRow(call.item_id, messages)
        rows[row.to_json()] = row
        lengths.append(_asked_length(call.request))
    if not rows:
        raise TrainingError(
            f"None of {len(calls)} model calls can be learned from ({dict(excluded)}); the harness has to name "
            "the item of each call in metadata.item_id."
        )
    return TrainingData(
        rows=tuple(row for _, row in sorted(rows.items())),
        max_completion=max(lengths),
        calls=len(calls),
        excluded=dict(excluded),
        trajectory_digest=calls_digest(calls),
    )


def _read(call: ModelCall, items: frozenset[str]) -> tuple[str, Messages | None]:
    if call.item_id is None:
        return "without an item id", None
    if call.item_id not in items:
        return "about an item outside public-train", None
    if call.status != 200 or call.error:
        return "that failed", None
    messages = prompt_messages(call.request)
    if messages is None:
        return "continuing a conversation or not plain text", None
    return "", messages


def prompt_messages(request: Mapping[str, Any]) -> Messages | None:
    """The plain-text prompt of a chat request in either protocol, or None when it is not a fresh text prompt."""
    found: list[Mapping[str, str]] = []
    system = _text(request.get("system"))
    if system:
        found.append({"role": "system", "content": system})
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    for message in messages:
        role, content = message.get("role"), _text(message.get("content"))
        if role not in {"system", "developer", "user"} or content is None:
            return None
        found.append({"role": "user" if role == "user" else "system", "content": content})
    return tuple(found)


def _text(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "text" for part in content
    ):
        return "".join(str(part.get("text", "")) for part in content)
    return None


def _asked_length(request: Mapping[str, Any]) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        value = request.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return DEFAULT_COMPLETION


def calls_digest(calls: Iterable[ModelCall]) -> str:
    """Digest of a trajectory's model calls: their order, requests, replies and statuses, not their timings."""
    steps = [
        {
            "index": c.index,
            "item_id": c.item_id,
            "request": _plain(c.request),
            "reply": _plain(c.reply),
            "status": c.status,
        }
        for c in sorted(calls, key=lambda call: call.index)
    ]
    return json_digest(steps)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=dict))


def write_dataset(rows: Iterable[PromptRow], path: Path) -> str:
    """Write the rows as JSON lines; returns the SHA-256 of the file."""
    data = b"".join(row.to_json() + b"\n" for row in rows)
    path.write_bytes(data)
    return sha256_hex(data)
