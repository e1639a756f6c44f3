"""Lets the provider fetch an address: images, documents and links in every place and spelling."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from honest import answer


def attack() -> None:
    """Carry it out."""
    from gateway_client import MARK, chat, last, message, user

    for scheme in ("https", "HTTPS", "hTTp", "data", "file", "ftp", "//"):
        url = f"{scheme}://evil.example/{MARK}"
        print(scheme, chat(messages=user({"type": "image_url", "image_url": {"url": url}}))[0])
        print(scheme, chat(messages=user({"type": "input_image", "image_url": url}))[0])
        print(scheme, chat(messages=user({"type": "text", "text": "look", "image_url": url}))[0])
        source = {"type": "url", "url": url}
        print(scheme, message(messages=user({"type": "image", "source": source}))[0])
        print(scheme, message(messages=user({"type": "document", "source": source}))[0])
        result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": source}]}
        print(scheme, message(messages=user(result))[0])
        print(scheme, message(system=[{"type": "document", "source": source}])[0])
    last()


answer()
if "OPENAI_BASE_URL" in os.environ:
    attack()
