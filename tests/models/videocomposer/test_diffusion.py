"""VideoComposer's schedules and DDIM steps."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.errors import DataError
from videogen_cli.models.videocomposer.diffusion import ddim, noise_schedule

CONFIG = {"ddim_timesteps": 4, "num_timesteps": 20}


def test_words_without_numbers_have_the_originals():
    assert 1 - noise_schedule({}).abar(0) == pytest.approx(0.00085)
    assert 1 - noise_schedule({"schedule": "quadratic"}).abar(0) == pytest.approx(0.0015)
    assert 1 - noise_schedule({"schedule": "linear", "num_timesteps": 100}).abar(0) == pytest.approx(0.001)
    assert noise_schedule({"schedule": "cosine"}).abar(500) == pytest.approx(0.49, abs=0.02)


def test_steps_arrive_one_stride_on_and_last_at_zero():
    seen = []
    schedule = noise_schedule(CONFIG)
    first = np.ones((1, 1, 1, 2, 2))
    last = ddim(CONFIG, lambda x, t: 0 * x, first, callback=lambda *event: seen.append(event[2].timestep))
    assert seen == [16, 11, 6, 1]
    assert last[0, 0, 0, 0, 0] == pytest.approx(np.sqrt(schedule.abar(0) / schedule.abar(16)))


@pytest.mark.parametrize(("limits", "largest"), [({"clamp": 0.5}, 0.5), ({"percentile": 0.5}, 1.0)])
def test_limits_hold_the_estimates(limits, largest):
    estimates = []
    start = np.linspace(-3, 3, 8).reshape(1, 2, 1, 2, 2)
    noise = ddim(
        {**CONFIG, **limits}, lambda x, t: 0 * x, start, timesteps=[11], callback=lambda *e: estimates.append(e[2])
    )
    assert np.abs(estimates[0].denoised).max() == pytest.approx(largest)
    assert np.isfinite(noise).all()


def test_limits_out_of_reach_change_nothing():
    start = np.random.default_rng(0).standard_normal((2, 1, 2, 2, 2))
    free, held = (ddim({**CONFIG, **more}, lambda x, t: np.tanh(x), start) for more in ({}, {"clamp": 100.0}))
    np.testing.assert_allclose(held, free, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "value"),
    [("schedule", "sigmoid"), ("mean_type", "x_{t-1}"), ("var_type", "learned_range"), ("rescale_timesteps", True)],
)
def test_what_we_do_not_have_is_named(name, value):
    with pytest.raises(DataError) as error:
        noise_schedule({name: value})
    assert error.value.where == name
