"""Writes the tiny base model as a Hugging Face checkpoint folder with a character tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pretrain import EPS, ROPE_THETA, Ids, Shape, Weights
from safetensors.numpy import save_file

SPECIAL = ("<pad>", "<eos>", "<unk>")
VOCABULARY = (*SPECIAL, "\n", *(chr(code) for code in range(32, 127)))
INDEX = {token: index for index, token in enumerate(VOCABULARY)}
PAD, EOS, UNK = (INDEX[name] for name in SPECIAL)
CONTEXT = 128
PLAIN_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def encode(text: str) -> list[int]:
    """Token ids of a text, one a character."""
    return [INDEX.get(character, UNK) for character in text]


def padded(rows: list[tuple[str, str]]) -> tuple[Ids, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Token ids (N, T) of (prompt, answer) pairs, each ended by <eos>, and which tokens are the answer's."""
    sequences = [(encode(prompt), [*encode(answer), EOS]) for prompt, answer in rows]
    length = max(len(prompt) + len(answer) for prompt, answer in sequences)
    ids = np.full((len(rows), length), PAD, np.int64)
    counted = np.zeros((len(rows), length), bool)
    for row, (prompt, answer) in enumerate(sequences):
        end = len(prompt) + len(answer)
        ids[row, :end] = prompt + answer
        counted[row, len(prompt) : end] = True
    return ids, counted


def _config(shape: Shape) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.width // shape.heads,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPS,
        "rope_theta": ROPE_THETA,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "torch_dtype": "float32",
    }


def _tokenizer() -> dict[str, Any]:
    special = [
        {
            "id": INDEX[token],
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in SPECIAL
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "[\\s\\S]"},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": INDEX, "unk_token": "<unk>"},
    }


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "<eos>",
        "unk_token": "<unk>",
        "padding_side": "left",
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": PLAIN_TEMPLATE,
    }


def write_checkpoint(folder: Path, weights: Weights, shape: Shape) -> None:
    """Write config, weights and tokenizer into an existing empty folder."""
    save_file(dict(sorted(weights.items())), folder / "model.safetensors", metadata={"format": "pt"})
    generation = {"eos_token_id": EOS, "pad_token_id": PAD, "max_new_tokens": 8}
    for name, value in (
        ("config.json", _config(shape)),
        ("generation_config.json", generation),
        ("tokenizer.json", _tokenizer()),
        ("tokenizer_config.json", _tokenizer_config()),
    ):
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
