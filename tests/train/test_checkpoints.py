"""Checkpoints appear whole, are verified, and give way to older ones when damaged."""

from __future__ import annotations

import errno
import os
import random

import numpy as np
import pytest

from videogen_cli.errors import DiskError, NonFiniteError, UsageError, WeightsError
from videogen_cli.train import checkpoints


def vectors(value):
    parts = {"unet": {"a.weight": np.full((2, 3), value, np.float32)}, "text": {"b": np.full(5, -value, np.float32)}}
    return dict.fromkeys(("weights", "first_moment", "second_moment", "average"), parts)


def save(folder, step, keep=3):
    state = {"step": step, "config_hash": "abc", "components": ["unet", "text"]}
    return checkpoints.save(folder, vectors(float(step)), state, keep=keep)


def test_what_is_read_is_what_was_written(tmp_path):
    saved = checkpoints.read(save(tmp_path, 3))
    assert saved.state["step"] == 3
    for name, parts in vectors(3.0).items():
        for component, tensors in parts.items():
            for key, array in tensors.items():
                np.testing.assert_array_equal(saved.vectors[name][component][key], array)


def test_last_few_are_kept_in_order_of_steps(tmp_path):
    for step in (8, 9, 10, 11):
        save(tmp_path, step, keep=2)
    assert [path.name for path in checkpoints.steps(tmp_path)] == ["step-10", "step-11"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-10", "step-11"]


def test_any_flipped_byte_is_noticed_and_the_older_one_used(tmp_path):
    good, bad = save(tmp_path, 1), save(tmp_path, 2)
    draws = random.Random(0)
    for path in sorted(bad.iterdir()):
        whole = path.read_bytes()
        for _ in range(20):
            place = draws.randrange(len(whole))
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << draws.randrange(8)]) + whole[place + 1 :])
            warnings: list[str] = []
            newest = checkpoints.latest(tmp_path, warnings.append)
            if path.name != checkpoints.MANIFEST or newest == good:  # a blank in the manifest may turn into a tab
                assert newest == good
                assert str(bad) in warnings[0]
        path.write_bytes(whole)
    assert checkpoints.latest(tmp_path, pytest.fail) == bad


@pytest.mark.parametrize("name", ["unet.safetensors", "state.json", "manifest.json", "optimizer.safetensors"])
def test_missing_and_short_files_are_noticed(tmp_path, name):
    good, bad = save(tmp_path, 1), save(tmp_path, 2)
    (bad / name).write_bytes((bad / name).read_bytes()[:-9])
    assert checkpoints.latest(tmp_path, lambda _: None) == good
    (bad / name).unlink()
    assert checkpoints.latest(tmp_path, lambda _: None) == good
    with pytest.raises(WeightsError, match="damaged"):
        checkpoints.find(bad, tmp_path, pytest.fail)


def test_nothing_to_resume_from(tmp_path):
    assert checkpoints.find("auto", tmp_path / "checkpoints", pytest.fail) is None
    with pytest.raises(UsageError, match="no checkpoint"):
        checkpoints.find(tmp_path, tmp_path / "checkpoints", pytest.fail)
    (save(tmp_path, 1) / "state.json").unlink()
    with pytest.raises(WeightsError, match="every checkpoint is damaged"):
        checkpoints.find("auto", tmp_path, lambda _: None)


def test_a_run_folder_and_a_checkpoint_can_be_named(tmp_path):
    path = save(tmp_path / "checkpoints", 4)
    assert checkpoints.find(tmp_path, tmp_path / "elsewhere", pytest.fail) == path
    assert checkpoints.find(path, tmp_path / "elsewhere", pytest.fail) == path
    assert checkpoints.find(str(path.parent), tmp_path / "elsewhere", pytest.fail) == path


@pytest.mark.parametrize("failing_write", range(0, 12, 2))
def test_a_full_disk_leaves_the_older_one_and_no_debris(tmp_path, monkeypatch, failing_write):
    good = save(tmp_path, 1)
    writes, real = [], os.fsync

    def full(descriptor):
        writes.append(descriptor)
        if len(writes) > failing_write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError):
        save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]
    assert checkpoints.latest(tmp_path, pytest.fail) == good


def test_non_finite_weights_are_never_saved(tmp_path):
    state = vectors(1.0)
    state["weights"] = {**state["weights"], "text": {"b": np.array([1, np.nan], np.float32)}}
    with pytest.raises(NonFiniteError, match=r"text\.b"):
        checkpoints.save(tmp_path, state, {"step": 1, "config_hash": "", "components": ["unet"]}, keep=1)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    save(tmp_path, 1)
    (tmp_path / ".step-2.0a1b.tmp").mkdir()
    (tmp_path / ".step-2.0a1b.tmp" / "unet.safetensors").write_bytes(b"half")
    checkpoints.clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]
