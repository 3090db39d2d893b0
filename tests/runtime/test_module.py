"""Weights in and out of real cells, and skeletons that agree with them."""

import numpy as np
import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.errors import WeightsError
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False))

from videogen_cli.runtime import module  # noqa: E402
from videogen_cli.runtime.cells import Cell, CellList, Init, parameter, shapes  # noqa: E402


class Part(Cell):
    def __init__(self, width):
        super().__init__()
        self.weight = parameter((width, 2), Init("normal", 0.5))
        self.bias = parameter((width,))

    def construct(self, x):
        return x


class Net(Cell):
    def __init__(self, width):
        super().__init__()
        self.first = Part(width)
        self.blocks = CellList([CellList([Part(3)]), CellList([Part(4), Part(5)])])

    def construct(self, x):
        return x


@pytest.fixture
def net():
    return module.build(Net, 6)


def weights(cell):
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes(cell).items()}


def test_load_and_state_round_trip(net):
    given = weights(net)
    module.load(net, given, where="file")
    back = module.state(net)
    assert list(back) == list(given) and all((back[n] == given[n]).all() for n in given)
    assert module.count(net) == sum(a.size for a in given.values())


def test_half_precision_is_upcast(net):
    given = {name: array.astype(np.float16) for name, array in weights(net).items()}
    module.load(net, given, where="file")
    assert all((module.state(net)[n] == given[n].astype(np.float32)).all() for n in given)


@pytest.mark.parametrize(("dtype", "kind"), [("fp16", "Float16"), ("bf16", "BFloat16")])
@pytest.mark.parametrize("stored", [np.float32, np.float16])
def test_weights_are_kept_in_the_wanted_type(net, dtype, kind, stored):
    given = {name: array.astype(stored) for name, array in weights(net).items()}
    module.load(net, given, where="file", dtype=dtype, writable=False)
    assert {str(p.dtype) for _, p in net.parameters_and_names()} == {kind}
    tolerance = 2e-3 if dtype == "fp16" else 1e-2
    assert all(np.allclose(module.state(net)[n], given[n], rtol=tolerance) for n in given)


@pytest.mark.parametrize("writable", [True, False])
def test_memory_is_shared_only_when_it_may_be(net, writable):
    given = weights(net)
    module.load(net, given, where="file", writable=writable)
    given["first.bias"][:] = 77
    assert (module.state(net)["first.bias"] == 77).all() == (not writable)


def test_errors_name_file_key_and_neighbour(net):
    given = weights(net)
    given["first.wieght"] = given.pop("first.weight")
    with pytest.raises(WeightsError) as caught:
        module.load(net, given, where="w.safetensors")
    text = str(caught.value)
    assert "w.safetensors" in text and "first.weight (near first.wieght)" in text
    module.load(net, given, where="w.safetensors", strict=False)
    given = weights(net)
    given["blocks.1.0.bias"] = np.zeros(9, np.float32)
    with pytest.raises(WeightsError, match=r"blocks\.1\.0\.bias is \(9,\), this network needs \(4,\)"):
        module.load(net, given, where="w.safetensors")


def test_initialise_depends_on_seed_and_name_only(net):
    module.initialise(net, 3)
    first = module.state(net)
    other = module.build(Net, 6)
    module.initialise(other, 3)
    assert all((first[n] == v).all() for n, v in module.state(other).items())
    module.initialise(other, 4)
    assert (first["first.weight"] != module.state(other)["first.weight"]).any()
    assert (first["first.bias"] == 0).all() and 0.2 < first["first.weight"].std() < 1
    assert (first["blocks.0.0.weight"][0] != first["blocks.1.0.weight"][0]).any()


SKELETON = """
import sys
from videogen_cli.config import DeviceConfig
from videogen_cli.nets.params.unet3d import UNet3DParams
from videogen_cli.registry import load_attr
from videogen_cli.runtime import cells, context
build = "videogen_cli.nets.unet3d:UNet3D"
skeleton = list(cells.shapes(load_attr(build)(UNet3DParams())).items())
assert "mindspore" not in sys.modules
context.start(DeviceConfig(mode="MODE", compile_cache=False))
from videogen_cli.runtime import cells, module
real = module.build(load_attr(build), UNet3DParams())
assert cells.REAL and list(cells.shapes(real).items()) == skeleton
print(len(skeleton))
"""


@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_skeletons_name_and_order_parameters_like_real_networks(mode):
    from test_context import run_python

    said, _ = run_python(SKELETON.replace("MODE", mode))
    assert int(said) > 100
