"""What the stages learn from: pure functions of (seed, step), whole runs of the real commands elsewhere."""

import numpy as np
import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.output import Output
from videogen_cli.registry import load_attr, resolve_config, spec
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False))

from videogen_cli.models.t2v_turbo.train import AutoencoderObjective, DiffusionObjective  # noqa: E402
from videogen_cli.runtime import module  # noqa: E402
from videogen_cli.train.objective import StageContext  # noqa: E402

SMALL = {"train": {"batch_size": 8}, "data": {"num_clips": 8}}


def objective(kind, stage, **overrides):
    model = spec("t2v-turbo")
    config = resolve_config(model, preset="tiny", stage=stage, overrides={**SMALL, **overrides}).config
    cells = {}
    for component in map(model.component, model.sampling_components):
        cells[component.name] = module.build(load_attr(component.build), getattr(config, component.name))
        module.initialise(cells[component.name], 0)
    return kind(StageContext(config, cells, {}, Output()))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def test_autoencoder_batches_are_pure_and_weigh_the_foreground():
    stage = objective(AutoencoderObjective, "vae")
    images, noise, weight = stage.batch(3, 0, 0)
    for first, second in zip((images, noise, weight), stage.batch(3, 0, 0), strict=True):
        assert np.array_equal(first, second)
    assert not np.array_equal(images, stage.batch(4, 0, 0)[0])
    assert images.shape == (8, 3, 64, 64) and noise.shape == (8, 4, 8, 8) and abs(images).max() <= 1
    assert set(np.unique(weight)) == {1.0, 4.0}


def test_diffusion_batches_are_pure_and_favour_noise_on_wish():
    stage = objective(DiffusionObjective, "base", diffusion={"noise_bias": 1.0})
    batch = stage.batch(5, 0, 0)
    for first, second in zip(batch, stage.batch(5, 0, 0), strict=True):
        assert np.array_equal(first, second)
    noisy, target, timesteps, ids, fps = batch
    assert noisy.shape == target.shape == (8, 4, 8, 8, 8) and ids.shape == (8, 16) and set(fps) == {8.0}
    assert sorted(timesteps // 125) == list(range(8)), "one timestep from each eighth of the schedule"
    biased = objective(DiffusionObjective, "base", diffusion={"noise_bias": 4.0})
    mean = np.mean([biased.batch(step, 0, 0)[2].mean() for step in range(20)])
    assert 780 < mean < 820, "the mean of u**(1/4) is 4/5"


def test_frozen_components_do_not_train():
    assert set(objective(DiffusionObjective, "base").trainable) == {"unet", "text"}
    assert set(objective(DiffusionObjective, "base", train={"rate_factors": {"text": 0}}).trainable) == {"unet"}
