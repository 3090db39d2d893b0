"""How recorded configs of the diffusion are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from videogen_cli.models.opensora_plan.parity_samplers import case_diffusion


@dataclass
class FakeCase:
    """What the diffusion is read from."""

    config: dict[str, Any]
    name: str = "case"


@pytest.mark.parametrize(
    ("respacing", "kept"),
    [([2, 1], [0, 499, 500]), ("2,1", [0, 499, 500]), (2, [0, 999]), ("ddim2", [0, 500]), (None, list(range(1000)))],
)
def test_respacings_are_words_numbers_or_lists(respacing, kept):
    assert case_diffusion(FakeCase({"timestep_respacing": respacing})).timestep_map.tolist() == kept  # type: ignore
