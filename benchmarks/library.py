"""Time the PyTorch peers beside Hugging Face's own modules: ``python benchmarks/library.py [--repeats N]``.

It answers whether ``torch_backend`` is a fair opponent. Where both have an implementation, the peer and the library's
module are given the same weights, through the key maps that read its files, and the same inputs; their calls alternate
in one process. Widths are the published ones but for the UNet's, which is 128 so that both fit.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import models  # noqa: E402
import report  # noqa: E402
import torch  # noqa: E402
import torch_side  # noqa: E402
from cases import FORWARD, Model  # noqa: E402
from harness import ALLOCATOR, Turn  # noqa: E402
from run import DOCS, add_where, summary  # noqa: E402

from videogen_cli.models.t2v_turbo.modelscope import MODELSCOPE_KEYS, published_text  # noqa: E402

WARM_UP = 2


def _diffusers() -> Any:
    return importlib.import_module("diffusers")  # whose names appear when they are asked for


def _unet(params: Any) -> tuple[torch.nn.Module, Callable[..., Any]]:
    widths = tuple(params.model_channels * multiple for multiple in params.channel_mult)
    unet = _diffusers().UNet3DConditionModel(block_out_channels=widths, attention_head_dim=params.num_head_channels)
    return unet, lambda latents, steps, text: unet(latents, steps, text, return_dict=False)[0]


def _vae(params: Any) -> tuple[torch.nn.Module, Callable[..., Any]]:
    levels = len(params.channel_mult)
    vae = _diffusers().AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(params.base_channels * multiple for multiple in params.channel_mult),
        layers_per_block=params.num_res_blocks,
        latent_channels=params.z_channels,
    )
    return vae, lambda latents: vae.decode(latents, return_dict=False)[0]


def _clip(params: Any) -> tuple[torch.nn.Module, Callable[..., Any]]:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=params.vocab_size,
        hidden_size=params.width,
        intermediate_size=4 * params.width,
        num_hidden_layers=params.layers,
        num_attention_heads=params.heads,
        hidden_act=params.activation,
    )
    text = CLIPTextModel(config)
    return text, lambda ids: text(ids).last_hidden_state


def _t5(params: Any) -> tuple[torch.nn.Module, Callable[..., Any]]:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=params.vocab_size,
        d_model=params.width,
        d_kv=params.head_dim,
        d_ff=params.mlp_width,
        num_layers=params.layers,
        num_heads=params.heads,
        feed_forward_proj="gated-gelu",
    )
    text = T5EncoderModel(config)
    return text, lambda ids, mask: text(ids, mask).last_hidden_state


def _cases() -> list[tuple[str, Model, Callable[[Any], Any]]]:
    """Return the component's name in the key map (none where names are the same), the case, and the library's maker."""
    found = {case.name: case for case in models.CASES if case.phase == FORWARD}
    unet, clip = found["unet-ms"], found["clip"]
    small = replace(unet, what="ModelScope UNet of 128 channels", params=replace(unet.params, model_channels=128))
    return [
        ("unet", small, _unet),
        ("vae", found["vae-decode"], _vae),
        ("text", replace(clip, params=published_text()), _clip),
        ("", found["t5"], _t5),
    ]


def _copy_weights(component: str, peer: torch.nn.Module, library: torch.nn.Module) -> None:
    """Give the library's module the peer's weights under its own names."""
    from videogen_cli.weights.tensor import LazyTensor

    weights = {name: parameter.detach().numpy() for name, parameter in peer.named_parameters()}
    if component:
        ours = {
            f"{component}.{name}": LazyTensor(array.shape, "float32", lambda array=array: array)
            for name, array in weights.items()
        }
        weights = {name: tensor.numpy() for name, tensor in MODELSCOPE_KEYS.export(ours).tensors.items()}
    if not hasattr(library, "text_model"):  # transformers' CLIP has no such level from version 5 on
        weights = {name.removeprefix("text_model."): array for name, array in weights.items()}
    missing = library.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
    wrong = [name for name in [*missing.missing_keys, *missing.unexpected_keys] if "embed_tokens" not in name]
    if wrong:
        raise RuntimeError(f"weights that only one side has: {wrong[:5]}")


def _timed(calls: dict[str, Callable[[], Any]], repeats: int, lock: Path | None) -> dict[str, dict[str, Any]]:
    """Return by name the times of calls that take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    turn = Turn(lock)
    for repeat in range(WARM_UP + repeats):
        turn.begin()
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if repeat >= WARM_UP:
                seconds[name].append(time.perf_counter() - began)
    turn.end()
    return {name: summary(times) for name, times in seconds.items()}


def _compared(component: str, case: Model, make: Callable[[Any], Any], asked: argparse.Namespace) -> dict[str, Any]:
    """Return a row of the table: times of both, and how far their outputs are apart."""
    peer = torch_side.network(case).eval()
    module, run = make(case.params)
    _copy_weights(component, next(peer.children()), module.eval())
    inputs = [torch.from_numpy(array) for array in case.arrays()]
    with torch.inference_mode():
        ours, theirs = peer(*inputs), run(*inputs)
        error = float((ours - theirs).abs().max() / theirs.abs().max())
        times = _timed({"peer": lambda: peer(*inputs), "library": lambda: run(*inputs)}, asked.repeats, asked.lock)
    return {"what": case.what, "library_class": type(module).__name__, "error": error, **times}


def main() -> None:
    """Print the table, and write it to docs/performance.md if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    add_where(parser)
    asked = parser.parse_args()
    if not ALLOCATOR.items() <= os.environ.items():  # read when a process starts
        environment = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": str(asked.threads)}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    if asked.cores:
        os.sched_setaffinity(0, asked.cores)
    torch_side.start(asked.threads)
    results = report.Results(DOCS / "performance.json" if asked.docs else asked.json)
    for component, case, make in _cases():
        if asked.only in case.name:
            row = _compared(component, case, make, asked)
            results.add_library(row)
            print(report.library_line(row), flush=True)
    if asked.docs:
        report.write(results, DOCS)


if __name__ == "__main__":
    main()
