"""The losses by their formulas, with a flow network that can be computed by hand."""

import numpy as np
import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.errors import DataError
from videogen_cli.runtime.context import start

start(DeviceConfig(target="cpu", mode="pynative", compile_cache=False))

import mindspore as ms  # noqa: E402 (the device is started first)

from videogen_cli.models.demo import losses  # noqa: E402
from videogen_cli.models.demo.trained import is_trained_text  # noqa: E402

DRAWS = np.random.default_rng(0)


class Differences:
    """Stands in for RAFT: the flow is the change of the first channel, and of its mirror image."""

    def video_flow(self, frames):
        moved = frames[:, 1:, :1] - frames[:, :-1, :1]
        return ms.ops.concat((moved, -2 * moved), 2)


def draw(*shape):
    return DRAWS.standard_normal(shape).astype(np.float32)


@pytest.fixture(autouse=True)
def pynative():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=before)


def test_diffusion_and_video_motion_take_arrays_and_tensors():
    output, target = draw(2, 4, 3, 2, 2), draw(2, 4, 3, 2, 2)
    error = (output - target).reshape(2, -1)
    moved = np.abs(np.diff(output, axis=2)) - np.abs(np.diff(target, axis=2))
    expected = {
        "mse": (error**2).mean(1),
        "rescaled_l1": np.abs(error).mean(1),
        "motion": (moved.reshape(2, -1) ** 2).mean(1),
    }
    for wrap, unwrap in ((np.asarray, np.asarray), (ms.Tensor, lambda t: t.asnumpy())):
        pair = wrap(output), wrap(target)
        for kind in ("mse", "rescaled_l1"):
            np.testing.assert_allclose(unwrap(losses.diffusion(*pair, kind)), expected[kind], rtol=1e-5)
        np.testing.assert_allclose(unwrap(losses.video_motion(*pair)), expected["motion"], rtol=1e-5)


def test_losses_that_upstream_cannot_compute_are_refused():
    with pytest.raises(DataError, match="charbonnier"):
        losses.diffusion(draw(1, 2), draw(1, 2), "charbonnier")


def test_stillness_is_large_where_nothing_changes():
    x0 = draw(2, 4, 5, 3, 3)
    x0[1] = x0[1, :, :1]
    found = losses.stillness(ms.Tensor(x0)).asnumpy()
    np.testing.assert_allclose(found[0], 0.001 / (x0[0].std(1, ddof=1).mean() + 1e-4), rtol=1e-5)
    assert found[1] == pytest.approx(10, rel=1e-2)


def test_regularization_reads_the_state_at_the_end():
    states, image, end = draw(2, 5, 8), draw(2, 8), np.array([4, 1], np.int32)
    found = losses.regularization(ms.Tensor(states), ms.Tensor(end), ms.Tensor(image)).asnumpy()
    for sample in range(2):
        x, y = states[sample, end[sample]], image[sample]
        assert found[sample] == pytest.approx(-x @ y / np.linalg.norm(x) / np.linalg.norm(y), rel=1e-4)


def test_maps_of_one_height_are_averaged_and_flows_meet_at_one_size():
    cell = losses.TextMotion(Differences())
    frames = draw(2, 3, 3, 128, 128)
    large = [draw(2, 128, 128, 3) for _ in range(2)]
    flow = cell.video_flow(ms.Tensor(frames))
    found = cell(flow, tuple(map(ms.Tensor, large))).asnumpy()

    def cosine(x, y):
        return (x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y)

    mean = (large[0] + large[1]) / 2
    for sample in range(2):
        moved, expected = np.diff(mean[sample], axis=-1).transpose(2, 0, 1), np.diff(frames[sample, :, 0], axis=0)
        assert found[sample] == pytest.approx(-cosine(moved, expected), rel=1e-3, abs=1e-5)
    small = draw(2, 4, 4, 3)  # enlarged to 128 before its flow is seen; another height counts as much as the first
    alone = cell(flow, (ms.Tensor(small),)).asnumpy()
    both = cell(flow, (ms.Tensor(large[0]), ms.Tensor(small), ms.Tensor(large[1]))).asnumpy()
    np.testing.assert_allclose(both, (found + alone) / 2, rtol=1e-3, atol=1e-5)


def test_a_larger_videos_flow_is_resized_to_that_of_the_maps():
    cell = losses.TextMotion(Differences())
    still = np.broadcast_to(np.arange(3, dtype=np.float32)[None, :, None, None, None], (1, 3, 3, 160, 144))
    flow = cell.video_flow(ms.Tensor(np.ascontiguousarray(still)))
    assert flow.shape == (1, 2, 2, 160, 144)
    rising = np.broadcast_to(np.arange(3, dtype=np.float32), (1, 8, 8, 3))
    assert cell(flow, (ms.Tensor(np.ascontiguousarray(rising)),)).asnumpy()[0] == pytest.approx(-1, abs=1e-5)


def test_only_later_blocks_of_the_motion_encoder_are_trained():
    names = ["transformer.resblocks.9.ln_1.bias", "transformer.resblocks.10.ln_1.bias", "ln_final.bias"]
    assert [is_trained_text(name, 10) for name in names] == [False, True, False]
