import numpy as np
import pytest

from videogen_cli.diffusion import lcm
from videogen_cli.diffusion.losses import huber, mse
from videogen_cli.diffusion.schedules import NoiseSchedule
from videogen_cli.errors import UsageError


@pytest.mark.parametrize(
    ("steps", "origin", "expected"),
    [
        (1, 50, [999]),
        (2, 200, [999, 499]),
        (4, 50, [999, 759, 519, 279]),
        (4, 200, [999, 749, 499, 249]),
        (8, 50, [999, 879, 759, 639, 519, 399, 279, 159]),
        (16, 50, list(range(999, 98, -60))),
    ],
)
def test_timesteps_are_the_originals(steps, origin, expected):
    assert lcm.timesteps(steps, origin) == expected


@pytest.mark.parametrize(("steps", "origin"), [(0, 50), (51, 50), (4, 2000)])
def test_impossible_step_counts_are_refused(steps, origin):
    with pytest.raises(UsageError, match="steps"):
        lcm.timesteps(steps, origin)


def test_embedding_scalings_and_losses_match_the_original(golden):
    config, given, expected = golden("t2v-turbo/lcm-math")
    embedding = lcm.guidance_scale_embedding(given["w"], config["embedding_dim"])
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, expected["w_embedding"], atol=1e-6)
    c_skip, c_out = lcm.boundary_scalings(given["timesteps"].astype(np.float32))
    np.testing.assert_allclose(c_skip, expected["c_skip"], rtol=1e-5)
    np.testing.assert_allclose(c_out, expected["c_out"], rtol=1e-5)
    loss = huber(given["sample"], given["model_output"], config["huber_c"])
    np.testing.assert_allclose(loss, expected["huber"], rtol=1e-5)


def test_odd_embedding_ends_in_zero():
    embedding = lcm.guidance_scale_embedding(np.array([7.5]), 9)
    assert embedding.shape == (1, 9) and embedding[0, -1] == 0 and embedding[0, 4] != 0


@pytest.mark.parametrize("case", ["scheduler-1step", "scheduler-4step"])
def test_steps_match_the_original(golden, case):
    _, given, expected = golden(f"t2v-turbo/{case}")
    schedule, steps = NoiseSchedule.create(), expected["timesteps"].tolist()
    for index, (t, following) in enumerate(zip(steps, [*steps[1:], steps[-1]], strict=True)):
        prediction, sample = given[f"step{index}.model_output"], given[f"step{index}.sample"]
        denoised = lcm.denoise(schedule, prediction, sample, t)
        np.testing.assert_allclose(denoised, expected[f"step{index}.denoised"], rtol=1e-4, atol=1e-5)
        if len(steps) > 1:
            carried = lcm.renoise(schedule, denoised, following, given[f"step{index}.noise"])
            np.testing.assert_allclose(carried, expected[f"step{index}.prev_sample"], rtol=1e-4, atol=1e-5)
    noisy = schedule.add_noise(given["add_x0"], given["add_noise"], given["add_t"])
    np.testing.assert_allclose(noisy, expected["noisy"], rtol=1e-4, atol=1e-5)


def test_a_consistency_function_is_the_identity_at_zero():
    assert lcm.boundary_scalings(0.0) == (1.0, 0.0)


def test_huber_grows_like_the_error_and_mse_like_its_square():
    zero, ten = np.zeros(3), np.full(3, 10.0)
    assert huber(ten, zero) == pytest.approx(10, rel=1e-3)
    assert mse(ten, zero) == 100
