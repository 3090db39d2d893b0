"""The small parts of the loop: schedules, loss scale, prefetch, metrics, identity."""

from __future__ import annotations

import threading
import time

import pytest

from videogen_cli.config import CycleConfig, TrainConfig
from videogen_cli.errors import UsageError
from videogen_cli.train import identity
from videogen_cli.train.loss_scale import GROWTH_INTERVAL, LossScale
from videogen_cli.train.metrics import Metrics, read
from videogen_cli.train.prefetch import prefetch
from videogen_cli.train.schedule import average_decay, betas, learning_rate


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 1.0, 0.7, 0.4, 0.1]),
        ("cosine", [0.5, 1.0, 1.0, 0.775, 0.325, 0.1]),
    ],
)
def test_learning_rates(schedule, rates):
    config = TrainConfig(max_steps=6, learning_rate=1.0, end_learning_rate=0.1, schedule=schedule, warmup_steps=2)
    assert [learning_rate(step, config) for step in range(6)] == pytest.approx(rates)
    assert learning_rate(100, config) == pytest.approx(rates[-1])


def test_a_warm_up_may_start_at_zero():
    config = TrainConfig(learning_rate=3.0, warmup_steps=3, warmup_from_zero=True)
    assert [learning_rate(step, config) for step in range(5)] == pytest.approx([0.0, 1.0, 2.0, 3.0, 3.0])


@pytest.mark.parametrize(
    ("rise", "decays"),
    [("hyperbolic", [0.1, 0.5, 0.9]), ("exponential", [0.00045, 0.00404, 0.89394]), ("none", [0.9, 0.9, 0.9])],
)
def test_average_warms_up(rise, decays):
    assert [average_decay(n, 0.9, rise) for n in (0, 8, 10_000)] == pytest.approx(decays, rel=2e-3)


def test_dynamic_loss_scale_falls_and_rises():
    scale = LossScale.parse("auto", "fp16")
    start = scale.value
    scale.update(finite=False)
    assert scale.value == start / 2
    for _ in range(GROWTH_INTERVAL):
        scale.update(finite=True)
    assert scale.value == start
    for _ in range(100):
        scale.update(finite=False)
    assert scale.value == 1.0


@pytest.mark.parametrize(
    ("text", "dtype", "value"), [("auto", "fp32", 1), ("auto", "bf16", 1), ("none", "fp16", 1), ("8", "fp16", 8)]
)
def test_fixed_loss_scales(text, dtype, value):
    scale = LossScale.parse(text, dtype)
    scale.update(finite=False)
    assert scale.value == value


@pytest.mark.parametrize("text", ["dynamic", "-1", "0", "inf", "nan"])
def test_bad_loss_scales(text):
    with pytest.raises(UsageError, match=r"train\.loss_scale"):
        LossScale.parse(text, "fp16")


def test_prefetch_keeps_the_order_and_raises_in_turn():
    def make(number):
        if number == 5:
            raise ValueError("five")
        return number

    got = []
    with pytest.raises(ValueError, match="five"):
        got.extend(prefetch(make, ((n,) for n in range(9))))
    assert got == [0, 1, 2, 3, 4]


def test_prefetch_works_ahead_but_not_far_and_ends_when_closed():
    made = []
    batches = prefetch(made.append, ((n,) for n in range(100)), depth=2)
    next(batches)
    time.sleep(0.3)
    assert 3 <= len(made) <= 4
    batches.close()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_metrics_forget_what_a_resumed_run_will_do_again(tmp_path):
    metrics = Metrics(tmp_path, tensorboard=False)
    metrics.begin(0)
    for step in (1, 2, 3):
        metrics.write(step, "train", {"loss": 1 / step, "bad": float("nan")}, {"seconds": 0.1})
    metrics.close()
    whole = metrics.path.read_text()
    metrics.path.write_text(whole + '{"step": 4, "lo')  # killed while writing
    assert [line["step"] for line in read(metrics.path)] == [1, 2, 3]
    kept = metrics.begin(2)
    metrics.write(3, "train", {"loss": 1 / 3, "bad": float("nan")}, {"seconds": 0.1})
    metrics.close()
    assert [line["step"] for line in kept] == [1, 2]
    assert metrics.path.read_text() == whole
    assert read(metrics.path)[0]["bad"] == "nan"


def test_tensorboard_gets_the_numbers(tmp_path):
    metrics = Metrics(tmp_path, tensorboard=True)
    metrics.begin(0)
    metrics.write(1, "train", {"loss": 0.5})
    metrics.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"train/loss" in events.read_bytes()


def test_identity_names_what_differs_and_ignores_what_is_harmless():
    then = {"unet": {"width": 64}, "train": {"max_steps": 5, "learning_rate": 0.1}, "stage": "base"}
    now = {"unet": {"width": 32}, "train": {"max_steps": 9, "learning_rate": 0.1}, "stage": "vae"}
    identity.require_same(identity.essence(then), identity.essence({**then, "train": now["train"]}), "x")
    with pytest.raises(UsageError, match=r"stage: 'base' then, 'vae' now; unet\.width: 64 then, 32 now"):
        identity.require_same(identity.essence(then), identity.essence(now), "x")


CYCLE = TrainConfig(
    schedule="one_cycle",
    cycle=CycleConfig(rise_steps=4, fall_steps=2, decay_steps=10, rate_decay=0.5, beta1_decay=-0.1),
)


@pytest.mark.parametrize(
    ("step", "rate", "beta1"),
    [
        (0, 1e-5, 0.85),  # DeepSpeed starts with the least of both
        (1, 2e-5, 0.955),
        (4, 5e-5, 0.85),
        (5, 3e-5, 0.92),
        (6, 1e-5, 0.99),
        (16, 1e-5 / 1.5, 0.99 * 0.9),
    ],
)
def test_one_cycle(step, rate, beta1):
    assert learning_rate(step, CYCLE) == pytest.approx(rate)
    assert betas(step, CYCLE) == pytest.approx((beta1, 0.99))


def test_betas_stay_without_a_cycle_of_their_own():
    kept = TrainConfig(schedule="one_cycle", cycle=CycleConfig(cycle_betas=False))
    assert betas(3, kept) == betas(3, TrainConfig()) == (0.9, 0.999)


def test_a_rate_leaves_graphs_as_they_are_and_a_width_does_not():
    then = {"unet": {"width": 8}, "lora": {"rank": 4}, "seed": 0, "weights": {"unet": "a"}, "train": {"clip_norm": 1.0}}
    same = {**then, "seed": 1, "weights": {"unet": "b"}, "train": {"clip_norm": 2.0, "learning_rate": 1e-3}}
    assert identity.of_graphs(then) == identity.of_graphs(same)
    for other in ({"unet": {"width": 16}}, {"lora": {"rank": 8}}, {"train": {"rate_factors": {"text": 0.0}}}):
        assert identity.of_graphs(then) != identity.of_graphs({**then, **other})
