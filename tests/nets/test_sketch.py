import numpy as np
import pytest
from networks import run

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.sketch import SketchSimplificationParams
from videogen_cli.nets.sketch import SketchSimplification
from videogen_cli.runtime.cells import shapes
from videogen_cli.runtime.module import build, initialise


def test_drawings_keep_their_size(mode):
    network = build(SketchSimplification, SketchSimplificationParams(width_divisor=48))
    initialise(network, seed=0)
    drawings = np.random.default_rng(0).random((2, 1, 16, 24))
    cleaned = run(network, drawings)
    assert cleaned.shape == (2, 1, 16, 24)
    assert 0 < cleaned.min() < cleaned.max() < 1


def test_no_layer_vanishes():
    network = build(SketchSimplification, SketchSimplificationParams(width_divisor=10_000))
    assert len(shapes(network)) == 46
    assert shapes(network)["layers.40.weight"] == (1, 1, 4, 4)


@pytest.mark.parametrize(("name", "value"), [("width_divisor", 0), ("std", 0.0)])
def test_impossible_values_are_named(name, value):
    with pytest.raises(UsageError) as error:
        SketchSimplificationParams(**{name: value}).check()
    assert error.value.where == f"sketch.{name}"
