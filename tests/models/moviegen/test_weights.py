"""Upstream's checkpoints under every prefix and of both versions, there and back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from videogen_cli.errors import WeightsError
from videogen_cli.models.moviegen.params import component_params
from videogen_cli.models.moviegen.weights import LLAMA_KEYS, ZERO3_KEYS, resize_table
from videogen_cli.nets.moviegen import MovieGenTransformer, TextProjector
from videogen_cli.nets.params.moviegen import MovieGenParams
from videogen_cli.runtime.module import build
from videogen_cli.weights.readers import open_manifest
from videogen_cli.weights.tensor import from_array
from videogen_cli.weights.writer import save_mindspore_ckpt

TINY = MovieGenParams(
    in_channels=2, width=8, ffn_width=4, heads=2, kv_heads=2, layers=1, max_length=[3, 4, 4],
    ul2_dim=3, metaclip_dim=3, byt5_dim=3,
)  # fmt: skip


def targets(params):
    return LLAMA_KEYS.targets({"transformer": build(MovieGenTransformer, params)})


def checkpoint(prefix="network.model.", later=False):
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in targets(TINY).items():
        key = name.removeprefix("transformer.")
        if key.startswith("pos_embedding"):
            key = key.replace(".weight", ".embedding_table")
        values = rng.standard_normal(shape).astype(np.float32)
        is_final = key == "final_layer.scale_shift_table"
        tensors[prefix + key] = from_array(values[None] if later and is_final else values)
    return tensors


@pytest.mark.parametrize("prefix", ["network.model.", "network.network.model.", "model.", "network.", ""])
@pytest.mark.parametrize("later", [False, True])
def test_there_and_back(prefix, later):
    source = checkpoint(prefix, later)
    account = LLAMA_KEYS.account(source, targets(TINY))
    assert account.ok
    back = LLAMA_KEYS.export(account.tensors, account.metadata).tensors
    assert list(back) == list(source)
    for key, tensor in source.items():
        assert back[key].shape == tensor.shape
        np.testing.assert_array_equal(back[key].numpy(), tensor.numpy())


@pytest.mark.parametrize("prefix", ["", "text_projector.", "network.model.text_projector."])
def test_the_text_projection_alone_is_read_from_any_file_that_has_it(prefix):
    projector = build(TextProjector, TINY.text_projector)
    wanted = LLAMA_KEYS.targets({"text_projector": projector})
    arrays = {name: np.full(shape, index, np.float32) for index, (name, shape) in enumerate(wanted.items())}
    file = {name.replace("text_projector.", prefix): from_array(array) for name, array in arrays.items()}
    if prefix.startswith("network"):
        file |= {key: tensor for key, tensor in checkpoint().items() if key not in file}
    account = LLAMA_KEYS.account(file, wanted)
    assert account.ok
    assert account.used["text_projector.ul2_linear.weight"] == (f"{prefix}ul2_linear.weight",)
    for name, array in arrays.items():
        np.testing.assert_array_equal(account.tensors[name].numpy(), array)


def test_without_notes_an_export_is_the_first_versions():
    account = LLAMA_KEYS.account(checkpoint("", later=True), targets(TINY))
    back = LLAMA_KEYS.export(account.tensors).tensors
    assert back["network.model.final_layer.scale_shift_table"].shape == (2, 8)


def test_training_state_is_left_out():
    state = ("adam_m.network.model.layers.0.mlp.up_proj.weight", "ema.network.model.x", "epoch_num", "tae.conv.weight")
    account = LLAMA_KEYS.account({**checkpoint(), **{k: from_array(np.zeros(1)) for k in state}}, targets(TINY))
    assert account.ok
    assert set(account.ignored) == set(state)


def test_unknown_and_missing_keys_are_named():
    source = checkpoint()
    source["network.model.layers.0.mlp.up_projj.weight"] = source.pop("network.model.layers.0.mlp.up_proj.weight")
    account = LLAMA_KEYS.account(source, targets(TINY))
    assert account.missing == ["transformer.layers.0.mlp.up_proj.weight"]
    assert list(account.unexpected) == ["network.model.layers.0.mlp.up_projj.weight"]


def test_position_tables_follow_the_file_unless_asked_otherwise():
    source = checkpoint()
    unasked = LLAMA_KEYS.prepare({"transformer": replace(TINY, max_length=MovieGenParams().max_length)}, source)
    assert unasked["transformer"].max_length == [3, 4, 4]
    longer = replace(TINY, max_length=[5, 4, 2])
    assert LLAMA_KEYS.prepare({"transformer": longer}, source) == {"transformer": longer}
    account = LLAMA_KEYS.account(source, targets(longer))
    assert account.ok
    assert account.metadata["resized transformer.pos_embedding_table_t.weight"] == "3 to 5 rows"
    stored = source["network.model.pos_embedding_table_t.embedding_table"].numpy()
    ours = account.tensors["transformer.pos_embedding_table_t.weight"].numpy()
    np.testing.assert_allclose(ours[[0, 2, 4]], stored)
    np.testing.assert_allclose(ours[1], (stored[0] + stored[1]) / 2, rtol=1e-6)


def test_tables_of_another_width_do_not_fit():
    source = checkpoint()
    source["network.model.pos_embedding_table_t.embedding_table"] = from_array(np.zeros((5, 7), np.float32))
    assert len(LLAMA_KEYS.account(source, targets(TINY)).mismatched) == 1


@pytest.mark.parametrize(("stored", "wanted"), [(1, 4), (5, 5), (6, 2), (4, 1)])
def test_resizing_keeps_both_ends(stored, wanted):
    table = np.random.default_rng(1).standard_normal((stored, 3)).astype(np.float32)
    rows = resize_table(table, wanted)
    columns = [np.interp(np.linspace(0, stored - 1, wanted), np.arange(stored), column) for column in table.T]
    np.testing.assert_allclose(rows, np.stack(columns, 1), rtol=1e-6)
    assert rows.dtype == np.float32


def write_ranks(folder, *, split):
    parts = {"network.model.a": np.arange(8, dtype=np.float32).reshape(4, 2), "b": np.ones(3, np.float32)}
    (folder / "params_info").mkdir(parents=True)
    for rank in range(2):
        own = {"network.model.a": parts["network.model.a"][rank * 2 : rank * 2 + 2], "b": parts["b"]}
        (folder / f"rank_{rank}" / "ckpt").mkdir(parents=True)
        save_mindspore_ckpt(folder / f"rank_{rank}" / "ckpt" / "x.ckpt", {k: from_array(v) for k, v in own.items()})
        info = {"network.model.a": {"split": split[rank], "group_size": 2, "rank_id": rank}}
        (folder / "params_info" / f"params_split_info_{rank}.json").write_text(json.dumps(info))
    return parts


def test_rank_files_become_one(tmp_path):
    parts = write_ranks(tmp_path, split=(True, True))
    for source in (tmp_path, tmp_path / "rank_1" / "ckpt" / "x.ckpt"):
        opened = ZERO3_KEYS.open(source)
        assert len(opened.files) == 2
        account = ZERO3_KEYS.account(opened.tensors, {})
        assert account.ok
        assert {key: tensor.numpy().tolist() for key, tensor in account.tensors.items()} == {
            key: value.tolist() for key, value in parts.items()
        }
    assert LLAMA_KEYS.open(tmp_path).tensors["network.model.a"].shape == (4, 2)


def test_rank_files_that_contradict_each_other(tmp_path):
    write_ranks(tmp_path, split=(True, False))
    with pytest.raises(WeightsError, match=r"ranks disagree whether 'network.model.a' is split"):
        ZERO3_KEYS.open(tmp_path)


def test_rank_files_without_their_description(tmp_path):
    write_ranks(tmp_path, split=(True, True))
    (tmp_path / "params_info" / "params_split_info_1.json").unlink()
    with pytest.raises(WeightsError, match=r"there is no params_split_info_1.json"):
        ZERO3_KEYS.open(tmp_path)


def test_a_missing_rank(tmp_path):
    write_ranks(tmp_path, split=(True, True))
    (tmp_path / "rank_0" / "ckpt" / "x.ckpt").unlink()
    with pytest.raises(WeightsError, match=r"has the parts of ranks \[1\]"):
        ZERO3_KEYS.open(tmp_path)


def test_two_checkpoints_in_one_folder(tmp_path):
    write_ranks(tmp_path, split=(True, True))
    for rank in range(2):
        folder = tmp_path / f"rank_{rank}" / "ckpt"
        (folder / "y.ckpt").write_bytes((folder / "x.ckpt").read_bytes())
    with pytest.raises(WeightsError, match="rank files of 2 checkpoints"):
        ZERO3_KEYS.open(tmp_path)
    assert len(ZERO3_KEYS.open(tmp_path / "rank_0" / "ckpt" / "y.ckpt").tensors) == 2


@pytest.mark.parametrize("name", ["1B", "5B", "30B"])
@pytest.mark.parametrize("version", ["", ".later-upstream"])
def test_every_published_size(manifest_path, name, version):
    suffix = ".json.gz" if name == "30B" else ".json"
    manifest = open_manifest(manifest_path(f"moviegen/llama-{name}{version}{suffix}"))
    params = component_params(manifest.config)["transformer"]
    account = LLAMA_KEYS.account(manifest.tensors, targets(params))
    assert account.ok
    assert account.keys_used == len(manifest.tensors)
    assert not account.ignored
