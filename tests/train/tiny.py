"""A network of a few hundred weights and a run of it, for the tests of the training loop.

Run as a script it trains in a process of its own: ``tiny.py FOLDER [key=value ...] [resume=auto] [graphs=1]``, with
``graphs`` on graphs of an earlier process.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import numpy as np

from videogen_cli.config import DeviceConfig, TrainConfig
from videogen_cli.runtime.context import start

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
start(DeviceConfig(target="cpu", compile_cache="graphs=1" in sys.argv))

from mindspore import nn, ops  # noqa: E402 (the device is started first)

from videogen_cli.runtime import graphs  # noqa: E402
from videogen_cli.runtime.cells import Cell, Init, parameter  # noqa: E402
from videogen_cli.train.trainer import Trainer  # noqa: E402


class TinyNet(Cell):
    """A convolution and a linear layer: images (b 3 8 8) -> (b 4)."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, pad_mode="pad", padding=1)
        self.weight = parameter((4, 8), Init("normal", 0.1))
        self.bias = parameter((4,))
        draws = np.random.default_rng(seed)
        for item in self.get_parameters():
            item.set_data(ops.zeros(item.shape) + _tensor(draws.standard_normal(item.shape) * 0.2))

    def construct(self, images):
        hidden = ops.tanh(self.conv(images)).mean((2, 3))
        return ops.matmul(hidden, self.weight.T) + self.bias


def _tensor(array):
    from mindspore import Tensor

    return Tensor(np.asarray(array, np.float32))


class TinyLoss(Cell):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def construct(self, images, target):
        error = self.net(images) - target
        return (error * error).mean(), error.mean()


class TinyObjective:
    """Learns a fixed random function. ``bad_steps`` get a NaN image; ``delay`` slows batches down."""

    scalar_names = ("bias",)

    def __init__(self, seed=0, bad_steps=(), delay=0.0):
        self.net, self.seed, self.bad_steps, self.delay = TinyNet(seed), seed, set(bad_steps), delay
        self.trainable = {"net": self.net}
        self.loss = TinyLoss(self.net)
        self.seen: list[tuple[int, int]] = []

    def batch(self, step, micro, rank):
        time.sleep(self.delay)
        self.seen.append((step, micro))
        draws = np.random.Generator(np.random.Philox(key=[self.seed, step * 1000 + micro * 10 + rank]))
        images = draws.standard_normal((4, 3, 8, 8), np.float32)
        target = np.stack([images.mean((1, 2, 3)), images.std((1, 2, 3)), *images.max((2, 3)).T[:2]], 1)
        if step in self.bad_steps:
            images[0, 0, 0, 0] = np.nan
        return images, target.astype(np.float32)

    def sample_ids(self, step, micro, rank):
        return [f"clip-{step}-{micro}-{k}" for k in range(4)]

    def validate(self, step):
        images, target = self.batch(10_000, 0, 0)
        return {"error": float(abs(self.net(_tensor(images)).asnumpy() - target).mean())}

    def preview(self, folder, step):
        path = folder / f"step-{step}.txt"
        path.write_text("preview")
        return [path]


class Quiet:
    """An output that keeps what it is told."""

    def __init__(self):
        self.lines: list[str] = []

    def info(self, text):
        self.lines.append(text)

    warn = info

    @contextlib.contextmanager
    def progress(self, label, total):
        yield self

    def advance(self, n=1): ...

    def update(self, text): ...


def config(**changes) -> TrainConfig:
    values = {"max_steps": 12, "checkpoint_every": 4, "log_every": 1, "learning_rate": 1e-2, "ema_decay": 0.9}
    return TrainConfig(**{**values, "weight_decay": 0.01, "clip_norm": 1.0, "tensorboard": False, **changes})


def trainer(folder, objective=None, output=None, run_config=None, dtype="fp32", **changes) -> Trainer:
    return Trainer(
        objective or TinyObjective(),
        config(**changes),
        seed=0,
        dtype=dtype,
        output_dir=Path(folder),
        output=output or Quiet(),
        run_config=run_config,
    )


def main() -> int:
    from videogen_cli.errors import VgenError

    folder, *pairs = sys.argv[1:]
    values = dict(pair.split("=") for pair in pairs)
    resume, delay = values.pop("resume", None), float(values.pop("delay", 0))
    if values.pop("graphs", None):
        graphs.keep("tiny")
    changes = {name: int(value) for name, value in values.items()}
    try:
        trainer(folder, TinyObjective(delay=delay), **changes).run(resume)
    except VgenError as error:
        print(error, file=sys.stderr)
        return int(error.code)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
