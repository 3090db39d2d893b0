"""The Gaussian diffusion's tables, respacing and steps; its loss is compared with the original's by golden cases."""

import numpy as np
import pytest

from videogen_cli.diffusion.gaussian import GaussianDiffusion, kept_timesteps
from videogen_cli.errors import UsageError

SHAPE = (2, 4, 3, 2, 2)


def test_respacing():
    assert kept_timesteps("", 5).tolist() == [0, 1, 2, 3, 4]
    assert kept_timesteps("3", 1000).tolist() == [0, 500, 999]  # 499.5 is rounded to even
    assert kept_timesteps("ddim4", 1000).tolist() == [0, 250, 500, 750]
    assert kept_timesteps("2,1,3", 10).tolist() == [0, 3, 4, 7, 8, 9]


@pytest.mark.parametrize("respacing", ["many", "1001", "600,1", "ddim999", "0"])
def test_impossible_respacings_are_named(respacing):
    with pytest.raises(UsageError, match="timestep_respacing"):
        GaussianDiffusion.create(respacing)


@pytest.mark.parametrize("words", [{"noise_schedule": "cosine"}, {"variance": "learned"}, {"loss": "l1"}])
def test_unknown_words_are_named(words):
    with pytest.raises(UsageError, match=next(iter(words.values()))):
        GaussianDiffusion.create(**words)


def test_respaced_steps_have_the_noise_of_the_whole_process():
    whole, some = GaussianDiffusion.create(), GaussianDiffusion.create("7")
    np.testing.assert_allclose(np.cumprod(1 - some.betas), np.cumprod(1 - whole.betas)[some.timestep_map])


def test_the_true_noise_leads_back_to_the_clean_latents():
    draw = np.random.default_rng(0)
    x0, noise = draw.standard_normal(SHAPE, np.float32), draw.standard_normal(SHAPE, np.float32)
    diffusion = GaussianDiffusion.create("10", variance="fixed_small")
    noisy = diffusion.add_noise(x0, noise, np.array([4, 4]))
    _, found = diffusion.previous(noise, noisy, 4, np.zeros(SHAPE, np.float32))
    np.testing.assert_allclose(found, x0, atol=1e-4)
    clipped = diffusion.previous(noise, noisy, 4, np.zeros(SHAPE, np.float32), clip=True)[1]
    np.testing.assert_allclose(clipped, x0.clip(-1, 1), atol=1e-4)


def test_learned_variance_lies_between_the_fixed_ones():
    draw = np.random.default_rng(1)
    xt, eps, noise = (draw.standard_normal(SHAPE, np.float32) for _ in range(3))
    learned = GaussianDiffusion.create("10")
    for share, kind in ((-1.0, "fixed_small"), (1.0, "fixed_large")):
        both = np.concatenate([eps, np.full(SHAPE, share, np.float32)], axis=1)
        fixed = GaussianDiffusion.create("10", variance=kind).previous(eps, xt, 5, noise)[0]
        np.testing.assert_allclose(learned.previous(both, xt, 5, noise)[0], fixed, rtol=1e-5, atol=1e-6)


def test_the_last_step_adds_no_noise():
    draw = np.random.default_rng(2)
    xt, both = draw.standard_normal(SHAPE, np.float32), draw.standard_normal((2, 8, *SHAPE[2:]), np.float32)
    diffusion = GaussianDiffusion.create("10")
    steps = [diffusion.previous(both, xt, 0, noise)[0] for noise in (np.zeros_like(xt), np.ones_like(xt))]
    np.testing.assert_array_equal(*steps)
