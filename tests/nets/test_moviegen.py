"""Movie Gen's transformer: options that leave the function as it is, how it starts, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest

from videogen_cli.errors import UsageError
from videogen_cli.metrics.parity_networks import call
from videogen_cli.nets.moviegen import MovieGenTransformer
from videogen_cli.nets.params.moviegen import MovieGenParams, TextProjectorParams
from videogen_cli.runtime import module

PARAMS = MovieGenParams(
    in_channels=3, width=16, ffn_width=24, heads=4, kv_heads=2, layers=1, patch_size=[2, 1, 2], max_length=[3, 4, 5],
    ul2_dim=6, metaclip_dim=5, byt5_dim=4,
)  # fmt: skip


def inputs():
    rng = np.random.default_rng(3)
    shapes = ((2, 4, 3, 3, 6), (2, 3, 6), (2, 2, 5), (2, 1, 4))
    latents, *text = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return latents, np.array([12.5, 990.0], np.float32), *text


def network(params, weights=None):
    cell = module.build(MovieGenTransformer, params)
    if weights is None:
        rng = np.random.default_rng(4)
        weights = {n: rng.standard_normal(p.shape) * 0.3 for n, p in cell.parameters_and_names()}
    module.load(cell, {name: np.asarray(value, np.float32) for name, value in weights.items()}, where="test")
    return cell, weights


def test_grouped_heads_are_repeated_heads(pynative):
    grouped, weights = network(PARAMS)
    heads = {}
    for name, value in weights.items():
        shared = "k_proj" in name or "v_proj" in name
        heads[name] = value.reshape(2, 4, 16).repeat(2, 0).reshape(16, 16) if shared else value
    full, _ = network(replace(PARAMS, kv_heads=4), heads)
    np.testing.assert_allclose(call(grouped, *inputs()), call(full, *inputs()), rtol=1e-4, atol=1e-5)


def test_a_graph_computes_the_same(pynative):
    cell, _ = network(PARAMS)
    eager = call(cell, *inputs())
    ms.set_context(mode=ms.GRAPH_MODE)  # the fixture puts it back
    np.testing.assert_allclose(call(cell, *inputs()), eager, rtol=1e-4, atol=1e-5)


def test_patches_are_a_convolution(pynative):
    linear, weights = network(PARAMS)
    name = "latent_embedder.proj.weight"
    kernel = {**weights, name: weights[name].reshape(16, 3, 2, 1, 2)}
    convolution, _ = network(replace(PARAMS, linear_patches=False), kernel)
    np.testing.assert_array_equal(call(linear, *inputs()), call(convolution, *inputs()))
    latents = inputs()[0]
    tokens = call(linear.latent_embedder, latents)
    patch = latents[1, 2:4, :, 2, 4:6]  # frames 2 and 3, the last row, the last two columns
    expected = np.einsum("ocft,fct->o", kernel[name][:, :, :, 0], patch)
    np.testing.assert_allclose(tokens[1, -1], expected, rtol=1e-4, atol=1e-5)


def test_channels_out_and_biases_are_options(pynative):
    cell, _ = network(replace(PARAMS, out_channels=5, attention_bias=True))
    assert call(cell, *inputs()).shape == (2, 4, 5, 3, 6)
    assert cell.layers[0].cross_attn.k_proj.bias.shape == (8,)


def test_a_new_network_predicts_nothing(pynative):
    cell = module.build(MovieGenTransformer, PARAMS)
    module.initialise(cell, 0)
    assert not call(cell, *inputs()).any()


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"heads": 3}, "transformer.heads"),
        ({"kv_heads": 3}, "transformer.kv_heads"),
        ({"max_length": [1, 2]}, "transformer.max_length"),
        ({"patch_size": [1, 0, 2]}, "transformer.patch_size"),
        ({"layers": 0}, "transformer.layers"),
    ],
)
def test_impossible_sizes(changes, where):
    with pytest.raises(UsageError) as caught:
        replace(PARAMS, **changes).check()
    assert caught.value.where == where


def test_grid_of_patches():
    assert PARAMS.grid(4, 3, 6) == (2, 3, 3)
    with pytest.raises(UsageError, match="do not divide into patches"):
        PARAMS.grid(3, 3, 6)
    with pytest.raises(UsageError, match="more than"):
        PARAMS.grid(8, 3, 6)


def test_unknown_norm_of_the_projection():
    with pytest.raises(UsageError, match="'batch' is not one of rms, layer"):
        TextProjectorParams(norm="batch").check()
