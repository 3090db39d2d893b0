import numpy as np
import pytest

from videogen_cli.diffusion.schedules import NoiseSchedule, beta_schedule, zero_terminal_snr
from videogen_cli.errors import UsageError


def test_float32_table_is_the_originals_to_the_bit(golden):
    config, _, expected = golden("t2v-turbo/scheduler-4step")
    schedule = NoiseSchedule.create(config["beta_schedule"], 1000, config["linear_start"], config["linear_end"])
    assert schedule.alphas_cumprod.dtype == np.float32
    np.testing.assert_array_equal(schedule.alphas_cumprod, expected["alphas_cumprod"])


def test_float64_table_has_the_published_values():
    abar = NoiseSchedule.create(dtype=np.float64).alphas_cumprod
    np.testing.assert_allclose(
        abar[[1, 21, 500, 981, 999]], [0.99829603, 0.98038075, 0.27633268, 0.00577550, 0.00466010], rtol=1e-6
    )


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_predictions_match_the_original(golden, kind):
    _, given, expected = golden("t2v-turbo/lcm-math")
    schedule = NoiseSchedule.create(prediction_type=kind)
    arguments = given["model_output"], given["sample"], given["timesteps"]
    np.testing.assert_allclose(schedule.predict_x0(*arguments), expected[f"x0_{kind}"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(schedule.predict_noise(*arguments), expected[f"eps_{kind}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_predictions_invert_add_noise(kind):
    draw = np.random.default_rng(0)
    x0, noise = draw.standard_normal((2, 3, 4, 5, 6)), draw.standard_normal((3, 4, 5, 6))
    schedule, steps = NoiseSchedule.create(prediction_type=kind, dtype=np.float64), np.array([3, 700])
    latents = schedule.add_noise(x0, noise, steps)
    alpha, sigma = schedule.coefficients(steps, 5)
    prediction = {"epsilon": noise + 0 * x0, "sample": x0, "v_prediction": alpha * noise - sigma * x0}[kind]
    np.testing.assert_allclose(schedule.predict_x0(prediction, latents, steps), x0, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(schedule.predict_noise(prediction, latents, steps), noise + 0 * x0, rtol=1e-9, atol=1e-9)


def test_one_timestep_keeps_float32():
    schedule, x = NoiseSchedule.create(), np.ones((1, 4, 2, 2, 2), np.float32)
    assert schedule.add_noise(x, x, 500).dtype == np.float32
    assert schedule.predict_x0(x, x, np.int64(500)).dtype == np.float32
    assert schedule.add_noise(x, x, np.array([500])).dtype == np.float32


def test_before_the_first_step_latents_are_clean():
    schedule = NoiseSchedule.create()
    assert schedule.abar(-1) == 1
    np.testing.assert_array_equal(schedule.abar(np.array([-1, 0])), [1, schedule.alphas_cumprod[0]])


def test_cosine_and_zero_terminal_snr():
    betas = beta_schedule("cosine", dtype=np.float64)
    assert betas.max() == 0.999
    rescaled = zero_terminal_snr(beta_schedule("scaled_linear", dtype=np.float64))
    assert np.cumprod(1 - rescaled)[-1] == pytest.approx(0, abs=1e-15)
    assert rescaled[0] == pytest.approx(0.00085)


def test_unknown_words_name_the_known():
    with pytest.raises(UsageError, match="scaled_linear"):
        beta_schedule("scaled-linear")
    with pytest.raises(UsageError, match="v_prediction"):
        NoiseSchedule.create(prediction_type="v-prediction")
