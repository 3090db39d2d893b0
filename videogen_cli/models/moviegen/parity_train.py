"""How golden cases of Movie Gen's training are run: the optimizer, and the exchange of sequence parallelism."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen_cli.config import TrainConfig
from videogen_cli.errors import DataError
from videogen_cli.metrics.parity import Case
from videogen_cli.originals import only_ours
from videogen_cli.runtime.sequence_parallel import all_to_all
from videogen_cli.train.schedule import learning_rate

if TYPE_CHECKING:
    from videogen_cli.train.optimizer import Optimizer

Outputs = dict[str, Any]
UNDECAYED = ["layernorm", "bias"]  # upstream's default group strategy
_OPTIMIZERS, _SCHEDULES = ("adamw_re",), ("constant",)


def train_optimizer(case: Case) -> Outputs:
    """Updates of the trainer's optimizer on recorded micro-batch gradients.

    Upstream reads its list of rates, and moves its average, at every micro-batch; the rate that counts is that of the
    last before an update.
    """
    from videogen_cli.runtime import context

    context.start(case.device)
    import mindspore as ms

    from videogen_cli.train.layout import Layout, Slot
    from videogen_cli.train.optimizer import hyperparameters, make_optimizer

    train = optimizer_config(case.config)
    initial = {name.removeprefix("init."): value for name, value in case.inputs.items() if name.startswith("init.")}
    ends = np.cumsum([value.size for value in initial.values()]).tolist()
    slots = [
        Slot("net", name, value.shape, end - value.size, value.size)
        for (name, value), end in zip(initial.items(), ends, strict=True)
    ]
    layout = Layout(tuple(slots), ends[-1])
    parameters = [ms.Parameter(ms.Tensor(value), name=name) for name, value in initial.items()]
    adamw, results = make_optimizer(train, layout, parameters), {}
    total = np.zeros(layout.size, np.float32)
    for call in range(case.config["steps"]):
        total = total + layout.join({"net": {name: case.inputs[f"grad{call}.{name}"] for name in initial}})
        if (call + 1) % train.accumulation == 0:
            updates = call // train.accumulation
            hyper = hyperparameters(train, learning_rate(call, train), updates, 1.0 / train.accumulation)
            adamw.step(ms.Tensor(total), ms.Tensor([0.0], ms.float32), hyper)
            total = np.zeros_like(total)
        elif train.ema_decay:
            _move_average(adamw, 1 - train.ema_decay)
        weights = adamw.state()["weights"]["net"]
        results |= {f"param{call}.{name}": value.copy() for name, value in weights.items()}
    average = adamw.state()["average"]["net"] if train.ema_decay else {}
    return {**results, **{f"ema.{name}": value for name, value in average.items()}}


def _move_average(adamw: Optimizer, share: float) -> None:
    state = adamw.state()
    weights, average = state["weights"]["net"], state["average"]["net"]
    moved = {name: value + np.float32(share) * (weights[name] - value) for name, value in average.items()}
    adamw.load({**state, "average": {"net": moved}})


def optimizer_config(config: Mapping[str, Any]) -> TrainConfig:
    """Return our settings for upstream's.

    Raises:
        DataError: another optimizer or schedule than we have.
    """
    only_ours(config, {"optimizer": _OPTIMIZERS, "schedule": _SCHEDULES})
    first, second = config.get("betas", (0.9, 0.999))
    return TrainConfig(
        learning_rate=config["lr"],
        warmup_steps=config.get("warmup_steps", 0),
        warmup_from_zero=True,
        accumulation=config.get("gradient_accumulation_steps", 1),
        beta1=first,
        beta2=second,
        epsilon=config.get("eps", 1e-6),
        weight_decay=config.get("weight_decay", 1e-6),
        undecayed=UNDECAYED,
        clip_norm=config.get("clip_norm") or 0.0,
        ema_decay=config.get("ema_decay") or 0.0,
        ema_rise="none",
    )


def parallel_ulysses(case: Case) -> Outputs:
    """Exchange queries, keys and values between ranks, attend, and exchange back; also without ranks.

    Raises:
        DataError: heads do not divide into shards.
    """
    shards, results = case.config["shards"], {}
    if case.config.get("heads", shards) % shards:
        raise DataError(f"{case.config['heads']} heads do not divide into {shards} shards", where="shards")
    parts = {name: [case.inputs[f"{name}.rank{rank}"] for rank in range(shards)] for name in "qkv"}
    swapped = {name: all_to_all(part, split=1, join=2) for name, part in parts.items()}
    attended = [_attend(*whole).transpose(0, 2, 1, 3) for whole in zip(*swapped.values(), strict=True)]
    returned = all_to_all(attended, split=1, join=2)
    for rank in range(shards):
        results |= {f"{name}_exchanged.rank{rank}": part[rank] for name, part in swapped.items()}
        results[f"attn.rank{rank}"] = returned[rank]
    full = _attend(*(np.concatenate(part, 2) for part in parts.values()))
    return {**results, "attn_full": full.transpose(0, 2, 1, 3)}


def _attend(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the attention (b heads n d) of q (b heads n d) to k and v (b kv_heads m d), in double precision."""
    groups = q.shape[1] // k.shape[1]
    q, k, v = q.astype(np.float64), k.repeat(groups, 1).astype(np.float64), v.repeat(groups, 1).astype(np.float64)
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)) @ v
