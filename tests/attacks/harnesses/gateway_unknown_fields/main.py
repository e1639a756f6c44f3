"""Smuggles fields and headers that the provider may act on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer


def attack() -> None:
    """Carry it out."""
    from gateway_client import HELLO, MARK, chat, last, message

    for name in (
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "previous_response_id",
        "reasoning",
        "modalities",
        "prediction",
        "functions",
        "function_call",
        "logit_bias",
        "extra_body",
        "instructions",
        "background",
        "include",
        "provider",
        "route",
        "plugins",
        "guided_json",
        "lora_request",
    ):
        print(name, chat(**{name: MARK})[0])
    print(
        chat(user=MARK)[0],
        chat(metadata={"item_id": "a", "note": MARK})[0],
        chat(metadata={"item_id": {"x": MARK}})[0],
    )
    print(
        message(metadata={"user_id": MARK})[0],
        message(service_tier=MARK)[0],
        message(thinking={"type": MARK})[0],
    )
    print(chat(messages=[{**HELLO[0], "cache": MARK}])[0], chat(messages=[{**HELLO[0], "name": MARK}])[0])
    print(chat(stream=True, stream_options={"include_usage": True, "extra": MARK})[0])
    print(chat(response_format={"type": "json_schema", "json_schema": {"name": MARK, "schema": {}}})[0])
    marked = {
        "X-Smuggled": MARK,
        "OpenAI-Organization": MARK,
        "OpenAI-Beta": MARK,
        "Cookie": MARK,
        "anthropic-beta": MARK,
    }
    print(chat(headers=marked)[0], message(headers=marked)[0])
    last()


answer()
if "OPENAI_BASE_URL" in os.environ:
    attack()
