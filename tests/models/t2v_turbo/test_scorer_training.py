"""Stages of the scorers: pure batches, right answers, and a loss that is what its formula says."""

import numpy as np
import pytest
from PIL import Image

from videogen_cli.config import DeviceConfig
from videogen_cli.output import Output
from videogen_cli.registry import load_attr, resolve_config, spec
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False))

import mindspore as ms  # noqa: E402 (the device is started first)

from videogen_cli.models.t2v_turbo import contrast, scorer_training  # noqa: E402
from videogen_cli.models.t2v_turbo.scorer_training import ImageScorerObjective, VideoScorerObjective  # noqa: E402
from videogen_cli.nets.vae2d import AutoencoderKL  # noqa: E402
from videogen_cli.runtime import module  # noqa: E402
from videogen_cli.train.objective import StageContext  # noqa: E402

SMALL = {"train": {"batch_size": 6}, "data": {"num_clips": 12}, "contrast": {"extra_captions": 5}}
STAGES = {
    "image-scorer": (ImageScorerObjective, "image_reward"),
    "video-scorer": (VideoScorerObjective, "video_reward"),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)  # compiling takes far longer than all these tests compute
    yield
    ms.set_context(mode=before)


def objective(stage, **overrides):
    kind, component = STAGES[stage]
    model = spec("t2v-turbo")
    config = resolve_config(model, preset="tiny", stage=stage, overrides={**SMALL, **overrides}).config
    cells = {}
    for name in (component, "vae"):
        cells[name] = module.build(load_attr(model.component(name).build), getattr(config, name))
        module.initialise(cells[name], 0)
    return kind(StageContext(config, cells, {}, Output()))


@pytest.mark.parametrize(("stage", "frames"), [("image-scorer", 1), ("video-scorer", 4)])
def test_batches_are_pure_and_pair_each_clip_with_a_copy(stage, frames):
    learner = objective(stage)
    batch = learner.batch(3, 0, 0)
    for first, second in zip(batch, learner.batch(3, 0, 0), strict=True):
        assert np.array_equal(first, second)
    shown, noise, rows, columns = batch[:4]
    assert not np.array_equal(shown, learner.batch(4, 0, 0)[0])
    assert shown.shape == (12, frames, 3, 64, 64) and shown.min() >= 0 and shown.max() <= 1 + 1e-6
    assert noise.shape == (6 * frames, 4, 8, 8), "half of all goes through the autoencoder"
    assert rows.shape == (12, 11) and columns.shape == (11, 12)
    # Order: three true, their copies, three true, their copies.
    true = np.array([True] * 3 + [False] * 3 + [True] * 3 + [False] * 3)
    assert (columns[:, ~true] == 0).all(), "no degraded copy is a right answer"
    assert np.allclose(columns[:6].sum(1), 1), "each clip's caption has a right answer"
    assert np.allclose(rows[true].sum(1), 1) and set(rows.sum(1).round(4)) <= {0.0, 1.0}
    own = [*range(3), *range(3, 6)]
    assert (rows[true][np.arange(6), own] > 0).all()
    for array in batch:
        assert array.dtype in (np.float32, np.int32)


def test_what_captions_say_of_frames_and_videos():
    left, right = "a red circle moving left", "the red circle is moving right"
    assert contrast.meaning(left, False) == contrast.meaning(right, False) == ("red", "circle")
    assert contrast.meaning(left, True) != contrast.meaning(right, True)
    assert contrast.meaning(" A dog ", True) == contrast.meaning("a dog", True) == "a dog"


def test_right_answers_are_shared_and_asked_only_where_they_can_be_told():
    rows, columns = contrast.right_answers(
        ["a", "b", "a", "a"], ["a", "a", "b", "c"], np.array([1, 1, 1, 0], bool), np.array([1, 1, 0, 1], bool)
    )
    assert rows.tolist() == [[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0] * 4, [0.5, 0.5, 0, 0]]
    assert columns.tolist() == [[0.5, 0, 0.5, 0], [0.5, 0, 0.5, 0], [0, 1, 0, 0], [0] * 4]


