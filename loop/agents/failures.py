"""What kind of failure each failed item was, read from public-val calls and scores. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from loop.types import ModelCall

TOOL, TIMEOUT, FORMAT, PARSE, JUDGEMENT = "tool", "timeout", "format", "parse", "judgement"
HARNESS_KINDS = frozenset({TOOL, TIMEOUT, FORMAT, PARSE})


def count_failures(
    items: Mapping[str, float],
    calls: Iterable[ModelCall],
    predictions: Mapping[str, Mapping[str, Any]] | None = None,
    success_at: float = 0.5,
) -> dict[str, int]:
    """Failed items (score below `success_at`) by kind; an item fails by the first kind that fits.

    timeout and tool: one of its model calls failed; parse: an answer was cut off at the token limit; format:
    its prediction is missing or blank; judgement: everything worked and the answer is wrong.
    """
    by_item: dict[str, list[ModelCall]] = {}
    for call in calls:
        if call.item_id is not None:
            by_item.setdefault(call.item_id, []).append(call)
    kinds = Counter(
        _kind(by_item.get(item, []), None if predictions is None else predictions.get(item, {}))
        for item, score in items.items()
        if score < success_at
    )
    return dict(sorted(kinds.items()))


def _kind(calls: list[ModelCall], prediction: Mapping[str, Any] | None) -> str:
    if any(call.status in (408, 504) for call in calls):
        return TIMEOUT
    if any(call.status != 200 for call in calls):
        return TOOL
    if prediction is not None and _blank(prediction):
        return PARSE if any(_cut_off(call) for call in calls) else FORMAT
    return JUDGEMENT


def _blank(prediction: Mapping[str, Any]) -> bool:
    answers = [value for key, value in prediction.items() if key != "id"]
    return all(value is None or (isinstance(value, str) and not value.strip()) for value in answers)


def _cut_off(call: ModelCall) -> bool:
    choices = (call.reply or {}).get("choices") or [{}]
    return choices[0].get("finish_reason") == "length"
