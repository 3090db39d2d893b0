"""What students learn from, and what a run leaves: pure batches, shared weights, rewards, files of factors."""

import numpy as np
import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.output import Output
from videogen_cli.registry import load_attr, resolve_config, spec
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False, mode="pynative"))

from mindspore import Tensor  # noqa: E402

from videogen_cli.models.t2v_turbo.distill_networks import is_factor  # noqa: E402
from videogen_cli.models.t2v_turbo.distill_objective import DistillObjective  # noqa: E402
from videogen_cli.runtime import module  # noqa: E402
from videogen_cli.train.objective import StageContext  # noqa: E402

SMALL = {
    "unet": {"model_channels": 20, "channel_mult": [1, 2], "norm_groups": 4, "attention_resolutions": [2]},
    "lora": {"rank": 4},
    "train": {"batch_size": 3},
    "data": {"num_clips": 6, "num_frames": 4, "height": 32, "width": 32},
    "sample": {"num_frames": 4, "height": 32, "width": 32},
}
SCORERS = {
    "image_reward": {
        "text": {"vocab_size": 279, "context_length": 16, "width": 32, "heads": 2, "layers": 1, "embed_dim": 32},
        "vision": {"image_size": 32, "patch_size": 16, "width": 32, "heads": 2, "layers": 1, "embed_dim": 32},
    }
}


def merged(*layers):
    """Merge nested settings, later ones over earlier ones."""
    values = {}
    for layer in layers:
        for key, value in layer.items():
            values[key] = merged(values.get(key, {}), value) if isinstance(value, dict) else value
    return values


def objective(stage="distill", seed=0, **overrides):
    model = spec("t2v-turbo")
    config = resolve_config(model, preset="tiny-student", stage=stage, overrides=merged(SMALL, overrides)).config
    cells = {}
    for component in map(model.component, model.stage(stage).components(config)):
        cells[component.name] = module.build(load_attr(component.build), getattr(config, component.name))
        module.initialise(cells[component.name], seed)
    return DistillObjective(StageContext(config, cells, {"unet": "unet.safetensors@0123456789ab"}, Output()))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def call(stage, batch):
    return [float(value.asnumpy()) for value in stage.loss(*map(Tensor, batch))]


def test_batches_are_pure_and_go_down_the_solvers_steps():
    stage = objective(distill={"solver_steps": 8, "topk": 125, "w_min": 1.0, "w_max": 3.0})
    batch = stage.batch(5, 0, 0)
    for first, second in zip(batch, stage.batch(5, 0, 0), strict=True):
        assert np.array_equal(first, second)
    moments, posterior, noise, start, end, coefficients, w, guidance, ids, fps, draws = batch
    assert not np.array_equal(noise, stage.batch(6, 0, 0)[2]) and not np.array_equal(noise, stage.batch(5, 1, 0)[2])
    assert moments.shape == (3, 8, 4, 4, 4) and posterior.shape == noise.shape == (3, 4, 4, 4, 4)
    assert set(start % 125) == {124} and np.array_equal(end, np.maximum(start - 125, 0))
    assert coefficients.shape == (3, 10) and guidance.shape == (3, 256) and ids.shape == (3, 16) and set(fps) == {8.0}
    assert (w >= 1).all() and (w < 3).all() and draws.shape == (2, 5)


def test_student_and_teacher_hold_the_frozen_weights_once():
    stage = objective()
    student = dict(stage.networks.student.parameters_and_names())
    teacher = dict(stage.networks.teacher.parameters_and_names())
    assert all(teacher[name] is student[name] for name in teacher)
    own = set(student) - set(teacher)
    assert {name for name in own if not is_factor(name)} == {"time_cond_proj.weight"}
    trained = stage.trainable["lora"]
    assert {name for name in student if trained.keep(name)} == {name for name in own if is_factor(name)}


def test_a_student_that_has_learnt_nothing_answers_like_its_teacher():
    stage = objective()
    projection = stage.networks.student.time_cond_proj.weight
    projection.set_data(Tensor(np.zeros(projection.shape, np.float32)))
    batch = stage.batch(0, 0, 0)
    rng = np.random.default_rng(0)
    noisy, context_ = rng.standard_normal((3, 4, 4, 4, 4)), rng.standard_normal((3, 16, 64))
    given = [Tensor(part.astype(np.float32)) for part in (noisy, batch[3], context_, batch[9])]
    teacher = stage.networks.teacher(*given).asnumpy()
    student = stage.networks.student(*given, Tensor(batch[7])).asnumpy()
    np.testing.assert_allclose(student, teacher, atol=1e-5)
