"""Writes a tiny random base model in Hugging Face layout: `python base_model.py FOLDER`. Needs the train extra."""

from __future__ import annotations

import sys
from pathlib import Path

ALPHABET = "abc0123456789="


def make_base(folder: Path) -> None:
    """A one-layer Llama over single characters, fully determined by its seed."""
    import torch
    from tokenizers import Tokenizer, decoders
    from tokenizers.models import BPE
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    torch.manual_seed(0)
    vocabulary = {name: place for place, name in enumerate(["<pad>", "<eos>", "<unk>", *ALPHABET])}
    characters = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    characters.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=characters,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
    )
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64, bos_token_id=None,
        eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    make_base(Path(sys.argv[1]))
