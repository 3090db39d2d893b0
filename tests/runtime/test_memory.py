"""How many inputs are taken at a time, and that it makes no difference to what comes out."""

import numpy as np
import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.runtime import memory
from videogen_cli.runtime.memory import NPU_BYTES, SHARE, activation_bytes, batch_that_fits, in_batches


def test_a_limit_counts_for_more_than_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "memory_bytes", lambda: (64 << 30, 8 << 30))
    assert activation_bytes(DeviceConfig(target="cpu")) == (8 << 30) // SHARE
    assert activation_bytes(DeviceConfig(target="cpu", memory_limit_gb=2)) == (2 << 30) // SHARE
    assert activation_bytes(DeviceConfig(target="ascend")) == NPU_BYTES // SHARE


@pytest.mark.parametrize(("room", "expected"), [(1600, 16), (1599, 8), (800, 8), (399, 2), (100, 1), (0, 1)])
def test_batches_are_halved_until_they_fit(room, expected):
    assert batch_that_fits(16, 100, room) == expected
    assert batch_that_fits(1, 100, room) == 1


@pytest.mark.parametrize(("size", "calls"), [(1, [1] * 5), (2, [2, 2, 2]), (4, [4, 4]), (5, [5]), (100, [5])])
def test_all_calls_have_one_shape_and_results_are_those_of_one_call(size, calls):
    inputs, seen = np.arange(15.0).reshape(5, 3), []

    def double(part):
        seen.append(len(part))
        return part * 2

    assert np.array_equal(in_batches(double, inputs, size), inputs * 2)
    assert seen == calls
