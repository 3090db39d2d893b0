"""Time the operators of a small video UNet: ``python benchmarks/ops.py [--threads N] [--seconds S] [--only TEXT]``.

Prints milliseconds of the forward pass and of forward plus backward in graph mode (minimum over repeats), and the
same for PyTorch when it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Timer = Callable[[str, list[np.ndarray]], tuple[float, float]]


def shapes() -> dict[str, tuple[str, list[tuple[int, ...]]]]:
    """Return label -> (operator, shapes of its inputs)."""
    return {
        "conv2d 128x64x8x8 3x3": ("conv2d", [(128, 64, 8, 8), (64, 64, 3, 3), (64,)]),
        "conv2d 128x128x4x4 3x3": ("conv2d", [(128, 128, 4, 4), (128, 128, 3, 3), (128,)]),
        "conv2d 128x192x2x2 3x3": ("conv2d", [(128, 192, 2, 2), (192, 192, 3, 3), (192,)]),
        "conv2d 16x32x64x64 3x3": ("conv2d", [(16, 32, 64, 64), (32, 32, 3, 3), (32,)]),
        "conv3d 16x96x8x8x8 3x1x1": ("conv3d", [(16, 96, 8, 8, 8), (96, 96, 3, 1, 1), (96,)]),
        "group_norm 128x64x8x8": ("group_norm", [(128, 64, 8, 8), (64,), (64,)]),
        "layer_norm 128x64x64": ("layer_norm", [(128, 64, 64), (64,), (64,)]),
        "linear 8192x64->512": ("linear", [(128, 64, 64), (512, 64), (512,)]),
        "linear 8192x64->64": ("linear", [(128, 64, 64), (64, 64), (64,)]),
        "geglu 128x64x512": ("geglu", [(128, 64, 512)]),
        "silu 128x64x8x8": ("silu", [(128, 64, 8, 8)]),
        "attention 128x64x64": ("attention", [(128, 64, 64)] * 3),
        "attention 1024x8x64": ("attention", [(1024, 8, 64)] * 3),
        "upsample 128x64x4x4": ("upsample", [(128, 64, 4, 4)]),
    }


def clock(call: Callable[[], Any], seconds: float) -> float:
    """Return the least milliseconds of ``call`` over ``seconds``, after a warm-up in which kernels tune themselves."""
    for _ in range(6):
        call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return best * 1e3


def mindspore_timer(threads: int, seconds: float) -> Timer:
    """Return a function that times one operator of vgen."""
    from videogen_cli.config import DeviceConfig
    from videogen_cli.runtime import context

    context.start(DeviceConfig(threads=threads, compile_cache=False))
    import mindspore as ms
    import ops_under_test

    def timer(name: str, arrays: list[np.ndarray]) -> tuple[float, float]:
        tensors = [ms.Tensor(array) for array in arrays]
        forward = ops_under_test.Forward(getattr(ops_under_test, name))
        step = ops_under_test.Step(getattr(ops_under_test, name))
        dout = ms.Tensor(np.ones(forward(*tensors).shape, np.float32))
        return clock(lambda: forward(*tensors), seconds), clock(lambda: step(dout, *tensors), seconds)

    return timer


def torch_timer(threads: int, seconds: float) -> Timer:
    """Return a function that times the same operator of PyTorch."""
    import torch
    import torch.nn.functional as tf

    torch.set_num_threads(threads)

    def attention(q: Any, k: Any, v: Any) -> Any:
        q, k, v = (t.reshape(*t.shape[:2], 2, -1).transpose(1, 2) for t in (q, k, v))
        return tf.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def geglu(x: Any) -> Any:
        value, gate = x.chunk(2, -1)
        return value * tf.gelu(gate)

    peers: dict[str, Callable[..., Any]] = {
        "conv2d": lambda x, w, b: tf.conv2d(x, w, b, padding=1),
        "conv3d": lambda x, w, b: tf.conv3d(x, w, b, padding=(1, 0, 0)),
        "group_norm": lambda x, w, b: tf.group_norm(x, 16, w, b),
        "layer_norm": lambda x, w, b: tf.layer_norm(x, x.shape[-1:], w, b),
        "linear": tf.linear,
        "geglu": geglu,
        "silu": tf.silu,
        "attention": attention,
        "upsample": lambda x: tf.interpolate(x, scale_factor=2),
    }

    def timer(name: str, arrays: list[np.ndarray]) -> tuple[float, float]:
        tensors = [torch.from_numpy(array).requires_grad_() for array in arrays]
        dout = torch.ones_like(peers[name](*tensors))

        def forward() -> Any:
            with torch.no_grad():
                return peers[name](*tensors)

        def both() -> Any:
            return torch.autograd.grad(peers[name](*tensors), tensors, dout)

        return clock(forward, seconds), clock(both, seconds)

    return timer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--only", default="", help="operators whose label contains this")
    options = parser.parse_args()
    timers = {"vgen": mindspore_timer(options.threads, options.seconds)}
    if importlib.util.find_spec("torch"):
        timers["torch"] = torch_timer(options.threads, options.seconds)
    print(f"{'ms':28s}" + "".join(f"{peer + ' fwd':>12s}{'fwd+bwd':>9s}" for peer in timers))
    rng = np.random.default_rng(0)
    for label, (name, sizes) in shapes().items():
        if options.only in label:
            arrays = [rng.standard_normal(size, np.float32) for size in sizes]
            times = [timer(name, arrays) for timer in timers.values()]
            print(f"{label:28s}" + "".join(f"{fwd:12.2f}{both:9.2f}" for fwd, both in times), flush=True)


if __name__ == "__main__":
    main()
