"""VideoComposer's schedules and DDIM steps."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.errors import DataError
from videogen_cli.models.videocomposer.diffusion import ddim, gaussian_diffusion

CONFIG = {"ddim_timesteps": 4, "num_timesteps": 20}


def test_words_without_numbers_have_the_originals():
    first = {"linear_sd": 0.00085, "quadratic": 0.0015, "linear": 0.0001}
    for name, beta in first.items():
        assert gaussian_diffusion({"schedule": name}).betas[0] == pytest.approx(beta)
    assert gaussian_diffusion({"schedule": "linear", "num_timesteps": 100}).betas[0] == pytest.approx(0.001)
    assert gaussian_diffusion({"last_beta": 0.02}).betas[[0, -1]] == pytest.approx([0.00085, 0.02])


def test_steps_arrive_one_stride_on_and_last_at_zero():
    seen = []
    schedule = gaussian_diffusion(CONFIG).schedule
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


def test_networks_may_predict_the_step_before():
    schedule, taken = gaussian_diffusion(CONFIG).schedule, {}
    x0, noise = np.random.default_rng(0).standard_normal((2, 1, 1, 1, 2, 2))
    latents = schedule.add_noise(x0, noise, 11)
    target = gaussian_diffusion({**CONFIG, "mean_type": "x_{t-1}"}).target(x0, latents, noise, np.array([11]))
    for kind, output in (("eps", noise), ("x0", x0), ("x_{t-1}", target)):
        config = {**CONFIG, "mean_type": kind}
        taken[kind] = ddim(config, lambda x, t, output=output: output, latents, timesteps=[11])
    np.testing.assert_allclose(taken["x0"], taken["eps"], atol=1e-9)
    np.testing.assert_allclose(taken["x_{t-1}"], taken["eps"], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule", "sigmoid"),
        ("mean_type", "score"),
        ("loss_type", "kl"),
        ("var_type", "learned_range"),
        ("rescale_timesteps", True),
    ],
)
def test_what_we_do_not_have_is_named(name, value):
    with pytest.raises(DataError) as error:
        gaussian_diffusion({name: value})
    assert error.value.where == name
