import numpy as np
import pytest

from videogen_cli.errors import WeightsError
from videogen_cli.weights.finite import is_finite, require_finite
from videogen_cli.weights.tensor import from_array


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_one_bad_number_is_found(dtype, bad):
    numbers = np.random.default_rng(0).standard_normal((300, 70)).astype(np.float32)
    stored = (
        (lambda a: (a.view(np.uint32) >> 16).astype(np.uint16)) if dtype == "bfloat16" else lambda a: a.astype(dtype)
    )
    assert is_finite(stored(numbers), dtype)
    assert is_finite(stored(numbers).T, dtype)
    numbers[299, 69] = bad
    assert not is_finite(stored(numbers), dtype)
    assert not is_finite(stored(numbers)[::-1, 1::2], dtype)


def test_large_numbers_are_finite_though_their_sum_is_not():
    assert is_finite(np.full(100, 3e38, np.float32), "float32")
    assert is_finite(np.array([1, 2]), "int64")


def test_integers_are_no_weights():
    with pytest.raises(WeightsError, match=r"model.ckpt.*'a.w' is int64"):
        require_finite({"a.w": from_array(np.ones(3, np.int64))}, "model.ckpt")


def test_the_key_and_the_file_are_named():
    tensors = require_finite({"a.w": from_array(np.ones(3)), "b.w": from_array(np.array([1, np.nan]))}, "model.ckpt")
    assert tensors["a.w"].numpy().tolist() == [1, 1, 1]
    with pytest.raises(WeightsError, match=r"model.ckpt.*'b.w' holds NaN"):
        tensors["b.w"].numpy()
    for read in (lambda t: t.float32(), lambda t: list(t.chunks(8))):
        assert np.array_equal(np.ravel(read(tensors["a.w"])), [1, 1, 1])
        with pytest.raises(WeightsError, match="holds NaN"):
            read(tensors["b.w"])
