"""Solvers on a problem whose solution is known, and their options."""

import numpy as np
import pytest

from videogen_cli.diffusion.solvers import SOLVERS, create
from videogen_cli.diffusion.solvers.timesteps import karras, spaced, to_timesteps
from videogen_cli.errors import UsageError

SHAPE = (2, 4, 2, 3, 3)
DATA_STD = 0.5  # of the data distribution, a normal one, whose exact noise prediction is known
DETERMINISTIC = [name for name in SOLVERS if name not in ("DDPM", "EulerAncestralDiscrete", "KDPM2AncestralDiscrete")]
UNBOUNDED = {"DDIM": {"clip_sample": False}, "DDPM": {"clip_sample": False}}
PUBLISHED_BETAS = {"beta_start": 0.0001, "beta_end": 0.02}


def solve(name, steps, options=None, seed=0):
    """Sample normal data with the exact noise prediction."""
    solver = create(name, steps, {**PUBLISHED_BETAS, **UNBOUNDED.get(name, {}), **(options or {})})
    draw = np.random.default_rng(seed)
    latents, state = draw.standard_normal(SHAPE, np.float32) * np.float32(solver.init_noise_sigma), None
    table = solver.schedule.alphas_cumprod
    for index, t in enumerate(solver.timesteps):
        x = solver.scale_input(latents, index)
        abar = np.interp(t, np.arange(len(table)), table)
        eps = (np.sqrt(1 - abar) / (abar * DATA_STD**2 + 1 - abar)).astype(np.float32) * x
        noise = draw.standard_normal(SHAPE, np.float32) if solver.draws(index) else None
        latents, state = solver.step(eps, latents, index, state, noise)
    assert latents.dtype == np.float32
    return latents


def expected(seed=0):
    """The probability flow maps unit noise to the data by a factor."""
    return DATA_STD * np.random.default_rng(seed).standard_normal(SHAPE, np.float32)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_solves_the_probability_flow(name):
    steps = 200 if name in ("DDIM", "EulerDiscrete") else 60
    np.testing.assert_allclose(solve(name, steps), expected(), rtol=0.06, atol=0.01)


@pytest.mark.parametrize("name", ["DDPM", "EulerAncestralDiscrete", "KDPM2AncestralDiscrete"])
def test_ancestral_samples_have_the_variance_of_the_data(name):
    samples = np.stack([solve(name, 150, seed=seed) for seed in range(12)])
    assert abs(samples.std() - DATA_STD) < 0.06


@pytest.mark.parametrize("algorithm", ["dpmsolver", "dpmsolver++"])
@pytest.mark.parametrize("rule", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", ["DPMSolverMultistep", "DPMSolverSinglestep"])
def test_every_order_and_rule_of_dpm_solvers(name, order, rule, algorithm):
    options = {
        "solver_order": order,
        "solver_type": rule,
        "algorithm_type": algorithm,
        "final_sigmas_type": "sigma_min",
    }
    np.testing.assert_allclose(solve(name, 60, options), expected(), rtol=0.07, atol=0.01)


def test_karras_levels_may_end_at_the_lowest():
    options = {"solver_order": 3, "use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}
    np.testing.assert_allclose(solve("DPMSolverMultistep", 40, options), expected(), rtol=0.05, atol=0.01)


def test_higher_orders_are_nearer():
    first, second, third = (
        np.abs(solve("DEISMultistep", 40, {"solver_order": order}) - expected()).mean() for order in (1, 2, 3)
    )
    assert first > 3 * second > 9 * third


@pytest.mark.parametrize("algorithm", ["sde-dpmsolver", "sde-dpmsolver++"])
def test_stochastic_dpm_solvers(algorithm):
    options = {"algorithm_type": algorithm, "final_sigmas_type": "sigma_min"}
    samples = np.stack([solve("DPMSolverMultistep", 60, options, seed) for seed in range(12)])
    assert abs(samples.std() - DATA_STD) < 0.05


def test_the_three_predictions_agree():
    draw = np.random.default_rng(1)
    x0, eps = draw.standard_normal(SHAPE, np.float32), draw.standard_normal(SHAPE, np.float32)
    for name in ("DDIM", "DPMSolverMultistep", "DEISMultistep"):
        solvers = {kind: create(name, 8, {"prediction_type": kind}) for kind in ("epsilon", "sample", "v_prediction")}
        t = int(solvers["epsilon"].timesteps[0])
        abar = solvers["epsilon"].schedule.alphas_cumprod[t]
        alpha, sigma = np.sqrt(abar), np.sqrt(1 - abar)
        given = {"epsilon": eps, "sample": x0, "v_prediction": alpha * eps - sigma * x0}
        found = [solver.step(given[kind], alpha * x0 + sigma * eps, 0)[0] for kind, solver in solvers.items()]
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], atol=2e-4)


