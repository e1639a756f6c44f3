"""Asks for the provider's own tools: web search, fetch, code, computer, files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer


def attack() -> None:
    """Carry it out."""
    from gateway_client import MARK, chat, last, message

    for kind in (
        "web_search",
        "web_search_preview",
        "code_interpreter",
        "file_search",
        "computer_use_preview",
        "shell",
    ):
        print(kind, chat(tools=[{"type": kind, "name": MARK}])[0])
        print(
            kind,
            chat(tools=[{"type": kind, "function": {"name": "f", "parameters": {}}, kind: {"q": MARK}}])[0],
        )
    print(
        chat(web_search_options={"search_context_size": MARK})[0], chat(tool_choice={"type": "web_search"})[0]
    )
    for kind in (
        "web_search_20250305",
        "web_fetch_20250910",
        "code_execution_20250825",
        "bash_20250124",
        "memory_20250818",
    ):
        print(kind, message(tools=[{"type": kind, "name": MARK, "max_uses": 9}])[0])
        print(
            kind,
            message(tools=[{"type": "custom", "name": "f", "input_schema": {}, "allowed_domains": [MARK]}])[
                0
            ],
        )
    last()


answer()
if "OPENAI_BASE_URL" in os.environ:
    attack()
