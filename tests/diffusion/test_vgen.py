import numpy as np
import pytest

from videogen_cli.diffusion.vgen import GaussianDiffusion, noise_betas
from videogen_cli.errors import DataError

TINY = {"schedule": "linear_sd", "schedule_param": {"num_timesteps": 100, "init_beta": 0.001, "last_beta": 0.02}}


def test_published_cumulative_products():
    param = {"num_timesteps": 1000, "init_beta": 0.00085, "last_beta": 0.012}
    abar = GaussianDiffusion.create({"schedule": "linear_sd", "schedule_param": param}).schedule.alphas_cumprod
    expected = {0: 0.99915, 1: 0.99829603, 21: 0.98038075, 500: 0.27633268, 981: 0.00577550, 999: 0.00466010}
    assert abar.dtype == np.float64
    assert [abar[t] for t in expected] == pytest.approx(list(expected.values()), rel=1e-6)


@pytest.mark.parametrize(
    ("schedule", "param", "ends"),
    [
        ("linear", {"num_timesteps": 10, "init_beta": 0.1, "last_beta": 0.3}, (0.1, 0.3)),
        ("linear", {"num_timesteps": 1000}, (0.0001, 0.02)),
        ("quadratic", {"num_timesteps": 10}, (0.0015, 0.0195)),
        ("cosine", {"num_timesteps": 1000}, (4.128e-05, 0.999)),
        ("cosine", {"num_timesteps": 1000, "cosine_s": 0.1}, (4.126e-4, 0.999)),
        ("cosine", {"num_timesteps": 1000, "zero_terminal_snr": True}, (4.128e-05, 1.0)),
    ],
)
def test_first_and_last_betas(schedule, param, ends):
    betas = noise_betas(schedule, param)
    assert (betas[0], betas[-1]) == pytest.approx(ends, rel=1e-3)


def test_log_snr_interpolation_between_two_shifted_cosines():
    sigmas = noise_betas("logsnr_cosine_interp", {"num_timesteps": 101, "scale_min": 1, "scale_max": 1})
    assert sigmas[50] == pytest.approx(0.5**0.5, rel=1e-5)  # log SNR 0 half way
    assert (np.diff(sigmas) > 0).all()
    shifted = noise_betas("logsnr_cosine_interp", {"num_timesteps": 101, "scale_min": 4, "scale_max": 4})
    assert shifted[50] == pytest.approx((16 / 17) ** 0.5, rel=1e-5)


def test_steps_arrive_a_stride_lower_and_never_at_clean():
    process = GaussianDiffusion.create(TINY)
    assert process.steps(4) == ([76, 51, 26, 1], [51, 26, 1, 0])
    visited, arrivals = process.steps(30)  # a stride of 3 takes 34 steps
    assert len(visited) == 34 and visited[0] == 99 and arrivals[:2] == [96, 94]


def test_a_prediction_of_the_previous_step_is_turned_into_clean_latents():
    process = GaussianDiffusion.create({**TINY, "mean_type": "x_{t-1}"})
    draws = np.random.default_rng(0)
    x0, noise = draws.standard_normal((2, 2, 4, 3, 2, 2))
    steps = np.array([3, 80])
    noisy = process.schedule.add_noise(x0, noise, steps)
    target = process.target(x0, noisy, noise, steps)
    for sample, t in enumerate(steps):
        found = process.prediction(target[sample : sample + 1], noisy[sample : sample + 1], t)
        np.testing.assert_allclose(found[0], x0[sample], atol=1e-9)


@pytest.mark.parametrize(("mean_type", "expected"), [("eps", "noise"), ("x0", "x0"), ("v", "v")])
def test_targets(mean_type, expected):
    process = GaussianDiffusion.create({**TINY, "mean_type": mean_type})
    x0, noise, steps = np.full((1, 2), 3.0), np.full((1, 2), 5.0), np.array([40])
    abar = process.schedule.alphas_cumprod[40]
    values = {"noise": 5.0, "x0": 3.0, "v": abar**0.5 * 5 - (1 - abar) ** 0.5 * 3}
    assert process.target(x0, x0, noise, steps)[0, 0] == pytest.approx(values[expected])


@pytest.mark.parametrize(
    "config",
    [
        {**TINY, "schedule": "karras"},
        {"schedule": "linear_sd", "schedule_param": {"init_beta": 0.1}},
        {**TINY, "mean_type": "score"},
    ],
)
def test_unknown_words_and_missing_numbers(config):
    with pytest.raises(DataError):
        GaussianDiffusion.create(config)
