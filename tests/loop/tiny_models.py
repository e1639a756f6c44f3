"""Tiny model and adapter folders with random weights, for the serving tests."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

DIGITS = Path(__file__).resolve().parents[2] / "tasks" / "digits"
if str(DIGITS) not in sys.path:
    sys.path.append(str(DIGITS))

from checkpoint import VOCABULARY, write_checkpoint  # type: ignore[import-not-found]  # noqa: E402
from pretrain import Shape, initial_weights  # type: ignore[import-not-found]  # noqa: E402

SHAPE = Shape(vocabulary=len(VOCABULARY), width=32, layers=2, heads=4, hidden=48)
PROMPT = "aakhabqqaaqkadpb="


def write_model(folder: Path, seed: int = 0) -> Path:
    """A random Llama checkpoint with the character tokenizer; its logits are spread widely."""
    folder.mkdir(parents=True)
    weights = initial_weights(SHAPE, np.random.default_rng(seed))
    weights["lm_head.weight"] *= np.float32(20)
    write_checkpoint(folder, weights, SHAPE)
    return folder


def write_adapter(
    folder: Path, scale: float = 1.0, seed: int = 1, config: Mapping[str, object] | None = None
) -> Path:
    """A random PEFT LoRA adapter of rank 4 on all attention and MLP projections; scale 0 changes nothing."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    sizes = {"gate_proj": (48, 32), "up_proj": (48, 32), "down_proj": (32, 48)}
    tensors = {}
    for layer in range(SHAPE.layers):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
            part = "mlp" if name in sizes else "self_attn"
            out, into = sizes.get(name, (32, 32))
            at = f"base_model.model.model.layers.{layer}.{part}.{name}"
            tensors[f"{at}.lora_A.weight"] = rng.standard_normal((4, into)).astype(np.float32) * 0.3
            tensors[f"{at}.lora_B.weight"] = (rng.standard_normal((out, 4)) * 0.3 * scale).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "",
        "r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings | dict(config or {})), encoding="utf-8")
    return folder
