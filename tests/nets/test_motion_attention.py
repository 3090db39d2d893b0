"""The UNet's attention to one token of the motion text."""

import numpy as np
from networks import run

from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.nets.unet3d import UNet3D
from videogen_cli.runtime.cells import Cell
from videogen_cli.runtime.module import build, initialise

PARAMS = UNet3DParams(
    model_channels=8, channel_mult=[1, 2], num_res_blocks=1, attention_resolutions=[1], num_head_channels=4,
    context_dim=6, motion_attention=True, fps_condition=False, norm_groups=4,
    temporal_conv=False, temporal_attention=False, init_attention=False,
)  # fmt: skip


class Flat(Cell):
    """Gives the prediction and maps as one tuple."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def construct(self, x, t, y, motion, token):
        eps, maps = self.unet(x, t, y, None, None, None, motion, token)
        return (eps, *maps)


def test_attention_to_all_tokens_sums_to_one_and_changes_nothing(mode):
    unet = build(UNet3D, PARAMS)
    initialise(unet, seed=0)
    draws = np.random.default_rng(0)
    x, y, motion = (draws.standard_normal(s).astype(np.float32) for s in [(2, 4, 3, 4, 4), (2, 5, 6), (2, 3, 6)])
    t = np.array([7, 900])
    flat = Flat(unet)
    found = [_call(flat, x, t, y, motion, np.array([token, token])) for token in range(3)]
    shapes = [seen.shape for seen in found[0][1:]]
    assert shapes == [(2, 4, 4, 3), (2, 2, 2, 3), (2, 4, 4, 3), (2, 4, 4, 3)]  # down, middle, up
    for index in range(1, 5):
        np.testing.assert_allclose(sum(seen[index] for seen in found), 1, rtol=0, atol=1e-5)
    if mode == "pynative":  # compiling a second graph takes longer than all the rest
        eps = run(lambda *a: unet(*a[:3], None, None, None, a[3]), x, t, y, motion)
        np.testing.assert_allclose(found[0][0], eps, rtol=0, atol=1e-5)


def test_each_sample_has_its_own_token(pynative):
    unet = build(UNet3D, PARAMS)
    initialise(unet, seed=0)
    draws = np.random.default_rng(1)
    x, y, motion = (draws.standard_normal(s).astype(np.float32) for s in [(2, 4, 2, 4, 4), (2, 5, 6), (2, 3, 6)])
    t, flat = np.array([7, 900]), Flat(unet)
    both = _call(flat, x, t, y, motion, np.array([0, 2]))
    first, second = (_call(flat, x, t, y, motion, np.array([token, token])) for token in (0, 2))
    np.testing.assert_allclose(both[1][0], first[1][0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(both[1][1], second[1][1], rtol=0, atol=1e-6)
    assert np.abs(both[1][1] - first[1][1]).max() > 1e-3


def _call(cell, *arrays):
    import mindspore as ms

    kinds = [np.int32 if a.dtype.kind == "i" else np.float32 for a in arrays]
    return [out.asnumpy() for out in cell(*(ms.Tensor(a.astype(k)) for a, k in zip(arrays, kinds, strict=True)))]
