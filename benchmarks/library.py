"""Time the PyTorch peers beside Hugging Face's own modules: ``python benchmarks/library.py [--repeats N]``.

It answers whether ``torch_backend`` is a fair opponent. Where both have an implementation, the peer and the library's
module are given the same weights, through the key maps that read its files, and the same inputs; their calls alternate
in one process. Widths are the published ones but for the UNet's, which is 128 so that both fit.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import hugging_face  # noqa: E402
import models  # noqa: E402
import report  # noqa: E402
import torch  # noqa: E402
import torch_side  # noqa: E402
from cases import FORWARD, Model  # noqa: E402
from harness import ALLOCATOR, Turn  # noqa: E402
from run import DOCS, add_where, summary  # noqa: E402

from videogen_cli.models.t2v_turbo.modelscope import published_text  # noqa: E402
from videogen_cli.weights.tensor import LazyTensor, from_array  # noqa: E402

WARM_UP = 2
# How a module is called on a case's inputs.
RUN: dict[Callable[..., Any], Callable[..., Any]] = {
    hugging_face.unet: lambda unet, latents, steps, text: unet(latents, steps, text, return_dict=False)[0],
    hugging_face.vae: lambda vae, latents: vae.decode(latents, return_dict=False)[0],
    hugging_face.clip: lambda text, ids: text(ids).last_hidden_state,
    hugging_face.t5: lambda text, ids, mask: text(ids, mask).last_hidden_state,
}


def _cases() -> list[tuple[str, Model, Callable[[Any], Any]]]:
    """Return the component's name in the key map (none where names are the same), the case, and the library's maker."""
    found = {case.name: case for case in models.CASES if case.phase == FORWARD}
    unet, clip = found["unet-ms"], found["clip"]
    small = replace(unet, what="ModelScope UNet of 128 channels", params=replace(unet.params, model_channels=128))
    return [
        ("unet", small, hugging_face.unet),
        ("vae", found["vae-decode"], hugging_face.vae),
        ("text", replace(clip, params=published_text()), hugging_face.clip),
        ("", found["t5"], hugging_face.t5),
    ]


def _weights(peer: torch.nn.Module) -> dict[str, LazyTensor]:
    """Return a network's weights, which share its memory."""
    arrays = {name: parameter.detach().numpy() for name, parameter in peer.named_parameters()}
    return {name: from_array(array) for name, array in arrays.items()}


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
    module = make(case.params).eval()
    run = partial(RUN[make], module)
    hugging_face.fill(module, component, _weights(next(peer.children())))
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
