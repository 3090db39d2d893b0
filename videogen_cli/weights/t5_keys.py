"""Key rules of T5's encoder, as Hugging Face's T5 files hold it (transformers, models/t5/modeling_t5.py)."""

from __future__ import annotations

from videogen_cli.weights.keymap import Rule, alias, ignore, rename

_DECODER = "decoder, which reading text does not need"


def t5_encoder_rules(target: str = "text.") -> tuple[Rule, ...]:
    """Return the rules from a T5 file's keys to ``<target>*``, whose names are the file's own.

    The token table is there under one name or both. MindSpore's files call the weights of tables
    ``embedding_table``.
    """
    table = f"{target}shared.weight"
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias."
    return (
        ignore("decoder.{*}", _DECODER),
        ignore("lm_head.{*}", _DECODER),
        rename("shared.weight", table),
        rename("shared.embedding_table", table),
        alias("encoder.embed_tokens.weight", table, of="shared.weight"),
        alias("encoder.embed_tokens.embedding_table", table, of="shared.embedding_table"),
        rename(f"{bias}embedding_table", f"{target}{bias}weight"),
        rename("encoder.{*}", f"{target}encoder.{{*}}"),
    )
