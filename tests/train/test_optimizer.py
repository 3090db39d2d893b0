"""One step of the engine, checked against a plain float64 AdamW."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from mindspore import Tensor

from tests.train.tiny import TinyObjective, config
from videogen_cli.runtime.kernels.build import Library, library
from videogen_cli.train.engine import Engine
from videogen_cli.train.parallel import Ranks
from videogen_cli.train.schedule import average_decay

needs_kernels = pytest.mark.skipif(library().path is None, reason="there are no kernels")


class Reference:
    """AdamW and EMA in double precision, as in torch.optim.AdamW."""

    def __init__(self, weights, settings):
        self.w = weights.astype(np.float64)
        self.m, self.v, self.e = np.zeros_like(self.w), np.zeros_like(self.w), self.w.copy()
        self.c, self.t, self.share = settings, 0, settings.rate_factors.get("net", 1.0)

    def step(self, gradient, rate):
        c, self.t = self.c, self.t + 1
        norm = np.sqrt((gradient * gradient).sum())
        if c.clip_norm:
            gradient = gradient * min(1.0, c.clip_norm / (norm + 1e-6))
        before = self.w
        self.w = self.w * (1 - rate * c.weight_decay)
        self.m = c.beta1 * self.m + (1 - c.beta1) * gradient
        self.v = c.beta2 * self.v + (1 - c.beta2) * gradient**2
        m, v = self.m / (1 - c.beta1**self.t), self.v / (1 - c.beta2**self.t)
        self.w -= rate * m / (np.sqrt(v) + c.epsilon)
        self.w = before + self.share * (self.w - before)
        decay = average_decay(self.t - 1, c.ema_decay)
        self.e = decay * self.e + (1 - decay) * self.w
        return norm


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_norm": 0.0, "weight_decay": 0.0},
        {"accumulation": 3, "weight_decay": 0.3, "epsilon": 1e-3},
        {"rate_factors": {"net": 0.1}},
    ],
    ids=["clip+decay", "plain", "accumulation", "share"],
)
@pytest.mark.parametrize("loss_scale", [1.0, 1024.0])
def test_steps_follow_adamw(changes, loss_scale):
    settings = config(**changes)
    objective = TinyObjective()
    engine = Engine(objective, settings, Ranks())
    joined = lambda name: engine.layout.join(engine.state()[name])  # noqa: E731
    reference = Reference(joined("weights"), settings)
    for step in range(6):
        batches = [objective.batch(step, micro, 0) for micro in range(settings.accumulation)]
        gradient = np.mean([_gradient(engine, batch) for batch in batches], 0)
        norm = reference.step(gradient, 0.01)
        report = engine.step(batches, 0.01, step, loss_scale)
        assert report[1] == 1
        assert report[0] == pytest.approx(norm, rel=1e-5)
    np.testing.assert_allclose(joined("weights"), reference.w, rtol=0, atol=2e-6)
    np.testing.assert_allclose(joined("first_moment"), reference.m, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(joined("second_moment"), reference.v, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(joined("average"), reference.e, rtol=0, atol=2e-6)
    in_the_net = np.concatenate([p.asnumpy().ravel() for p in objective.net.get_parameters()])
    np.testing.assert_array_equal(in_the_net, joined("weights"))


def _gradient(engine, batch):
    import mindspore as ms

    gradient, _ = engine.backward(ms.Tensor(1.0, ms.float32), *map(ms.Tensor, batch))
    return engine.optimizer.add(None, gradient).asnumpy().astype(np.float64)


def test_gradient_is_that_of_finite_differences():
    objective = TinyObjective()
    engine = Engine(objective, config(), Ranks())
    batch = objective.batch(0, 0, 0)
    gradient = _gradient(engine, batch)
    state = engine.state()
    weights = engine.layout.join(state["weights"])
    direction = np.random.default_rng(0).standard_normal(weights.size).astype(np.float32)
    losses = []
    for sign in (1, -1):
        state["weights"] = engine.layout.split(weights + np.float32(sign * 1e-3) * direction)
        engine.load(state)
        losses.append(engine.step([batch], 0.0, 0, 1.0)[2])
    assert (losses[0] - losses[1]) / 2e-3 == pytest.approx(gradient @ direction, rel=2e-3)


@pytest.mark.parametrize("poison", ["nan", "inf", "loss_scale"])
def test_a_non_finite_step_changes_nothing(poison):
    objective = TinyObjective()
    engine = Engine(objective, config(), Ranks())
    good = objective.batch(0, 0, 0)
    engine.step([good], 0.01, 0, 1.0)
    before = deepcopy(engine.state())
    bad = (good[0].copy(), good[1])
    if poison != "loss_scale":
        bad[0][0] = float(poison)
    report = engine.step([bad], 0.01, 1, 1e38 if poison == "loss_scale" else 1.0)
    assert report[1] == 0
    after = engine.state()
    for name, parts in before.items():
        for key, array in parts["net"].items():
            np.testing.assert_array_equal(array, after[name]["net"][key])
    assert engine.step([good], 0.01, 1, 1.0)[1] == 1


def test_average_can_be_looked_at_and_put_back():
    objective = TinyObjective()
    engine = Engine(objective, config(ema_decay=0.99), Ranks())
    for step in range(4):
        engine.step([objective.batch(step, 0, 0)], 0.05, step, 1.0)
    in_the_net = lambda: np.concatenate([p.asnumpy().ravel() for p in objective.net.get_parameters()])  # noqa: E731
    trained = in_the_net().copy()
    engine.use_average()
    np.testing.assert_array_equal(in_the_net(), engine.layout.join(engine.state()["average"]))
    assert not np.array_equal(in_the_net(), trained)
    engine.use_trained()
    np.testing.assert_array_equal(in_the_net(), trained)


@needs_kernels
def test_kernels_do_what_operators_do(monkeypatch):
    changes = {"rate_factors": {"net": 0.3}, "undecayed": ["bias"], "weight_decay": 0.3, "ema_decay": 0.9}
    states = []
    for host in (True, False):
        objective = TinyObjective()
        if not host:
            monkeypatch.setattr("videogen_cli.train.optimizer.library", lambda: Library(None))
        engine = Engine(objective, config(**changes), Ranks())
        assert engine.optimizer.flat is not host
        for step in range(5):
            engine.step([objective.batch(step, 0, 0)], 0.02, step, 1.0)
        states.append({name: engine.layout.join(parts) for name, parts in engine.state().items()})
    for name, ours in states[0].items():
        np.testing.assert_allclose(ours, states[1][name], rtol=3e-4, atol=2e-6, err_msg=name)


@needs_kernels
def test_weights_given_new_memory_are_trained_there():
    objectives = [TinyObjective(), TinyObjective()]
    engines = [Engine(objective, config(), Ranks()) for objective in objectives]
    for step in range(3):
        for parameter in objectives[1].net.get_parameters():
            parameter.set_data(Tensor(parameter.asnumpy().copy()))
        for engine, objective in zip(engines, objectives, strict=True):
            engine.step([objective.batch(step, 0, 0)], 0.02, step, 1.0)
    for one, other in zip(*(objective.net.get_parameters() for objective in objectives), strict=True):
        np.testing.assert_array_equal(one.asnumpy(), other.asnumpy())
