"""One type of checkpoint under several sets of names."""

import numpy as np
import pytest

from videogen_cli.weights.keymap import KeyMap, rename
from videogen_cli.weights.layouts import UnitAxes
from videogen_cli.weights.tensor import from_array
from videogen_cli.weights.variants import Variants

VARIANTS = Variants(
    {
        "torch": KeyMap((rename("{*}", "net.{*}"),)),
        "port": KeyMap((rename("norm.gamma", "net.norm.weight"), rename("conv.{*}", "net.conv.{*}", UnitAxes((2,))))),
    }
)
TARGETS = {"net.norm.weight": (3,), "net.conv.weight": (2, 3)}
TORCH = {"norm.weight": from_array(np.arange(3.0)), "conv.weight": from_array(np.ones((2, 3)))}
PORT = {"norm.gamma": from_array(np.arange(3.0)), "conv.weight": from_array(np.ones((2, 3, 1)))}


@pytest.mark.parametrize(("source", "found"), [(TORCH, {}), (PORT, {"variant": "port"})])
def test_the_variant_is_found_and_remembered(source, found):
    account = VARIANTS.account(source, TARGETS)
    assert account.ok
    assert account.metadata == found
    assert {name: tensor.shape for name, tensor in account.tensors.items()} == TARGETS
    back = VARIANTS.export(account.tensors, account.metadata).tensors
    assert {name: tensor.shape for name, tensor in back.items()} == {n: t.shape for n, t in source.items()}


def test_without_a_memory_the_first_is_written():
    account = VARIANTS.account(PORT, TARGETS)
    assert set(VARIANTS.export(account.tensors).tensors) == set(TORCH)
    assert set(VARIANTS.export(account.tensors, {"variant": "never heard of"}).tensors) == set(TORCH)


def test_what_fits_nothing_is_judged_by_what_fits_best():
    account = VARIANTS.account({"norm.gamma": PORT["norm.gamma"]}, TARGETS)
    assert not account.ok
    assert account.missing == ["net.conv.weight"]
    assert not account.unexpected
