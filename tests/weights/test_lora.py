"""Low-rank factors: every form they come in, their order, and merging."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from made_files import Tensor, write_torch_zip
from safetensors.numpy import load_file

from videogen_cli.errors import WeightsError
from videogen_cli.models.t2v_turbo.params import component_params
from videogen_cli.models.t2v_turbo.weights import LORA_KEYS, VC2_KEYS, student_weights
from videogen_cli.registry import load_attr
from videogen_cli.weights import open_checkpoint
from videogen_cli.weights.lora import Layer, Lora, load_lora, merge, uniform_base
from videogen_cli.weights.tensor import from_array
from videogen_cli.weights.writer import save_safetensors

LAYERS = [Layer("a", (6, 5)), Layer("conv", (8, 2, 3, 3)), Layer("b", (7, 9))]
RNG = np.random.default_rng(1)
FACTORS = [RNG.standard_normal(shape, np.float32) for layer in LAYERS for shape in layer.factor_shapes(3)]


def _as_torch_list(folder: Path) -> Path:
    return write_torch_zip(folder / "l.pt", [Tensor(str(i), a) for i, a in enumerate(FACTORS)])


def _as_torch_dict(folder: Path) -> Path:
    return write_torch_zip(folder / "d.pt", {f"x{9 - i}": Tensor(str(i), a) for i, a in enumerate(FACTORS)})


def _as_npz(folder: Path) -> Path:
    np.savez(folder / "l.npz", *FACTORS)
    return folder / "l.npz"


def _as_pickled_list(folder: Path) -> Path:
    (folder / "l.ckpt").write_bytes(pickle.dumps(FACTORS))
    return folder / "l.ckpt"


def _as_old_pickled_list(folder: Path) -> Path:
    (folder / "l2.ckpt").write_bytes(pickle.dumps(FACTORS, protocol=2))
    return folder / "l2.ckpt"


def _as_new_pickled_list(folder: Path) -> Path:
    (folder / "l5.ckpt").write_bytes(pickle.dumps([np.asfortranarray(a).astype(">f4") for a in FACTORS], protocol=5))
    return folder / "l5.ckpt"


def _as_pickled_mindspore(folder: Path) -> Path:
    import mindspore as ms

    tensors = [ms.Tensor(a) if index % 2 else ms.Parameter(ms.Tensor(a)) for index, a in enumerate(FACTORS)]
    (folder / "m.ckpt").write_bytes(pickle.dumps(tensors))
    return folder / "m.ckpt"


def _as_pickled_older_mindspore(folder: Path) -> Path:
    """Write tensors as releases did whose state is a tuple of one array."""
    arrays = [pickle.dumps(a, protocol=2)[2:-1] for a in FACTORS]
    tensors = b"".join(b"cmindspore.common.tensor\nTensor\n)\x81" + a + b"\x85ba" for a in arrays)
    (folder / "m2.ckpt").write_bytes(b"\x80\x02]" + tensors + b".")
    return folder / "m2.ckpt"


FORMS = [
    _as_torch_list,
    _as_torch_dict,
    _as_npz,
    _as_pickled_list,
    _as_old_pickled_list,
    _as_new_pickled_list,
    _as_pickled_mindspore,
    _as_pickled_older_mindspore,
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reads_the_same(tmp_path: Path, form) -> None:
    lora = load_lora(form(tmp_path), LAYERS)
    assert lora.rank == 3
    assert list(lora.factors) == ["a", "conv", "b"]
    read = [factor.float32() for pair in lora.factors.values() for factor in pair]
    assert all(np.array_equal(a, b) for a, b in zip(read, FACTORS, strict=True))


def test_pickles_of_anything_else_are_refused(tmp_path: Path) -> None:
    import mindspore as ms

    texts = np.array(["text"])
    values = ({"a": 1}, [texts], [np.array([print])], [1, 2], [ms.Tensor(texts)], [ms.float32])
    for index, value in enumerate(values):
        path = tmp_path / f"{index}.ckpt"
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(WeightsError):
            load_lora(path, LAYERS)


def test_first_factor_that_does_not_fit_is_named(tmp_path: Path) -> None:
    swapped = [LAYERS[0], LAYERS[2], LAYERS[1]]
    with pytest.raises(WeightsError, match=r"l.pt: item 2 is \[8, 2, 1, 1\], but 'b.lora_up' needs \[7, 3\]"):
        load_lora(_as_torch_list(tmp_path), swapped)


def test_counts_must_agree(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds 6 tensors, the network needs 8"):
        load_lora(_as_torch_list(tmp_path), [*LAYERS, Layer("c", (3, 3))])
    with pytest.raises(WeightsError, match="holds 6 tensors, the network takes only 4"):
        load_lora(_as_torch_list(tmp_path), LAYERS[:2])


def test_named_factors_with_alpha_and_base(tmp_path: Path) -> None:
    names = [f"{layer.name}.lora_{part}" for layer in LAYERS for part in ("up", "down")]
    tensors = dict(zip(names, FACTORS, strict=True)) | {"b.weight": np.ones((7, 9), np.float32)}
    save_safetensors(tmp_path / "l.safetensors", dict(reversed(tensors.items())), {"rank": "3", "alpha": "0.5"})
    lora = load_lora(tmp_path / "l.safetensors", LAYERS)
    assert (lora.rank, lora.alpha, list(lora.base)) == (3, 0.5, ["b.weight"])
    assert list(lora.factors) == ["a", "conv", "b"]
    save_safetensors(tmp_path / "bad.safetensors", {**tensors, "z.lora_up": FACTORS[0]}, {})
    with pytest.raises(WeightsError, match=r"'z.lora_up' is no layer"):
        load_lora(tmp_path / "bad.safetensors", LAYERS)


def test_merge_adds_the_product(tmp_path: Path) -> None:
    weights = {f"{layer.name}.weight": RNG.standard_normal(layer.shape, np.float32) for layer in LAYERS}
    lora = load_lora(_as_torch_list(tmp_path), LAYERS)
    merged = merge({name: from_array(value) for name, value in weights.items()}, lora, scale=0.5)
    up, down = FACTORS[2], FACTORS[3]
    expected = weights["conv.weight"] + 0.5 * np.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
    assert np.allclose(merged["conv.weight"].numpy(), expected, atol=1e-6)
    with pytest.raises(WeightsError, match=r"'a.weight', which LoRA factors adapt, is not there"):
        merge({}, lora)


def test_missing_base_weight_is_drawn_once_for_all() -> None:
    up, down = from_array(np.zeros((4, 2), np.float32)), from_array(np.zeros((2, 256), np.float32))
    lora = Lora({"time_cond_proj": (up, down)}, rank=2)
    said: list[str] = []
    drawn = student_weights({}, lora, log=said.append)["time_cond_proj.weight"].numpy()
    assert len(said) == 1
    assert np.array_equal(drawn, uniform_base((4, 256), 1 / 16, 453645634).numpy())
    assert 0.05 < np.abs(drawn).max() <= 1 / 16
    given = np.full((4, 256), 0.25, np.float32)
    assert np.array_equal(student_weights({}, lora, time_cond_proj=given)["time_cond_proj.weight"].numpy(), given)
    saved = Lora(lora.factors, rank=2, base={"time_cond_proj.weight": from_array(given)})
    assert np.array_equal(student_weights({}, saved, log=said.append)["time_cond_proj.weight"].numpy(), given)
    assert len(said) == 1


def test_merged_weights_equal_the_original(golden_path) -> None:
    folder = golden_path("t2v-turbo/vc2-lora-merged")
    config = json.loads((folder / "case.json").read_text())["config"]
    tensors = load_file(folder / "io.safetensors")
    unet = load_attr("videogen_cli.nets.unet3d:UNet3D")  # skeleton or real, as the factors' layers are
    cells = {"unet": unet(component_params(config)["unet"])}
    base = open_checkpoint(folder / "../vc2-unet-teacher/weights.ckpt")
    account = VC2_KEYS.account(base.tensors, VC2_KEYS.targets(cells))
    assert account.ok
    teacher = {name.removeprefix("unet."): tensor for name, tensor in account.tensors.items()}
    lora = load_lora(folder / "unet_lora.pt", LORA_KEYS.targets(cells)["unet"])
    ours = [name.replace("temporal_conv", "temopral_conv") for name in lora.factors]
    assert ours == config["module_order"]
    merged = student_weights(teacher, lora, time_cond_proj=tensors["in.time_cond_proj_weight"])
    checked = 0
    for name, expected in tensors.items():
        if name.startswith("out.merged."):
            key = name.removeprefix("out.merged.").replace("temopral_conv", "temporal_conv")
            assert np.allclose(merged[key].numpy(), expected, rtol=1e-5, atol=1e-6)
            checked += 1
    assert checked