def test_pndm_calls():
    assert create("PNDM", 50).timesteps[:14].tolist() == [
        980, 970, 970, 960, 960, 950, 950, 940, 940, 930, 930, 920, 920, 900,
    ]  # fmt: skip
    assert create("PNDM", 50, {"skip_prk_steps": True}).timesteps[:4].tolist() == [980, 960, 960, 940]


def test_clipping_and_thresholding():
    latents, zeros = np.full(SHAPE, 3.0, np.float32), np.zeros(SHAPE, np.float32)
    last = len(create("DDIM", 10).timesteps) - 1
    assert create("DDIM", 10).step(zeros, latents, last)[0].max() == pytest.approx(1, abs=1e-6)
    wide = create("DDIM", 10, {"clip_sample_range": 2.0})
    assert wide.step(zeros, latents, last)[0].max() == pytest.approx(2, abs=1e-6)
    dynamic = create("DDIM", 10, {"thresholding": True, "sample_max_value": 2.0})
    assert dynamic.step(zeros, latents, last)[0].max() == pytest.approx(1, abs=1e-6)


def test_learned_variances_lie_between_the_fixed_ones():
    draw = np.random.default_rng(2)
    x, eps, noise = (draw.standard_normal(SHAPE, np.float32) for _ in range(3))
    small, large = (create("DDPM", 10, {"variance_type": kind}) for kind in ("fixed_small", "fixed_large"))
    learned = create("DDPM", 10, {"variance_type": "learned_range"})
    for share, fixed in ((-1.0, small), (1.0, large)):
        both = np.concatenate([eps, np.full(SHAPE, share, np.float32)], axis=1)
        np.testing.assert_allclose(
            learned.step(both, x, 4, noise=noise)[0], fixed.step(eps, x, 4, noise=noise)[0], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    ("name", "steps", "options", "word"),
    [
        ("PNMD", 10, {}, "PNMD"),
        ("DDIM", 10, {"etta": 1.0}, "etta"),
        ("DDIM", 0, {}, "0 steps"),
        ("DDIM", 1001, {}, "1001 steps"),
        ("DDIM", 10, {"timestep_spacing": "even"}, "even"),
        ("DDIM", 10, {"beta_schedule": "liner"}, "liner"),
        ("PNDM", 3, {}, "3 steps"),
        ("PNDM", 10, {"prediction_type": "sample"}, "sample"),
        ("DDPM", 10, {"variance_type": "fixed_large_log"}, "fixed_large_log"),
        ("EulerDiscrete", 10, {"interpolation_type": "cubic"}, "cubic"),
        ("DPMSolverMultistep", 20, {"solver_order": 3, "algorithm_type": "sde-dpmsolver++"}, "third order"),
        ("DPMSolverMultistep", 10, {"algorithm_type": "dpmsolver"}, "zero noise"),
        ("DPMSolverSinglestep", 8, {"solver_order": 3}, "order 2"),
        ("DPMSolverSinglestep", 8, {"solver_order": 4}, "4"),
        ("DEISMultistep", 8, {"solver_type": "rk4"}, "rk4"),
    ],
)
def test_impossible_options_are_named(name, steps, options, word):
    with pytest.raises(UsageError, match=word):
        create(name, steps, options)


def test_missing_noise_is_named():
    with pytest.raises(UsageError, match="fresh noise"):
        create("DDPM", 10).step(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32), 0)


def test_spacings():
    assert spaced("leading", 4, 1000, offset=1).tolist() == [751, 501, 251, 1]
    assert spaced("trailing", 4, 1000).tolist() == [999, 749, 499, 249]
    assert spaced("linspace", 4, 1000, whole=False).tolist() == [999, 666, 333, 0]


def test_noise_levels_and_timesteps_are_inverse():
    table = np.linspace(0.01, 150, 1000).astype(np.float32)
    np.testing.assert_allclose(
        to_timesteps(table, table[[0, 10, 998, 999]].astype(np.float64)), [0, 10, 998, 999], atol=1e-3
    )
    levels = karras(150.0, 0.01, 5)
    assert levels[0] == pytest.approx(150) and levels[-1] == pytest.approx(0.01) and (np.diff(levels) < 0).all()
