import numpy as np
import pytest

from videogen_cli.diffusion.ddim_solver import DDIMSolver, dynamic_scale
from videogen_cli.diffusion.schedules import NoiseSchedule


@pytest.mark.parametrize("case", ["ddim-solver-50", "ddim-solver-50-scale"])
def test_solver_matches_the_original(golden, case):
    config, given, expected = golden(f"t2v-turbo/{case}")
    scale = dynamic_scale(config["scale_a"], config["scale_b"], config["mid_step"]) if config["use_scale"] else None
    solver = DDIMSolver(NoiseSchedule.create(), config["ddim_timesteps"], scale)
    x_prev = solver.step(given["pred_x0"], given["pred_noise"], given["index"])
    assert x_prev.dtype == np.float32
    np.testing.assert_array_equal(solver.timesteps, expected["ddim_timesteps"])
    np.testing.assert_allclose(solver.alphas_cumprod_prev, expected["ddim_alpha_cumprods_prev"])
    np.testing.assert_allclose(x_prev, expected["x_prev"], rtol=1e-5, atol=1e-6)
    if "reverse" in expected:
        back = solver.reverse_step(given["pred_x0"], given["pred_noise"], solver.timesteps[given["index"]])
        np.testing.assert_allclose(back, expected["reverse"], rtol=1e-4, atol=1e-5)


def test_the_rescaling_is_as_long_as_upstreams():
    scale = dynamic_scale()
    assert len(scale) == 1400 and scale[0] == 1 and scale[-1] == np.float32(0.7)


def test_eta_moves_variance_from_the_estimate_to_fresh_noise():
    plain, noisy = (DDIMSolver(NoiseSchedule.create(), eta=eta) for eta in (0.0, 1.0))
    index = np.array([10, 30])
    (_, direction, none), (_, less, sigma) = plain.coefficients(index), noisy.coefficients(index)
    assert (none == 0).all() and (sigma > 0).all()
    np.testing.assert_allclose(direction**2, less**2 + sigma**2, rtol=1e-5)
