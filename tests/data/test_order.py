import subprocess
import sys

import numpy as np
import pytest

from videogen_cli.data.order import batch_indices, rng


def test_known_stream_on_every_platform():
    assert rng(7, "noise", 3).integers(0, 1000, 4).tolist() == rng(7, "noise", 3).integers(0, 1000, 4).tolist()
    code = "from videogen_cli.data.order import rng; print(rng(7, 'noise', 3).integers(0, 1000, 4).tolist())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert other.strip() == str(rng(7, "noise", 3).integers(0, 1000, 4).tolist()) == "[446, 991, 941, 342]"


def test_keys_that_look_alike_differ():
    keys = [(1,), ("1",), (1, 2), (12,), ("a", "b"), ("ab",), (-1,), ("a", "b", ""), ()]
    assert len({rng(0, *key).integers(2**60) for key in keys}) == len(keys)
    assert rng(0, np.int32(5)).integers(2**60) == rng(0, 5).integers(2**60)
    with pytest.raises(TypeError):
        rng(0, 1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(("world", "batch", "size"), [(1, 1, 7), (2, 4, 64), (3, 5, 31), (4, 8, 5)])
def test_every_epoch_sees_every_sample_once(world, batch, size):
    steps = 6 * size // (world * batch) + 6
    dealt = np.concatenate(
        [batch_indices(3, step, rank, world, batch, size) for step in range(steps) for rank in range(world)]
    )
    epochs = [dealt[i : i + size] for i in range(0, len(dealt) - size + 1, size)]
    assert len(epochs) >= 3
    for epoch in epochs:
        assert sorted(epoch) == list(range(size))
    if size > 6:
        assert not np.array_equal(epochs[0], epochs[1])


def test_seed_changes_the_order():
    assert not np.array_equal(batch_indices(0, 0, 0, 1, 32, 100), batch_indices(1, 0, 0, 1, 32, 100))


@pytest.mark.parametrize("bad", [(0, 0, 1, 1, 1, 0), (0, 0, 1, 1, 1, 5), (0, 0, 0, 1, 0, 5)])
def test_impossible_batches_are_refused(bad):
    with pytest.raises(ValueError, match="no batch"):
        batch_indices(*bad)
