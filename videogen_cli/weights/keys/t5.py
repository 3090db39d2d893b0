"""Key maps of T5's encoder, as Hugging Face's T5 files hold it (transformers, models/t5/modeling_t5.py)."""

from __future__ import annotations

from videogen_cli.weights.keymap import KeyMap, alias, ignore, rename
from videogen_cli.weights.variants import Variants

_DECODER = "decoder, which reading text does not need"
_BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias."


def t5_encoder_keys(target: str = "text.") -> Variants:
    """Return the maps from a T5 file's keys to ``<target>*``, whose names are Hugging Face's.

    MindSpore's files call the weights of tables ``embedding_table``.
    """
    return Variants({"hugging-face": _keys("weight", target), "mindspore": _keys("embedding_table", target)})


def _keys(word: str, target: str) -> KeyMap:
    """Return the map for files that call a table's weights ``word``; the tokens' is there under one name or both."""
    return KeyMap(
        (
            ignore("decoder.{*}", _DECODER),
            ignore("lm_head.{*}", _DECODER),
            rename(f"shared.{word}", f"{target}shared.weight"),
            alias(f"encoder.embed_tokens.{word}", f"{target}shared.weight", of=f"shared.{word}"),
            rename(f"{_BIAS}{word}", f"{target}{_BIAS}weight"),
            rename("encoder.{*}", f"{target}encoder.{{*}}"),
        )
    )
