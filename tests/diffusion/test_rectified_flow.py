"""Straight paths, the timesteps on them, and Euler steps along them."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.diffusion import rectified_flow as flow
from videogen_cli.errors import UsageError

X0, NOISE = np.random.default_rng(0).standard_normal((2, 3, 2, 2, 4, 4)).astype(np.float32)


def test_paths_run_from_noise_to_data():
    steps = np.array([1000.0, 0.0, 250.0], np.float32)
    between = flow.interpolate(X0, NOISE, steps, floor=0.01)
    np.testing.assert_allclose(between[0], NOISE[0], atol=1e-6)
    np.testing.assert_allclose(between[1], X0[1] + 0.01 * NOISE[1], atol=1e-6)
    np.testing.assert_allclose(between[2], 0.75 * X0[2] + (1 - 0.99 * 0.75) * NOISE[2], atol=1e-6)


def test_velocity_is_the_paths_derivative():
    later, sooner = (flow.interpolate(X0, NOISE, np.full(3, t), floor=0.1) for t in (400.0, 600.0))
    np.testing.assert_allclose((later - sooner) / 0.2, flow.velocity(X0, NOISE, 0.1), atol=1e-5)


@pytest.mark.parametrize("name", ["linear", "linear-quadratic"])
@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_the_true_velocity_leads_to_the_data(name, count):
    steps = flow.sampling_timesteps(name, count)
    assert steps[0] == 1000
    assert len(steps) == count
    assert (np.diff(steps) < 0).all()
    seen = []
    true = flow.velocity(X0, NOISE, 0.0)
    found = flow.sample(lambda x, t: true, NOISE, steps, callback=lambda *event: seen.append(event))
    np.testing.assert_allclose(found, X0, atol=1e-5)
    assert [step.timestep for _, _, step in seen] == steps.tolist()
    for _, total, step in seen:
        assert total == count
        np.testing.assert_allclose(step.denoised, X0, atol=1e-5)


def test_first_half_of_linear_quadratic_is_fine():
    assert flow.linear_quadratic(6)[:3].tolist() == [1000, 999, 998]
    np.testing.assert_allclose(flow.linear_quadratic(4, 100)[2:], [100 - 1 - 99 / 9, 100 - 1 - 99 * 4 / 9])


@pytest.mark.parametrize(("name", "count", "what"), [("cubic", 5, "no flow schedule"), ("linear", 0, "0 steps")])
def test_impossible_schedules(name, count, what):
    with pytest.raises(UsageError, match=what):
        flow.sampling_timesteps(name, count)


def test_training_timesteps():
    draws = np.array([-200.0, 0.0, 200.0, np.log(3)])
    steps = flow.logit_normal(draws)
    assert steps.dtype == np.float32
    assert 0 < steps[0] < 1e-30
    assert steps[1] == 500
    assert 999.99 < steps[2] < 1000
    assert steps[3] == pytest.approx(750)
    assert flow.logit_normal(np.array([1.0]), loc=2.0, scale=-2.0)[0] == 500
    assert flow.uniform(np.array([0.25, 0.9999])).tolist() == pytest.approx([250, 999.9])
    assert flow.discrete_uniform(np.array([0.0, 0.9999])).tolist() == [0, 999]


def test_validation_looks_between_the_ends():
    assert flow.validation_timesteps(4).tolist() == [200, 400, 600, 800]
