"""VideoComposer's conditions: what reaches the latents and what does not."""

import mindspore as ms
import numpy as np
import pytest
from networks import run

from videogen_cli.nets.conditions import ConditionedUNet3D, Conditions
from videogen_cli.nets.params.unet3d import SPATIAL_CONDITIONS, ConditionedUNet3DParams
from videogen_cli.runtime.module import build, initialise

SMALL = {
    "model_channels": 16, "channel_mult": [1], "num_res_blocks": 1, "attention_resolutions": [],
    "num_head_channels": 8, "context_dim": 12, "init_attention_heads": 2, "norm_groups": 4, "concat_dim": 4,
    "condition_layers": 2, "conditions": list(SPATIAL_CONDITIONS),
}  # fmt: skip
B, FRAMES, SIDE = 2, 3, 4


def network(factory=ConditionedUNet3D, **changes):
    cell = build(factory, ConditionedUNet3DParams(**{**SMALL, **changes}))
    initialise(cell, seed=0)
    draws = np.random.default_rng(0)
    for value in cell.get_parameters():  # zero-initialised layers would hide what is before them
        value.set_data(ms.Tensor(0.3 * draws.standard_normal(value.shape), ms.float32))
    return cell


@pytest.fixture(scope="module")
def given():
    draws = np.random.default_rng(1)
    videos = {
        name: draws.standard_normal((B, channels, FRAMES, 12 + 4 * index, 16))
        for index, (name, channels) in enumerate(SPATIAL_CONDITIONS.items())
    }
    return {
        "latents": draws.standard_normal((B, 4, FRAMES, SIDE, SIDE)),
        "timesteps": np.array([10.0, 700.0]),
        "context": draws.standard_normal((B, 5, 12)),
        "image": draws.standard_normal((B, 1, 12)),
        **videos,
    }


def predict(cell, given, names, keep=None, fps=None):
    conditions = [given[name] if name in names else None for name in ("image", *SPATIAL_CONDITIONS)]
    return run(cell, given["latents"], given["timesteps"], given["context"], *conditions, fps, keep)


def test_tokens_and_videos_change_the_prediction(pynative, given):
    cell = network()
    plain = predict(cell, given, ())
    for name in ("image", "depth"):
        assert np.abs(predict(cell, given, (name,)) - plain).max() > 1e-3, name


def test_dropped_samples_are_as_without_the_videos_and_the_rest_is_untouched(pynative, given):
    cell, names = network(), ("image", "depth", "masked")
    keep = np.ones((B, 2 + len(SPATIAL_CONDITIONS)))
    kept = predict(cell, given, names)
    np.testing.assert_array_equal(predict(cell, given, names, keep), kept)
    keep[1, 2:] = 0
    dropped = predict(cell, given, names, keep)
    np.testing.assert_allclose(dropped[0], kept[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dropped[1], predict(cell, given, ("image",))[1], rtol=1e-4, atol=1e-5)


def test_a_dropped_image_still_takes_a_token(pynative, given):
    cell, keep = network(), np.ones((B, 2 + len(SPATIAL_CONDITIONS)))
    keep[:, 1] = 0
    zero = np.concatenate([given["context"], np.zeros((B, 1, 12))], 1)
    expected = predict(cell, {**given, "context": zero}, ())
    np.testing.assert_allclose(predict(cell, given, ("image",), keep), expected, rtol=1e-5, atol=1e-5)


def test_a_dropped_text_is_zeros(pynative, given):
    cell, keep = network(), np.ones((B, 2 + len(SPATIAL_CONDITIONS)))
    keep[:, 0] = 0
    expected = predict(cell, {**given, "context": np.zeros_like(given["context"])}, ())
    np.testing.assert_allclose(predict(cell, given, (), keep), expected, rtol=1e-5, atol=1e-5)


def test_fusion_and_frame_rate(pynative, given):
    cell = network(condition_fusion=True, fps_condition=True)
    slow, fast = (predict(cell, given, ("depth",), fps=np.full(B, fps)) for fps in (2.0, 24.0))
    assert slow.shape == given["latents"].shape
    assert np.abs(slow - fast).max() > 1e-3
    assert np.isfinite(predict(cell, given, ("depth",))).all()


def test_graphs_agree_with_pynative(given):
    cell, results = network(), []
    for mode in (ms.PYNATIVE_MODE, ms.GRAPH_MODE):
        ms.set_context(mode=mode)
        results.append(predict(cell, given, ("image", "motion", "sketch")))
    ms.set_context(mode=ms.PYNATIVE_MODE)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4, atol=1e-5)


def test_encodings_add_up_and_have_the_latents_size(pynative, given):
    cell = network(Conditions)
    videos = [ms.Tensor(given[name], ms.float32) for name in SPATIAL_CONDITIONS]
    alone = [
        cell(tuple(video if i == j else None for j, video in enumerate(videos)), 3, 5).asnumpy()
        for i in range(len(videos))
    ]
    assert alone[0].shape == (B, 4, FRAMES, 3, 5)
    assert all(np.abs(encoding).max() > 1e-3 for encoding in alone)
    np.testing.assert_allclose(cell(tuple(videos), 3, 5).asnumpy(), sum(alone), rtol=1e-4, atol=1e-4)
