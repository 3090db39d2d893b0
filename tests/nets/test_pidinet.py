from dataclasses import replace

import numpy as np
import pytest
from networks import ATOL, golden_network, run

from videogen_cli.nets.params.pidinet import OPERATORS, PiDiNetParams
from videogen_cli.nets.pidinet import DifferenceBlock, DifferenceConv, PiDiNet, plain_kernel_matrix
from videogen_cli.runtime.module import build, initialise, load
from videogen_cli.weights.tensor import from_array

SMALL = PiDiNetParams(channels=4, dilation_channels=3)
IMAGES = np.random.default_rng(1).standard_normal((1, 3, 17, 22))
W = np.random.default_rng(2).standard_normal(9)


def test_differences_to_the_centre():
    patch = np.random.default_rng(3).standard_normal(9)
    assert plain_kernel_matrix("c") @ W @ patch == pytest.approx(W @ (patch - patch[4]))


def test_differences_along_the_angle():
    patch = np.random.default_rng(3).standard_normal(9)
    ring = [0, 1, 2, 5, 8, 7, 6, 3]  # clockwise
    expected = sum(W[tap] * (patch[tap] - patch[ring[(i + 1) % 8]]) for i, tap in enumerate(ring))
    assert plain_kernel_matrix("a") @ W @ patch == pytest.approx(expected)


def test_differences_along_the_radius():
    patch = np.random.default_rng(3).standard_normal((5, 5))
    steps = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
    expected = sum(W[1 + i] * (patch[2 + 2 * y, 2 + 2 * x] - patch[2 + y, 2 + x]) for i, (y, x) in enumerate(steps))
    assert plain_kernel_matrix("r") @ W @ patch.ravel() == pytest.approx(expected)


@pytest.mark.parametrize("operators", ["carv4", "r16"])
def test_converted_kernels_see_the_same_edges(pynative, operators):
    params = replace(SMALL, operators=operators)
    network = build(PiDiNet, params)
    initialise(network, seed=0)
    weights = {name: value.asnumpy() for name, value in network.parameters_and_names()}
    for name, part in network.cells_and_names():
        if isinstance(part, DifferenceConv):
            weights[f"{name}.weight"] = part.kernel().asnumpy()
    converted = build(PiDiNet, replace(params, converted=True))
    load(converted, {name: from_array(np.ascontiguousarray(w)) for name, w in weights.items()}, where="test")
    edges = run(network, IMAGES)
    assert edges.shape == (1, 1, 17, 22)
    assert 0 < edges.min() < edges.max() < 1
    np.testing.assert_allclose(run(converted, IMAGES), edges, atol=1e-5)


@pytest.mark.parametrize(("channels", "attention"), [(0, True), (3, False), (0, False)])
def test_what_reads_the_stages_may_be_left_out(pynative, channels, attention):
    network = build(PiDiNet, replace(SMALL, dilation_channels=channels, attention=attention))
    initialise(network, seed=0)
    names = {name.partition(".")[0] for name, _ in network.parameters_and_names()}
    assert ("dilations" in names, "attentions" in names) == (channels > 0, attention)
    assert run(network, IMAGES).shape == (1, 1, 17, 22)


def test_a_block_in_both_modes(mode):
    block = build(lambda _: DifferenceBlock(2, 3, "a", converted=False, halve=True), None)
    initialise(block, seed=0)
    weights = {name: value.asnumpy().astype(float) for name, value in block.parameters_and_names()}
    x = np.random.default_rng(4).standard_normal((1, 2, 6, 4))
    pooled = x.reshape(2, 3, 2, 2, 2).max((2, 4))
    padded = np.pad(pooled, [(0, 0), (1, 1), (1, 1)])
    kernel = (weights["conv1.weight"].reshape(2, 9) @ plain_kernel_matrix("a").T).reshape(2, 3, 3)
    inner = np.array(
        [[[(padded[c, i : i + 3, j : j + 3] * kernel[c]).sum() for j in range(2)] for i in range(3)] for c in range(2)]
    )
    mixed = np.einsum("oc,chw->ohw", weights["conv2.weight"][..., 0, 0], np.maximum(inner, 0))
    shortcut = np.einsum("oc,chw->ohw", weights["shortcut.weight"][..., 0, 0], pooled)
    expected = mixed + shortcut + weights["shortcut.bias"][:, None, None]
    np.testing.assert_allclose(run(block, x)[0], expected, atol=1e-5)


def test_edges_of_the_original(pynative, golden, golden_path):
    config, given, expected = golden("videocomposer/pidinet-mindspore")
    params = PiDiNetParams(channels=config["inplane"], dilation_channels=config["dil"], converted=True)
    network = golden_network(PiDiNet, params, golden_path("videocomposer/pidinet-mindspore") / "weights.ckpt")
    images = (given["frames0"] - [[[0.485]], [[0.456]], [[0.406]]]) / [[[0.229]], [[0.224]], [[0.225]]]
    np.testing.assert_allclose(run(network, images), expected["edge0"], atol=ATOL)


def test_every_configuration_names_sixteen_layers():
    assert {len(word) for word in OPERATORS.values()} == {16}
    assert OPERATORS["carv4"] == "carvcarvcarvcarv"
    assert len(OPERATORS) == 14
