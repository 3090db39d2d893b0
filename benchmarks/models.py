"""Time whole networks against PyTorch: ``python benchmarks/models.py [--only unet-ms] [--repeats 5]``.

Networks have their published sizes unless ``what`` says otherwise; weights are random.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from cases import FORWARD, TRAIN, Input, Model

from videogen_cli.models.t2v_turbo.modelscope import published_unet
from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.nets.params.latte import LatteParams
from videogen_cli.nets.params.moviegen import MovieGenParams
from videogen_cli.nets.params.t5 import T5Params
from videogen_cli.nets.params.tae import TAEParams
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.nets.params.vae2d import AutoencoderKLParams
from videogen_cli.nets.params.vae3d import CausalVAEParams

UNET = "videogen_cli.nets.unet3d:UNet3D"
LATTE = "videogen_cli.nets.latte:Latte"
MOVIEGEN = "videogen_cli.nets.moviegen:MovieGenTransformer"
VAE2D = "videogen_cli.nets.vae2d:AutoencoderKL"
VAE3D = "videogen_cli.nets.vae3d:CausalVAE"
TAE = "videogen_cli.nets.tae:TemporalAutoencoder"
T5 = "videogen_cli.nets.t5:T5Encoder"
CLIP = "videogen_cli.nets.clip:CLIPText"


def _unet_inputs(params: UNet3DParams, batch: int, size: tuple[int, int, int], tokens: int = 77) -> tuple[Input, ...]:
    latents, text = Input((batch, params.in_channels, *size)), Input((batch, tokens, params.context_dim))
    scalars = [Input((batch,), "steps")] * (2 if params.fps_condition else 1)
    return latents, scalars[0], text, *scalars[1:]


def _latte_inputs() -> tuple[Input, ...]:
    return Input((1, 4, 5, 32, 32)), Input((1,), "steps"), Input((1, 120, 4096)), Input((1, 120), "mask")


def _moviegen(layers: int) -> MovieGenParams:
    return MovieGenParams(width=1536, ffn_width=4096, heads=16, kv_heads=16, layers=layers)


def _moviegen_inputs(*size: int) -> tuple[Input, ...]:
    """Return latents (f h w) and 300 text tokens."""
    text = [Input((1, tokens, width)) for tokens, width in ((123, 4096), (77, 1280), (100, 1472))]
    return Input((1, size[0], 16, *size[1:])), Input((1,), "steps"), *text


def _tiny_unet() -> UNet3DParams:
    preset = Path(__file__).resolve().parents[1] / "configs" / "t2v-turbo" / "tiny-teacher.yaml"
    return UNet3DParams(**yaml.safe_load(preset.read_text())["unet"])


def _cases() -> list[Model]:
    vc2, ms, small, tiny = UNet3DParams(), published_unet(), UNet3DParams(model_channels=128), _tiny_unet()
    vae, causal, tae = AutoencoderKLParams(), CausalVAEParams(), TAEParams()

    def ids(count: int, *shape: int) -> Input:
        return Input(shape, "ids", count)

    def forward(name: str, what: str, network: str, params: Any, *inputs: Input, **more: Any) -> Model:
        return Model(name, FORWARD, what, network, params, inputs, **more)

    def train(name: str, what: str, network: str, params: Any, *inputs: Input, **more: Any) -> Model:
        more = {"target": inputs[0].shape, **more}
        return Model(f"{name}", TRAIN, what, network, params, inputs, **more)

    frames = (8, 16, 16)
    return [
        forward(
            "unet-vc2", "VideoCrafter2 UNet, latents 8x16x16", UNET, vc2, *_unet_inputs(vc2, 1, frames), gigabytes=9
        ),
        forward("unet-ms", "ModelScope UNet, latents 8x16x16", UNET, ms, *_unet_inputs(ms, 1, frames), gigabytes=9),
        forward("unet-128", "VideoCrafter2 UNet of 128 channels", UNET, small, *_unet_inputs(small, 1, frames)),
        forward(
            "latte", "LatteT2V, latents 5x32x32, 120 text tokens", LATTE, LatteParams(), *_latte_inputs(), gigabytes=7
        ),
        forward(
            "moviegen",
            "Movie Gen 1B, 4 of 24 layers, latents 4x32x56",
            MOVIEGEN,
            _moviegen(4),
            *_moviegen_inputs(4, 32, 56),
        ),
        forward(
            "vae-decode",
            "Stable Diffusion VAE decoder, 2 latents 32x32",
            VAE2D,
            vae,
            Input((2, 4, 32, 32)),
            part="decode",
        ),
        forward(
            "causal-encode", "CausalVAE encoder, 5x128x128", VAE3D, causal, Input((1, 3, 5, 128, 128)), part="encode"
        ),
        forward(
            "causal-decode", "CausalVAE decoder, to 5x128x128", VAE3D, causal, Input((1, 4, 2, 16, 16)), part="decode"
        ),
        forward("tae-encode", "TAE encoder, 8x128x128", TAE, tae, Input((1, 3, 8, 128, 128)), part="encode"),
        forward("tae-decode", "TAE decoder, to 8x128x128", TAE, tae, Input((1, 16, 1, 16, 16)), part="decode"),
        forward(
            "t5",
            "T5 XXL encoder, 2 of 24 layers, 120 tokens",
            T5,
            T5Params(layers=2),
            ids(32128, 1, 120),
            Input((1, 120), "mask"),
            gigabytes=4,
        ),
        forward("clip", "OpenCLIP ViT-H text tower, 2x77 tokens", CLIP, CLIPTextParams(), ids(49408, 2, 77)),
        train(
            "unet-128", "VideoCrafter2 UNet of 128 channels", UNET, small, *_unet_inputs(small, 1, frames), gigabytes=6
        ),
        train("unet-tiny", "UNet of the preset tiny, batch 16", UNET, tiny, *_unet_inputs(tiny, 16, (8, 8, 8), 16)),
        train(
            "latte",
            "LatteT2V, 2 of 28 layers",
            LATTE,
            LatteParams(num_layers=2),
            *_latte_inputs(),
            target=(1, 8, 5, 32, 32),
            gigabytes=3,
        ),
        train(
            "moviegen",
            "Movie Gen 1B, 2 of 24 layers, latents 4x16x28",
            MOVIEGEN,
            _moviegen(2),
            *_moviegen_inputs(4, 16, 28),
            gigabytes=4,
        ),
        train("vae", "Stable Diffusion VAE, an image of 128x128", VAE2D, vae, Input((1, 3, 128, 128)), gigabytes=3),
        train("causal", "CausalVAE, 5x64x64", VAE3D, causal, Input((1, 3, 5, 64, 64)), gigabytes=4),
        train(
            "tae",
            "TAE, 8x64x64",
            TAE,
            tae,
            Input((1, 3, 8, 64, 64)),
            Input((1, 16, 1, 8, 8)),
            part="reconstruct",
            gigabytes=3,
        ),
    ]


CASES = _cases()

if __name__ == "__main__":
    from run import main

    main(["models"])
