"""Any Hugging Face causal language model, with PEFT adapters. Needs the `train` extra; run in a process of its own."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftConfig, PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from loop.serving.engine import Logits, ModelUnusable, RequestRefused, Session

UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


class TransformersSession:
    """A sequence with the framework's own key-value cache."""

    def __init__(self, engine: TransformersEngine, adapter: str | None) -> None:
        self._engine, self._adapter, self._cache = engine, adapter, None

    def fork(self) -> Session:
        """An independent copy that goes on from here."""
        twin = TransformersSession(self._engine, self._adapter)
        twin._cache = copy.deepcopy(self._cache)
        return twin

    def read(self, ids: Sequence[int]) -> Logits:
        """Append tokens and return the logits (vocabulary,) after the last of them."""
        logits, self._cache = self._engine.forward(ids, self._cache, self._adapter)
        return logits


class TransformersEngine:
    """One model on the best device there is; a lock lets one forward pass run at a time."""

    name = "transformers"

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
        except UNREADABLE as error:
            raise ModelUnusable(f"{folder} cannot be loaded as a causal language model ({error}).") from error
        self._model: Any = model.to(device).eval()
        self._device = device
        self._lock = threading.Lock()
        self._adapters: set[str] = set()
        self.context: int = model.config.max_position_embeddings
        end = model.generation_config.eos_token_id
        ends = end if isinstance(end, list) else [end, self._tokenizer.eos_token_id]
        self.ends = frozenset(index for index in ends if index is not None)

    def encode(self, text: str) -> list[int]:
        """Token ids of a plain prompt."""
        return list(self._tokenizer(text)["input_ids"])

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of a conversation, by the tokenizer's own template."""
        text = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def load(self, adapter: str, folder: Path) -> None:
        """Serve a PEFT LoRA folder under a new name. Raises ModelUnusable."""
        with self._lock:
            try:
                self._attach(self._inner(adapter), folder)
            except UNREADABLE as error:
                raise ModelUnusable(
                    f"{folder} cannot be loaded as an adapter of this model ({error})."
                ) from error
            self._adapters.add(adapter)

    def unload(self, adapter: str) -> None:
        """Forget an adapter; a sequence that still uses it is refused at its next step."""
        with self._lock:
            if adapter in self._adapters:
                self._adapters.remove(adapter)
                self._detach(self._inner(adapter))

    def open(self, adapter: str | None, capacity: int) -> Session:
        """A new sequence; the cache grows as needed. Raises RequestRefused for an unknown adapter."""
        if adapter is not None and adapter not in self._adapters:
            raise RequestRefused(f"The model {adapter!r} does not exist; load it first.", 404)
        return TransformersSession(self, adapter)

    def forward(self, ids: Sequence[int], cache: Any, adapter: str | None) -> tuple[Logits, Any]:
        """Logits (vocabulary,) after the last of `ids`, which follow on `cache`, and the longer cache."""
        tokens = torch.tensor([list(ids)], device=self._device)
        with self._lock, torch.inference_mode():
            if adapter is None and isinstance(self._model, PeftModel):
                with self._model.disable_adapter():
                    out = self._model(input_ids=tokens, past_key_values=cache, use_cache=True)
            else:
                if adapter is not None:
                    if adapter not in self._adapters:
                        raise RequestRefused(f"The model {adapter!r} was unloaded meanwhile.", 404)
                    self._model.set_adapter(self._inner(adapter))
                out = self._model(input_ids=tokens, past_key_values=cache, use_cache=True)
            logits: Logits = out.logits[0, -1].float().cpu().numpy().astype(np.float32)
        return logits, out.past_key_values

    def _inner(self, adapter: str) -> str:
        """PEFT's own name for an adapter: module names may not hold dots."""
        return "served_" + adapter.encode().hex()

    def _attach(self, inner: str, folder: Path) -> None:
        """Add an adapter, or leave the model as it was."""
        config = PeftConfig.from_pretrained(folder)
        config.inference_mode = True
        if not isinstance(self._model, PeftModel):
            self._model = PeftModel(self._model, config, adapter_name=inner)
        try:
            self._model.load_adapter(str(folder), adapter_name=inner, is_trainable=False)
        except UNREADABLE:
            self._detach(inner)
            raise
        self._model.eval()

    def _detach(self, inner: str) -> None:
        if list(self._model.peft_config) == [inner]:
            self._model = self._model.unload()
        elif inner in self._model.peft_config:
            self._model.delete_adapter(inner)