def test_loss_is_the_symmetric_cross_entropy():
    draws = np.random.default_rng(0)
    similarity = draws.standard_normal((4, 3)).astype(np.float32) * 90
    rows = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 0], [0, 0, 1]], np.float32)
    columns = np.array([[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 0]], np.float32)

    def expected(logits, right):
        logits = logits.astype(np.float64)
        most = logits.max(1, keepdims=True)
        return -(right * (logits - most - np.log(np.exp(logits - most).sum(1, keepdims=True)))).sum() / right.sum()

    loss, first, second = contrast.ContrastiveLoss()(ms.Tensor(similarity), ms.Tensor(rows), ms.Tensor(columns))
    assert np.isclose(float(first), expected(similarity, rows), rtol=1e-5)
    assert np.isclose(float(second), expected(similarity.T, columns), rtol=1e-5)
    assert np.isclose(float(loss), (float(first) + float(second)) / 2, rtol=1e-6)


def test_only_the_first_images_go_through_the_autoencoder():
    vae = module.build(AutoencoderKL, resolve_config(spec("t2v-turbo"), preset="tiny").config.vae)
    module.initialise(vae, 0)
    images = np.random.default_rng(0).random((5, 3, 64, 64), np.float32)
    quiet = np.zeros((2, 4, 8, 8), np.float32)
    shown = contrast.Reconstructed(vae)(ms.Tensor(images), ms.Tensor(quiet)).asnumpy()
    expected = np.clip(vae(ms.Tensor(images[:2] * 2 - 1)).asnumpy() * 0.5 + 0.5, 0, 1)
    assert np.allclose(shown[:2], expected, atol=1e-5) and np.array_equal(shown[2:], images[2:])
    noisy = contrast.Reconstructed(vae)(ms.Tensor(images[:2]), ms.Tensor(quiet + 1)).asnumpy()
    assert np.abs(noisy - shown[:2]).max() > 1e-3


@pytest.mark.parametrize("stage", STAGES)
def test_stages_learn_validate_and_draw(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(scorer_training, "GALLERY", 6)
    learner = objective(stage)
    (name,) = learner.trainable
    parameters = [value for _, value in learner.trainable[name].parameters_and_names()]
    batch = [ms.Tensor(array) for array in learner.batch(0, 0, 0)]
    (loss, *scalars), gradients = ms.value_and_grad(learner.loss, None, parameters, has_aux=True)(*batch)
    assert np.isfinite(float(loss)) and len(scalars) == len(learner.scalar_names)
    moved = sum(float(abs(gradient).sum()) > 0 for gradient in gradients)
    assert moved >= len(parameters) - 3, "all but the positions of single images, and rows of no token"
    results = learner.validate(0)
    module.initialise(learner.trainable[name], 5)
    assert learner.validate(0) != results, "what was computed with other weights is forgotten"
    module.initialise(learner.trainable[name], 0)
    kinds = ("accuracy", "gap", "score", "ranked")
    assert set(results) == {f"{kind}{where}" for kind in kinds for where in ("", "_held_out")}
    assert results == learner.validate(0)
    files = learner.preview(tmp_path, 7)
    assert [path.name for path in files] == ["step-7.png", "step-7_held_out.png"]
    assert Image.open(files[0]).size == (6 * 16, 16 + 84 * 8)


def test_data_of_ones_own_are_told_apart_by_their_words(tmp_path):
    from videogen_cli.data.moving_shapes import write_dataset

    table = write_dataset(tmp_path / "own", 3, 4)
    table.write_text(table.read_text().replace("a ", "one ").replace("circle", "ball"))
    learner = objective("video-scorer", data={"path": str(table), "num_clips": 0}, train={"batch_size": 2})
    assert set(learner.validate(0)) == {"accuracy", "gap", "score", "ranked"}
    rows = learner.batch(0, 0, 0)[2]
    assert rows.shape == (4, 7)
