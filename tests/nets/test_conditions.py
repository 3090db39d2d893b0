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


def test_conditions_change_the_prediction_in_graphs_too(given):
    cell, results = network(), []
    names = ("image", "motion")
    for mode, conditions in ((ms.PYNATIVE_MODE, ()), (ms.PYNATIVE_MODE, names), (ms.GRAPH_MODE, names)):
        ms.set_context(mode=mode)
        results.append(predict(cell, given, conditions))
    ms.set_context(mode=ms.PYNATIVE_MODE)
    plain, eager, compiled = results
    assert np.abs(eager - plain).max() > 1e-3
    np.testing.assert_allclose(compiled, eager, rtol=1e-4, atol=1e-5)


def test_fusion_and_frame_rate(pynative, given):
    cell = network(condition_fusion=True, fps_condition=True)
    with_rate, without = (predict(cell, given, ("depth",), fps=fps) for fps in (np.full(B, 24.0), None))
    assert with_rate.shape == given["latents"].shape
    assert np.abs(with_rate - without).max() > 1e-3


def encode(cell, given, names, keep=None, size=(3, 5)):
    videos = [ms.Tensor(given[name], ms.float32) if name in names else None for name in SPATIAL_CONDITIONS]
    return cell(tuple(videos), *size, None if keep is None else ms.Tensor(keep, ms.float32)).asnumpy()


def test_encodings_add_up_and_have_the_latents_size(pynative, given):
    cell = network(Conditions)
    alone = [encode(cell, given, (name,)) for name in SPATIAL_CONDITIONS]
    assert alone[0].shape == (B, 4, FRAMES, 3, 5)
    assert all(np.abs(encoding).max() > 1e-3 for encoding in alone)
    np.testing.assert_allclose(encode(cell, given, SPATIAL_CONDITIONS), sum(alone), rtol=1e-4, atol=1e-4)


def test_a_dropped_video_adds_nothing_to_its_sample(pynative, given):
    cell, keep = network(Conditions), np.ones((B, 2 + len(SPATIAL_CONDITIONS)))
    keep[1, 2 + list(SPATIAL_CONDITIONS).index("masked")] = 0
    dropped = encode(cell, given, ("depth", "masked"), keep)
    np.testing.assert_allclose(dropped[0], encode(cell, given, ("depth", "masked"))[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dropped[1], encode(cell, given, ("depth",))[1], rtol=1e-5, atol=1e-5)


def test_dropped_tokens_are_zeros_in_their_place(pynative, given):
    cell, keep = network(Conditions), np.ones((B, 2 + len(SPATIAL_CONDITIONS)))
    text, image = (ms.Tensor(given[name], ms.float32) for name in ("context", "image"))
    kept = cell.tokens(text, image, None).asnumpy()
    assert kept.shape == (B, 6, 12)
    keep[0, 0] = keep[1, 1] = 0
    tokens = cell.tokens(text, image, ms.Tensor(keep, ms.float32)).asnumpy()
    assert not tokens[0, :5].any()
    assert not tokens[1, 5:].any()
    np.testing.assert_array_equal(tokens[1, :5], kept[1, :5])
    np.testing.assert_array_equal(tokens[0, 5:], kept[0, 5:])
