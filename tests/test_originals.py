"""The originals' hyper-parameters: what is missing or other than ours is named."""

from __future__ import annotations

import pytest

from videogen_cli import originals
from videogen_cli.errors import DataError
from videogen_cli.nets.params.lpips import LPIPSParams


@pytest.mark.parametrize("config", [{}, {"width": None}])
def test_a_required_key_that_has_no_value_is_named(config):
    with pytest.raises(DataError, match=r"^text\.width: is missing"):
        originals.required(config, "width", "text")
    assert originals.required({"width": 0}, "width") == 0


def test_a_switch_may_be_absent_or_ours():
    switches = {"act": ("gelu", "silu"), "bias": False, "strides": [1, 2], "scale": None}
    originals.only_ours({}, switches)
    originals.only_ours({"act": "silu", "bias": False, "strides": [1, 2], "scale": None, "other": 1}, switches)
    for key, value in (("act", "relu"), ("bias", True), ("bias", None), ("strides", [2, 2]), ("scale", 1.0)):
        with pytest.raises(DataError, match=rf"^unet\.{key}: .* is not supported, only "):
            originals.only_ours({key: value}, switches, "unet")


def test_words_are_looked_up():
    assert originals.looked_up("last", originals.LAYERS_SKIPPED, "layer") == 0
    with pytest.raises(DataError, match="layer: 'first' is not supported, only 'last', 'penultimate'"):
        originals.looked_up("first", originals.LAYERS_SKIPPED, "layer")


def test_widths_are_multiples_of_the_first():
    assert originals.multiples((32, 64, 32), "channels") == [1, 2, 1]
    with pytest.raises(DataError, match=r"channels: \[32, 48\]"):
        originals.multiples([32, 48], "channels")


def test_params_complain_about_the_originals_values():
    assert originals.checked(LPIPSParams()) == LPIPSParams()
    with pytest.raises(DataError, match=r"lpips\.in_channels"):
        originals.checked(LPIPSParams(in_channels=0))
