"""Llama models in plain numpy: for models so small that a framework would cost more than the arithmetic.

Shapes: T tokens, D width, H heads, K key-value heads, d = D / H, V vocabulary. Each served adapter is merged
into weights of its own, so that it costs nothing at run time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from loop.serving.characters import CharacterTokenizer
from loop.serving.engine import Logits, ModelUnusable, RequestRefused, Session

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The sizes that a forward pass needs, read from config.json. Raises ModelUnusable."""

    layers: int
    heads: int
    kv_heads: int
    head: int
    context: int
    eps: float
    theta: float
    ends: frozenset[int]

    @classmethod
    def of(cls, folder: Path) -> LlamaShape:
        try:
            config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
            kind = (
                config["model_type"],
                config.get("hidden_act", "silu"),
                rope.get("rope_type", "default"),
                bool(config.get("attention_bias") or config.get("mlp_bias")),
            )
            heads = int(config["num_attention_heads"])
            end = config["eos_token_id"]
            shape = cls(
                layers=int(config["num_hidden_layers"]),
                heads=heads,
                kv_heads=int(config.get("num_key_value_heads") or heads),
                head=int(config.get("head_dim") or config["hidden_size"] // heads),
                context=int(config["max_position_embeddings"]),
                eps=float(config["rms_norm_eps"]),
                theta=float(rope.get("rope_theta", config.get("rope_theta", 10_000.0))),
                ends=frozenset(end if isinstance(end, list) else [end]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelUnusable(f"{folder}/config.json cannot be read as a model's ({error!r}).") from error
        if kind != ("llama", "silu", "default", False):
            raise ModelUnusable(f"{folder} is no plain Llama {kind}; serve it with engine transformers.")
        return shape


def _tensors(path: Path) -> dict[str, Array]:
    try:
        return {name: value.astype(np.float32) for name, value in load_file(path).items()}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelUnusable(f"{path} cannot be read as safetensors ({error!r}).") from error


def lora_updates(folder: Path) -> dict[str, Array]:
    """What a PEFT LoRA folder adds to each weight, by the weight's name: scale x B A. Raises ModelUnusable."""
    try:
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnusable(f"{folder}/adapter_config.json cannot be read ({error!r}).") from error
    odd = [key for key in ("rank_pattern", "alpha_pattern", "modules_to_save", "use_dora") if config.get(key)]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or odd or rank < 1:
        raise ModelUnusable(
            f"{folder} is no plain LoRA adapter (peft_type, bias or {odd}); it cannot be merged."
        )
    scale = np.float32(alpha / (rank**0.5 if config.get("use_rslora") else rank))
    tensors = _tensors(folder / "adapter_model.safetensors")
    updates: dict[str, Array] = {}
    for name, down in tensors.items():
        if not name.endswith(".lora_A.weight"):
            continue
        up = tensors.get(name.replace(".lora_A.", ".lora_B."))
        if up is None or up.shape[1] != rank or down.shape[0] != rank:
            raise ModelUnusable(f"{folder} has no lora_B of rank {rank} for {name}.")
        weight = name.removeprefix("base_model.model.").replace(".lora_A.weight", ".weight")
        updates[weight] = scale * (up @ down)
    if not updates or 2 * len(updates) != len(tensors):
        raise ModelUnusable(f"{folder} holds tensors that are no LoRA pairs; it cannot be merged.")
    if not all(np.isfinite(update).all() for update in updates.values()):
        raise ModelUnusable(f"{folder} holds values that are not finite; the adapter is broken.")
    return updates


def merged(weights: Mapping[str, Array], updates: Mapping[str, Array]) -> dict[str, Array]:
    """Weights with an adapter's updates added. Raises ModelUnusable when they do not belong together."""
    for name, update in updates.items():
        if name not in weights or weights[name].shape != update.shape:
            raise ModelUnusable(
                f"The adapter changes {name} {update.shape}, which this base model does not have."
            )
    return {name: value + updates[name] if name in updates else value for name, value in weights.items()}


@dataclass(frozen=True, slots=True)
class Layer:
    """One block's weights, each (inputs, outputs): query, key and value side by side, gate and up likewise."""

    norm: Array
    qkv: Array
    out: Array
    mlp_norm: Array
    gate_up: Array
    down: Array


@dataclass(frozen=True, slots=True)
class Llama:
    """One set of weights, laid out for the forward pass. `head` is (D, V)."""

    shape: LlamaShape
    embedding: Array
    layers: tuple[Layer, ...]
    norm: Array
    head: Array
    cos: Array
    sin: Array

    @classmethod
    def of(cls, shape: LlamaShape, weights: Mapping[str, Array]) -> Llama:
        """Raises ModelUnusable when a weight is missing."""

        def beside(at: str, names: Sequence[str]) -> Array:
            return np.ascontiguousarray(np.concatenate([weights[f"{at}.{name}.weight"] for name in names]).T)

        def layer(number: int) -> Layer:
            at = f"model.layers.{number}"
            return Layer(
                norm=weights[f"{at}.input_layernorm.weight"],
                qkv=beside(f"{at}.self_attn", ("q_proj", "k_proj", "v_proj")),
                out=beside(f"{at}.self_attn", ("o_proj",)),
                mlp_norm=weights[f"{at}.post_attention_layernorm.weight"],
                gate_up=beside(f"{at}.mlp", ("gate_proj", "up_proj")),
                down=beside(f"{at}.mlp", ("down_proj",)),
            )

        inverse = 1.0 / shape.theta ** (np.arange(0, shape.head, 2) / shape.head)
        angles = np.outer(np.arange(shape.context), np.concatenate([inverse, inverse]))
        try:
            embedding = weights["model.embed_tokens.weight"]
            return cls(
                shape=shape,
                embedding=embedding,
                layers=tuple(layer(number) for number in range(shape.layers)),
                norm=weights["model.norm.weight"],
                head=np.ascontiguousarray(weights.get("lm_head.weight", embedding).T),
                cos=np.cos(angles).astype(np.float32),
                sin=np.sin(angles).astype(np.float32),
            )
        except KeyError as error:
            raise ModelUnusable(f"The checkpoint has no weight {error}; it is not a whole Llama.") from error


class NumpySession:
    """A sequence with its keys and values, each (layers, K, capacity, d)."""

    def __init__(self, model: Llama, capacity: int) -> None:
        shape = model.shape
        self._model = model
        self._length = 0
        self._keys = np.empty((shape.layers, shape.kv_heads, capacity, shape.head), np.float32)
        self._values = np.empty_like(self._keys)

    def fork(self) -> Session:
        """An independent copy that goes on from here."""
        copy = NumpySession(self._model, self._keys.shape[2])
        copy._keys[:], copy._values[:], copy._length = self._keys, self._values, self._length
        return copy

    def _norm(self, x: Array, weight: Array) -> Array:
        mean = np.einsum("td,td->t", x, x)[:, None] / np.float32(x.shape[1])
        normed: Array = x / np.sqrt(mean + np.float32(self._model.shape.eps)) * weight
        return normed

    def _turned(self, x: Array, start: int) -> Array:
        end, half = start + x.shape[1], x.shape[2] // 2
        back: Array = np.concatenate([-x[..., half:], x[..., :half]], axis=-1)
        return x * self._model.cos[start:end] + back * self._model.sin[start:end]

    def _attend(self, x: Array, number: int, layer: Layer) -> Array:
        shape, start, count = self._model.shape, self._length, len(x)
        end = start + count
        both = (x @ layer.qkv).reshape(count, -1, shape.head).swapaxes(0, 1)
        queries = self._turned(both[: shape.heads], start) * np.float32(shape.head**-0.5)
        self._keys[number, :, start:end] = self._turned(both[shape.heads : -shape.kv_heads], start)
        self._values[number, :, start:end] = both[-shape.kv_heads :]
        keys, values = self._keys[number, :, :end], self._values[number, :, :end]
        if shape.heads != shape.kv_heads:
            keys, values = (np.repeat(part, shape.heads // shape.kv_heads, axis=0) for part in (keys, values))
        scores = queries @ keys.swapaxes(1, 2)
        if count > 1:
            scores += np.triu(np.full((count, end), -np.inf, np.float32), start + 1)
        chance = np.exp(scores - scores.max(axis=-1, keepdims=True))
        chance /= chance.sum(axis=-1, keepdims=True)
        attended: Array = (chance @ values).swapaxes(0, 1).reshape(count, -1) @ layer.out
        return attended

    def read(self, ids: Sequence[int]) -> Logits:
        """Append tokens and return the logits (V,) after the last of them."""
        # Overflow closes a gate (x / inf = 0), and whoever samples refuses logits that are not finite.
        with np.errstate(over="ignore", invalid="ignore"):
            x = self._model.embedding[list(ids)]
            for number, layer in enumerate(self._model.layers):
                x = x + self._attend(self._norm(x, layer.norm), number, layer)
                both = self._norm(x, layer.mlp_norm) @ layer.gate_up
                gate, up = both[:, : both.shape[1] // 2], both[:, both.shape[1] // 2 :]
                x = x + (gate / (1 + np.exp(-gate)) * up) @ layer.down
            self._length += len(ids)
            logits: Logits = (self._norm(x[-1:], self._model.norm) @ self._model.head)[0]
        return logits


class NumpyEngine:
    """A plain Llama with a character tokenizer. Raises ModelUnusable for any other model."""

    name = "numpy"

    def __init__(self, folder: Path) -> None:
        self._tokenizer = CharacterTokenizer(folder)
        self._shape = LlamaShape.of(folder)
        self._weights = _tensors(folder / "model.safetensors")
        self._models: dict[str | None, Llama] = {None: Llama.of(self._shape, self._weights)}
        self.context, self.ends = self._shape.context, self._shape.ends
        self.encode, self.decode, self.chat = (
            self._tokenizer.encode,
            self._tokenizer.decode,
            self._tokenizer.chat,
        )

    def load(self, adapter: str, folder: Path) -> None:
        """Serve a PEFT LoRA folder under a new name. Raises ModelUnusable."""
        self._models[adapter] = Llama.of(self._shape, merged(self._weights, lora_updates(folder)))

    def unload(self, adapter: str) -> None:
        """Forget an adapter; sessions that use it may still finish."""
        self._models.pop(adapter, None)

    def open(self, adapter: str | None, capacity: int) -> Session:
        """A new sequence of at most `capacity` tokens. Raises RequestRefused for an unknown adapter."""
        model = self._models.get(adapter)
        if model is None:
            raise RequestRefused(f"The model {adapter!r} does not exist; load it first.", 404)
        return NumpySession(model, capacity)
