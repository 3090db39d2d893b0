"""The original's hyper-parameters, and values we have no network for."""

from __future__ import annotations

import pytest

from videogen_cli.errors import DataError
from videogen_cli.models.moviegen.params import component_params
from videogen_cli.nets.params.moviegen import MovieGenParams, TextProjectorParams

SIZES = {"hidden_size": 3072, "in_channels": 16, "out_channels": None, "patch_size": (1, 2, 2), "hidden_act": "silu"}


def test_published_sizes_are_the_defaults():
    assert component_params(SIZES) == {"transformer": MovieGenParams()}
    assert component_params({"transformer": SIZES}) == {"transformer": MovieGenParams()}


def test_projection_of_its_own():
    given = {"ul2_in_features": 7, "out_features": 5, "norm": "RMSNorm"}
    assert component_params(given) == {"text_projector": TextProjectorParams(ul2_dim=7, width=5)}
    assert component_params({"ul2_in_features": 7})["text_projector"].norm == "layer"
    with pytest.raises(DataError, match=r"text_projector.norm: 'GroupNorm' is not supported"):
        component_params({**given, "norm": "GroupNorm"})


@pytest.mark.parametrize(("key", "value"), [("attention_dropout", 0.1), ("hidden_act", "relu")])
def test_other_networks_are_refused(key, value):
    with pytest.raises(DataError, match=f"transformer.{key}: .* is not supported"):
        component_params({**SIZES, key: value})


def test_other_systems_files_describe_nothing():
    assert component_params({"group_size": 2}) == {}
