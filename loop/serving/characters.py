"""A character tokenizer read from a `tokenizer.json`, for engines that run without the tokenizers library."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from loop.serving.engine import ModelUnusable

PLAIN_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


class CharacterTokenizer:
    """One token a character; anything unknown is the unknown token. Raises ModelUnusable for any other kind."""

    def __init__(self, folder: Path) -> None:
        try:
            tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
            settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
            model, added = tokenizer["model"], tokenizer["added_tokens"]
            vocabulary: dict[str, int] = model["vocab"]
            self._special = frozenset(int(token["id"]) for token in added if token["special"])
            self._unknown = vocabulary[model["unk_token"]]
            single = all(len(text) == 1 for text, index in vocabulary.items() if index not in self._special)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelUnusable(f"{folder} has no tokenizer that can be read here ({error!r}).") from error
        if model["type"] != "WordLevel" or not single or tokenizer.get("post_processor") is not None:
            raise ModelUnusable(
                f"{folder} has no plain character tokenizer; serve it with engine transformers."
            )
        self.plain_chat = settings.get("chat_template") == PLAIN_TEMPLATE
        self._index = {text: index for text, index in vocabulary.items() if index not in self._special}
        self._text = {index: text for text, index in self._index.items()}
        self._folder = folder

    def encode(self, text: str) -> list[int]:
        """Token ids, one a character."""
        return [self._index.get(character, self._unknown) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids; special tokens are left out."""
        return "".join(self._text.get(index, "") for index in ids)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The contents of the messages one after the other. Raises ModelUnusable for another template."""
        if not self.plain_chat:
            raise ModelUnusable(
                f"{self._folder} has a chat template of its own; serve it with engine transformers."
            )
        return self.encode("".join(message["content"] for message in messages))
