"""Pretrains a tiny Llama in plain numpy: forward, hand-written backward, Adam. Deterministic on one thread.

The architecture is exactly that of Hugging Face's `LlamaForCausalLM` (RMSNorm, rotary positions, causal
attention, SwiGLU, untied head), and weights carry its names, so that the result is an ordinary checkpoint.
Shapes: B sequences, T tokens, D width, H heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Ids = NDArray[np.int64]
Weights = dict[str, Array]
EPS = 1e-5
ROPE_THETA = 10_000.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the model; `width` is divisible by `heads`, and width / heads is even."""

    vocabulary: int
    width: int = 64
    layers: int = 2
    heads: int = 4
    hidden: int = 176


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast to learn; `warmup` steps rise linearly, then a cosine falls to a tenth."""

    steps: int
    batch: int
    rate: float
    warmup: int = 10
    clip: float = 1.0


def initial_weights(shape: Shape, rng: np.random.Generator) -> Weights:
    """Every matrix from Normal(0, 0.02), as Llama does; norms are ones."""

    def normal(rows: int, columns: int) -> Array:
        return (rng.standard_normal((rows, columns)) * 0.02).astype(np.float32)

    d, h = shape.width, shape.hidden
    weights: Weights = {"model.embed_tokens.weight": normal(shape.vocabulary, d)}
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            weights[f"{at}.self_attn.{name}.weight"] = normal(d, d)
        weights[f"{at}.mlp.gate_proj.weight"] = normal(h, d)
        weights[f"{at}.mlp.up_proj.weight"] = normal(h, d)
        weights[f"{at}.mlp.down_proj.weight"] = normal(d, h)
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{at}.{name}.weight"] = np.ones(d, np.float32)
    weights["model.norm.weight"] = np.ones(d, np.float32)
    weights["lm_head.weight"] = normal(shape.vocabulary, d)
    return weights


def rotary(length: int, head: int) -> tuple[Array, Array]:
    """Cosines and sines of the rotary embedding, each (length, head)."""
    inverse = 1.0 / ROPE_THETA ** (np.arange(0, head, 2) / head)
    angles = np.outer(np.arange(length), np.concatenate([inverse, inverse]))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _turn(x: Array) -> Array:
    half = x.shape[-1] // 2
    return np.concatenate([-x[..., half:], x[..., :half]], axis=-1)


def _turn_back(x: Array) -> Array:
    return -_turn(x)


class Tape:
    """One forward pass that remembers what its backward pass needs; gradients add up in `grads`."""

    def __init__(self, weights: Weights, shape: Shape, length: int) -> None:
        self.weights, self.shape = weights, shape
        self.grads: Weights = {}
        head = shape.width // shape.heads
        self.cos, self.sin = rotary(length, head)
        self.mask = np.triu(np.full((length, length), -np.inf, np.float32), 1)
        self.scale = np.float32(head**-0.5)
        self.saved: list[tuple[Array, ...]] = []

    def _linear_back(self, name: str, x: Array, dy: Array) -> Array:
        self.grads[name] = dy.reshape(-1, dy.shape[-1]).T @ x.reshape(-1, x.shape[-1])
        return dy @ self.weights[name]

    def _norm(self, x: Array, name: str) -> tuple[Array, Array, Array]:
        root = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(EPS))
        unit = x * root
        return unit * self.weights[name], unit, root

    def _norm_back(self, name: str, unit: Array, root: Array, dy: Array) -> Array:
        self.grads[name] = np.sum(dy * unit, axis=(0, 1))
        dunit = dy * self.weights[name]
        return root * (dunit - unit * np.mean(dunit * unit, axis=-1, keepdims=True))

    def _split(self, x: Array) -> Array:
        batch, length, _ = x.shape
        return x.reshape(batch, length, self.shape.heads, -1).transpose(0, 2, 1, 3)

    def _join(self, x: Array) -> Array:
        batch, _, length, _ = x.shape
        return x.transpose(0, 2, 1, 3).reshape(batch, length, -1)

    def _attention(self, x: Array, at: str) -> Array:
        q, k, v = (self._split(x @ self.weights[f"{at}.{name}_proj.weight"].T) for name in "qkv")
        q = q * self.cos + _turn(q) * self.sin
        k = k * self.cos + _turn(k) * self.sin
        scores = q @ k.swapaxes(-1, -2) * self.scale + self.mask
        chance = np.exp(scores - scores.max(axis=-1, keepdims=True))
        chance /= chance.sum(axis=-1, keepdims=True)
        mixed = self._join(chance @ v)
        self.saved.append((x, q, k, v, chance, mixed))
        return mixed @ self.weights[f"{at}.o_proj.weight"].T

    def _attention_back(self, at: str, dy: Array) -> Array:
        x, q, k, v, chance, mixed = self.saved.pop()
        dmixed = self._split(self._linear_back(f"{at}.o_proj.weight", mixed, dy))
        dv = chance.swapaxes(-1, -2) @ dmixed
        dchance = dmixed @ v.swapaxes(-1, -2)
        dscores = chance * (dchance - np.sum(dchance * chance, axis=-1, keepdims=True)) * self.scale
        dq, dk = dscores @ k, dscores.swapaxes(-1, -2) @ q
        dq = dq * self.cos + _turn_back(dq * self.sin)
        dk = dk * self.cos + _turn_back(dk * self.sin)
        parts = zip("qkv", (dq, dk, dv), strict=True)
        return sum(
            (self._linear_back(f"{at}.{name}_proj.weight", x, self._join(part)) for name, part in parts),
            start=np.zeros_like(x),
        )

    def _mlp(self, x: Array, at: str) -> Array:
        gate = x @ self.weights[f"{at}.gate_proj.weight"].T
        up = x @ self.weights[f"{at}.up_proj.weight"].T
        open_ = 1 / (1 + np.exp(-gate))
        self.saved.append((x, gate, up, open_))
        return (gate * open_ * up) @ self.weights[f"{at}.down_proj.weight"].T

    def _mlp_back(self, at: str, dy: Array) -> Array:
        x, gate, up, open_ = self.saved.pop()
        silu = gate * open_
        dinner = self._linear_back(f"{at}.down_proj.weight", silu * up, dy)
        dgate = dinner * up * (open_ + silu * (1 - open_))
        dx = self._linear_back(f"{at}.gate_proj.weight", x, dgate)
        return dx + self._linear_back(f"{at}.up_proj.weight", x, dinner * silu)

    def _block(self, x: Array, norm: str, inner: str) -> Array:
        normed, unit, root = self._norm(x, norm)
        self.saved.append((unit, root))
        return x + (self._attention if inner.endswith("attn") else self._mlp)(normed, inner)

    def _block_back(self, norm: str, inner: str, dy: Array) -> Array:
        dnormed = (self._attention_back if inner.endswith("attn") else self._mlp_back)(inner, dy)
        unit, root = self.saved.pop()
        return dy + self._norm_back(norm, unit, root, dnormed)

    def _blocks(self) -> list[tuple[str, str]]:
        return [
            (f"model.layers.{layer}.{norm}.weight", f"model.layers.{layer}.{inner}")
            for layer in range(self.shape.layers)
            for norm, inner in (("input_layernorm", "self_attn"), ("post_attention_layernorm", "mlp"))
        ]

    def forward(self, ids: Ids) -> Array:
        """Logits (B, T, V) for token ids (B, T)."""
        x = self.weights["model.embed_tokens.weight"][ids]
        for norm, inner in self._blocks():
            x = self._block(x, norm, inner)
        normed, unit, root = self._norm(x, "model.norm.weight")
        self.saved.append((normed, unit, root))
        return normed @ self.weights["lm_head.weight"].T

    def backward(self, ids: Ids, dlogits: Array) -> Weights:
        """Gradients of every weight, given d loss / d logits (B, T, V)."""
        normed, unit, root = self.saved.pop()
        dx = self._linear_back("lm_head.weight", normed, dlogits)
        dx = self._norm_back("model.norm.weight", unit, root, dx)
        for norm, inner in reversed(self._blocks()):
            dx = self._block_back(norm, inner, dx)
        table = np.zeros_like(self.weights["model.embed_tokens.weight"])
        np.add.at(table, ids.ravel(), dx.reshape(-1, dx.shape[-1]))
        self.grads["model.embed_tokens.weight"] = table
        return self.grads


def loss_and_slope(logits: Array, targets: Ids, counted: NDArray[np.bool_]) -> tuple[float, Array]:
    """Mean cross-entropy in nats over the counted positions, and its slope in the logits."""
    chance = np.exp(logits - logits.max(axis=-1, keepdims=True))
    chance /= chance.sum(axis=-1, keepdims=True)
    picked = np.take_along_axis(chance, targets[..., None], axis=-1)[..., 0]
    slope = chance
    np.put_along_axis(slope, targets[..., None], (picked - 1)[..., None], axis=-1)
    slope *= (counted / counted.sum())[..., None].astype(np.float32)
    return float(-np.log(picked[counted]).mean()), slope


def learning_rate(step: int, recipe: Recipe) -> float:
    """The rate at a step counted from 0."""
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    along = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.rate * (0.55 + 0.45 * float(np.cos(np.pi * along)))


def pretrain(
    data: tuple[Ids, NDArray[np.bool_]],
    shape: Shape,
    recipe: Recipe,
    rng: np.random.Generator,
    progress: Callable[[int, float], None],
) -> Weights:
    """Weights after all steps; `progress` is told each step (from 1) and its loss in nats.

    `data` is padded sequences (N, T) and the mask (N, T) of the tokens that the model must learn to say.
    """
    ids, counted = data
    weights = initial_weights(shape, rng)
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}
    for step in range(1, recipe.steps + 1):
        rows = rng.choice(len(ids), recipe.batch, replace=False)
        inputs, targets, mask = ids[rows, :-1], ids[rows, 1:], counted[rows, 1:]
        tape = Tape(weights, shape, inputs.shape[1])
        loss, slope = loss_and_slope(tape.forward(inputs), targets, mask)
        grads = tape.backward(inputs, slope)
        norm = float(np.sqrt(sum(float(np.sum(grad * grad)) for grad in grads.values())))
        shrink = np.float32(min(1.0, recipe.clip / (norm + 1e-6)))
        rate = np.float32(learning_rate(step - 1, recipe))
        for name, value in grads.items():
            grad = value * shrink
            first[name] += np.float32(0.1) * (grad - first[name])
            second[name] += np.float32(0.01) * (grad * grad - second[name])
            mean, spread = first[name] / (1 - 0.9**step), second[name] / (1 - 0.99**step)
            weights[name] -= (rate * mean / (np.sqrt(spread) + np.float32(1e-8))).astype(np.float32)
        progress(step, loss)
    return weights
