"""Movie Gen: text to video with a flow-matching transformer and a temporal autoencoder (TAE).

Polyak et al., "Movie Gen: A Cast of Media Foundation Models" (arXiv 2410.13720); upstream mindspore-lab/mindone,
examples/moviegen. This file only declares.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from videogen_cli.config import ModelConfig
from videogen_cli.models.moviegen.params_text import published_byt5, published_metaclip, published_ul2
from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.nets.params.lpips import LPIPSParams
from videogen_cli.nets.params.moviegen import MovieGenParams, TextProjectorParams
from videogen_cli.nets.params.t5 import T5Params
from videogen_cli.nets.params.tae import TAEParams
from videogen_cli.registry import CheckpointSpec, ComponentSpec, ModelSpec


@dataclass
class MovieGenConfig(ModelConfig):
    """Defaults are those of upstream's recipes, which train the 5B transformer; presets change them."""

    transformer: MovieGenParams = field(default_factory=MovieGenParams)
    text_projector: TextProjectorParams = field(default_factory=TextProjectorParams)
    tae: TAEParams = field(default_factory=TAEParams)
    lpips: LPIPSParams = field(default_factory=lambda: LPIPSParams(conv_bias=False))
    ul2: T5Params = field(default_factory=published_ul2)
    byt5: T5Params = field(default_factory=published_byt5)
    metaclip: CLIPTextParams = field(default_factory=published_metaclip)


_HERE = "videogen_cli.models.moviegen"

SPEC = ModelSpec(
    name="moviegen",
    title="Movie Gen",
    summary="Text to video with a flow-matching transformer of up to 30 billion parameters and its autoencoder.",
    source="arXiv 2410.13720; mindspore-lab/mindone examples/moviegen",
    config=MovieGenConfig,
    components=(
        ComponentSpec(
            "transformer", "videogen_cli.nets.moviegen:MovieGenTransformer", "predicts the velocity from noise to video"
        ),
        ComponentSpec(
            "text_projector", "videogen_cli.nets.moviegen:TextProjector", "the transformer's text projection on its own"
        ),
        ComponentSpec(
            "tae", "videogen_cli.nets.tae:TemporalAutoencoder", "autoencoder of videos, 8 x 8 x 8 times smaller"
        ),
        ComponentSpec(
            "lpips", "videogen_cli.nets.lpips:LPIPS", "perceptual distance, which the autoencoder learns from"
        ),
        ComponentSpec("ul2", "videogen_cli.nets.t5:T5Encoder", "reads prompts for what they mean"),
        ComponentSpec("byt5", "videogen_cli.nets.t5:T5Encoder", "reads prompts for their characters"),
        ComponentSpec("metaclip", "videogen_cli.nets.clip:CLIPText", "reads prompts for what is to be seen"),
    ),
    checkpoints=(
        CheckpointSpec(
            "llama",
            components=("transformer", "text_projector"),
            key_map=f"{_HERE}.weights:LLAMA_KEYS",
            params=f"{_HERE}.params:component_params",
            help="the transformer as upstream's training saves it, or the folder with its rank files",
        ),
        CheckpointSpec(
            "llama-zero3",
            components=(),
            key_map=f"{_HERE}.weights:ZERO3_KEYS",
            params=f"{_HERE}.params:component_params",
            help="the rank files of ZeRO-3, merged into one file under upstream's names",
        ),
        CheckpointSpec(
            "tae",
            components=("tae",),
            key_map=f"{_HERE}.weights_tae:TAE_KEYS",
            params=f"{_HERE}.params_tae:component_params",
            help="the autoencoder's MindSpore file, as published, from training, or inflated by upstream's tool",
        ),
        CheckpointSpec(
            "sd35-vae",
            components=("tae",),
            key_map=f"{_HERE}.weights_tae:SD35_KEYS",
            params=f"{_HERE}.params_tae:component_params",
            help="Stable Diffusion 3.5's image autoencoder, inflated to one of videos that training starts from",
        ),
        CheckpointSpec(
            "lpips",
            components=("lpips",),
            key_map="videogen_cli.weights.keys.lpips:LPIPS_KEYS",
            params=f"{_HERE}.params_tae:component_params",
            help="the perceptual distance's heads, its trunk (MindCV's vgg16), or both",
        ),
        CheckpointSpec(
            "ul2",
            components=("ul2",),
            key_map=f"{_HERE}.weights_text:UL2_KEYS",
            params=f"{_HERE}.params_text:ul2_params",
            help="google/ul2's folder, of which the encoder is read",
        ),
        CheckpointSpec(
            "byt5",
            components=("byt5",),
            key_map=f"{_HERE}.weights_text:BYT5_KEYS",
            params=f"{_HERE}.params_text:byt5_params",
            help="google/byt5-small's folder, of which the encoder is read",
        ),
        CheckpointSpec(
            "metaclip",
            components=("metaclip",),
            key_map=f"{_HERE}.weights_text:METACLIP_KEYS",
            params=f"{_HERE}.params_text:metaclip_params",
            help="a MetaCLIP folder in Hugging Face's layout, of which the text tower is read",
        ),
    ),
    parity={
        "tae": f"{_HERE}.parity_tae:tae",
        "loss.tae": f"{_HERE}.parity_tae:loss_tae",
        "text-encoder": f"{_HERE}.parity_text:text_encoder",
        "tokenizer": f"{_HERE}.parity_text:tokenizer",
        "transformer": f"{_HERE}.parity:transformer",
        "text-projector": f"{_HERE}.parity:text_projector",
        "sampler": f"{_HERE}.parity:sampler",
        "pipeline.t2v": f"{_HERE}.parity_pipeline:pipeline_t2v",
        "scheduler": f"{_HERE}.parity:scheduler",
        "loss.rectified-flow": f"{_HERE}.parity:loss_rectified_flow",
        "convert.pos-embed-expand": f"{_HERE}.parity:convert_pos_embed_expand",
        "convert.zero3-merge": f"{_HERE}.parity:convert_zero3_merge",
        "train.optimizer": f"{_HERE}.parity_train:train_optimizer",
        "parallel.ulysses": f"{_HERE}.parity_train:parallel_ulysses",
        "data.buckets": f"{_HERE}.parity_data:data_buckets",
        "data.resize-crop": f"{_HERE}.parity_data:data_resize_crop",
        "data.latent-cache": f"{_HERE}.parity_data:data_latent_cache",
        "data.text-embedding-names": f"{_HERE}.parity_data:data_text_embedding_names",
        "eval.metrics": f"{_HERE}.parity_data:eval_metrics",
    },
)
