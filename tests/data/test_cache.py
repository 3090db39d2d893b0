import numpy as np

from videogen_cli.data.cache import cache_key, cached_array


def test_an_array_is_made_once_and_again_when_its_file_is_torn(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return np.arange(6, dtype=np.float32).reshape(2, 3)

    key = cache_key(a=1, b="x")
    first = np.array(cached_array("test", key, make, tmp_path))
    second = np.array(cached_array("test", key, make, tmp_path))
    assert len(calls) == 1 and np.array_equal(first, second)
    path = tmp_path / f"{key}.npy"
    path.write_bytes(path.read_bytes()[:-4])
    assert np.array_equal(cached_array("test", key, make, tmp_path), first) and len(calls) == 2


def test_keys_depend_on_every_part():
    assert cache_key(a=1) != cache_key(a=2) != cache_key(b=2)
