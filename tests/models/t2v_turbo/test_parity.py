"""Which conditions and weights the UNet's golden cases are run with, wherever a case has them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from videogen_cli.diffusion.lcm import guidance_scale_embedding
from videogen_cli.metrics.parity import Case
from videogen_cli.models.t2v_turbo import parity

GUIDANCE = np.array([5, 9], np.float32)


def made_case(tmp_path, inputs=None, config=None):
    folder = tmp_path / "t2v-turbo" / "case"
    folder.mkdir(parents=True)
    record = {"name": "case", "model": "t2v-turbo", "weights": "unet.safetensors", "config": config or {}}
    given = {"x": np.zeros((2, 4, 1, 8, 8), np.float32), "timesteps": np.array([1, 2]), **(inputs or {})}
    return Case(folder, record, given, {})


def network(width):
    return SimpleNamespace(params=SimpleNamespace(time_cond_proj_dim=width))


@pytest.fixture
def calls(monkeypatch):
    seen = []
    monkeypatch.setattr(parity, "call", lambda *arguments: seen.append(arguments))
    return seen


def test_a_guidance_scale_is_embedded_as_wide_as_the_network_takes_it(tmp_path, calls):
    case = made_case(tmp_path, {"w": GUIDANCE}, config={"unet": {"time_cond_proj_dim": 256}})
    parity.predict(network(24), case, np.zeros((2, 3, 8)))
    assert np.array_equal(calls[0][5], guidance_scale_embedding(GUIDANCE, 24))


def test_a_teacher_is_told_no_guidance_scale(tmp_path, calls):
    parity.predict(network(0), made_case(tmp_path, {"w": GUIDANCE}), np.zeros((2, 3, 8)))
    assert calls[0][5] is None


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("model.diffusion_model.out.2.bias", "vc2"),
        ("module.model.diffusion_model.out.2.bias", "vc2"),
        ("x", "vc2-unet"),
    ],
)
def test_a_unet_may_come_in_a_file_of_its_own(tmp_path, calls, monkeypatch, key, kind):
    case, used = made_case(tmp_path, {"time_cond_proj_weight": np.ones(3), "context": np.zeros((2, 3, 8))}), []

    def networks(case, names, kind, *, role, given):
        used.append((kind, list(given)))
        return {"unet": network(0)}

    save_file({key: np.zeros(4, np.float32)}, case.folder / "unet.safetensors")
    monkeypatch.setattr(parity, "networks", networks)
    parity.unet(case)
    assert used == [(kind, ["unet.time_cond_proj.weight"])]
