import numpy as np
import pytest

from videogen_cli.diffusion import lcm, samplers
from videogen_cli.diffusion.guidance import classifier_free
from videogen_cli.diffusion.schedules import NoiseSchedule
from videogen_cli.errors import UsageError

SHAPE = (2, 4, 2, 3, 3)


def knows_the_answer(schedule, x0):
    """A perfect network: whatever the latents, it points at ``x0``."""

    def denoise(latents, timestep):
        alpha, sigma = schedule.coefficients(timestep)
        return (latents - alpha * x0) / sigma

    return denoise


@pytest.fixture
def world():
    draw = np.random.default_rng(0)
    return NoiseSchedule.create(), draw.standard_normal(SHAPE, np.float32), draw.standard_normal(SHAPE, np.float32)


def test_ddim_timesteps_are_the_originals():
    assert samplers.ddim_timesteps(50)[:2] == [981, 961] and samplers.ddim_timesteps(50)[-1] == 1
    assert len(samplers.ddim_timesteps(30)) == 31
    assert max(samplers.ddim_timesteps(1000)) == 999
    with pytest.raises(UsageError):
        samplers.ddim_timesteps(0)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_reaches_what_a_perfect_network_points_at(world, eta):
    schedule, x0, start = world
    seen = []
    result = samplers.ddim(
        knows_the_answer(schedule, x0),
        start,
        schedule,
        steps := samplers.ddim_timesteps(10),
        previous=[*steps[1:], -1],
        eta=eta,
        noise=lambda step: np.random.default_rng(step).standard_normal(SHAPE, np.float32),
        callback=lambda step, total, record: seen.append((step, total, record.timestep)),
    )
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, x0, atol=1e-4)
    assert seen == [(i, 10, t) for i, t in enumerate(steps)]


def test_ddim_ends_at_timestep_zero_unless_told_otherwise(world):
    schedule, x0, start = world
    result = samplers.ddim(knows_the_answer(schedule, x0), start, schedule, samplers.ddim_timesteps(10))
    residue = result - np.sqrt(schedule.alphas_cumprod[0]) * x0
    assert 0.01 < residue.std() < 0.05  # sqrt(1 - abar_0) = 0.029 of noise stays


def test_ddim_with_eta_keeps_the_variance_of_the_forward_process(world):
    schedule, _, _ = world
    draw = np.random.default_rng(1)
    start = draw.standard_normal((64, 64))

    def denoise(latents, timestep):  # the optimum when the data are standard normal too
        return schedule.coefficients(timestep)[1] * latents

    result = samplers.ddim(
        denoise, start, schedule, range(999, 0, -2), eta=1.0, noise=lambda step: draw.standard_normal(start.shape)
    )
    assert result.std() == pytest.approx(1, abs=0.03)


def test_ddim_with_eta_needs_noise(world):
    schedule, x0, start = world
    with pytest.raises(UsageError, match="noise"):
        samplers.ddim(knows_the_answer(schedule, x0), start, schedule, [500], eta=0.5)


def test_lcm_returns_the_last_denoised_and_draws_every_step(world):
    schedule, x0, start = world
    drawn, records = [], []

    def noise(step):
        drawn.append(step)
        return np.zeros(SHAPE, np.float32)

    steps = lcm.timesteps(4)
    result = samplers.lcm(
        knows_the_answer(schedule, x0), start, schedule, steps, noise, lambda *args: records.append(args[2])
    )
    assert drawn == [0, 1, 2, 3]
    np.testing.assert_array_equal(result, records[-1].denoised)
    np.testing.assert_allclose(result, x0, atol=1e-3)
    alpha, _ = schedule.coefficients(steps[-1])
    np.testing.assert_allclose(records[-1].latents, alpha * result, rtol=1e-6)


def test_one_lcm_step_draws_nothing(world):
    schedule, x0, start = world

    def noise(step):
        raise AssertionError("drew noise")

    np.testing.assert_allclose(
        samplers.lcm(knows_the_answer(schedule, x0), start, schedule, [999], noise), x0, atol=1e-3
    )


def test_guidance_extrapolates_from_the_unconditional_half():
    def denoise(latents, timestep):
        assert len(latents) == 4
        return np.concatenate([np.full((2, 1), 3.0), np.full((2, 1), 1.0)])

    guided = classifier_free(denoise, 9.0)(np.zeros((2, 1)), 10)
    np.testing.assert_array_equal(guided, np.full((2, 1), 1 + 9 * 2.0))
