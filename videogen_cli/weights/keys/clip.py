"""Key rules of Hugging Face's CLIPTextModel (transformers, models/clip/modeling_clip.py) for our CLIP text tower."""

from __future__ import annotations

from videogen_cli.weights.keymap import Rule, ignore, rename, stack

_BUFFER = "buffer of position numbers, computed"
_LAYER = "encoder.layers.{}."
_BLOCK = "transformer.resblocks.{}."


def hugging_face_text(source: str = "", target: str = "text.") -> tuple[Rule, ...]:
    """Return the rules from ``<source>text_model.*`` and ``<source>text_projection.weight`` to ``<target>*``.

    Files of a whole CLIPModel hold more: see :func:`hugging_face_rest`. The towers need ``projection="none"``, or
    ``"linear"`` where the file has a ``text_projection``.
    """
    model = f"{source}text_model."
    attention, block = f"{model}{_LAYER}self_attn.", f"{target}{_BLOCK}"
    projections = [[f"{attention}{part}_proj.{kind}" for part in "qkv"] for kind in ("weight", "bias")]
    return (
        ignore(f"{model}embeddings.position_ids", _BUFFER),
        rename(f"{model}embeddings.token_embedding.weight", f"{target}token_embedding.weight"),
        rename(f"{model}embeddings.position_embedding.weight", f"{target}positional_embedding"),
        rename(f"{model}{_LAYER}layer_norm1.{{*}}", f"{block}ln_1.{{*}}"),
        stack(projections[0], f"{block}attn.in_proj_weight"),
        stack(projections[1], f"{block}attn.in_proj_bias"),
        rename(f"{attention}out_proj.{{*}}", f"{block}attn.out_proj.{{*}}"),
        rename(f"{model}{_LAYER}layer_norm2.{{*}}", f"{block}ln_2.{{*}}"),
        rename(f"{model}{_LAYER}mlp.fc1.{{*}}", f"{block}mlp.c_fc.{{*}}"),
        rename(f"{model}{_LAYER}mlp.fc2.{{*}}", f"{block}mlp.c_proj.{{*}}"),
        rename(f"{model}final_layer_norm.{{*}}", f"{target}ln_final.{{*}}"),
        rename(f"{source}text_projection.weight", f"{target}text_projection.weight"),
    )


def hugging_face_rest() -> tuple[Rule, ...]:
    """Return the rules that leave out what a whole CLIPModel holds besides its text tower."""
    return (
        ignore("vision_model.{*}", "image tower, which reading text does not need"),
        ignore("visual_projection.weight", "image tower, which reading text does not need"),
        ignore("logit_scale", "temperature of contrastive training"),
    )
