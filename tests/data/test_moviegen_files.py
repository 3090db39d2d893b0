"""Files of latents and text states: what is written is read back, what is broken is refused."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.data import latent_cache, text_embeddings
from videogen_cli.errors import DataError

RNG = np.random.default_rng(0)


def test_latents_there_and_back(tmp_path):
    encoded = RNG.standard_normal((2, 4, 3, 2, 5)).astype(np.float32)
    logvar = np.array([-100.0, 100.0], np.float32).reshape(2, 1, 1, 1, 1) + np.zeros_like(encoded)
    mean, std = latent_cache.moments(encoded, logvar)
    assert mean.shape == (2, 3, 4, 2, 5)
    np.testing.assert_allclose(std[:, 0, 0, 0, 0], np.exp([-15.0, 10.0]), rtol=1e-6)
    path = tmp_path / "part" / "clip.npz"
    latent_cache.write(path, mean[0], std[0])
    read = latent_cache.read(path)
    np.testing.assert_array_equal(read[0], mean[0])
    drawn = latent_cache.draw(*read, np.zeros_like(mean[0]), shift=0.5, scale=2.0)
    np.testing.assert_allclose(drawn, (mean[0] - 0.5) * 2, rtol=1e-6)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"latent_mean": np.zeros((1, 2, 3, 4), np.float32)},
        {"latent_mean": np.zeros((1, 2, 3, 4), np.float32), "latent_std": np.zeros((1, 2, 3, 5), np.float32)},
        {"latent_mean": np.zeros((2, 3, 4), np.float32), "latent_std": np.zeros((2, 3, 4), np.float32)},
        {"latent_mean": np.array([{}], object), "latent_std": np.array([{}], object)},
    ],
)
def test_other_files_are_refused(tmp_path, arrays):
    path = tmp_path / "clip.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"clip\.npz"):
        latent_cache.read(path)
    with pytest.raises(DataError, match="is no file of text states"):
        text_embeddings.read(path)


def test_text_states_there_and_back(tmp_path):
    states = text_embeddings.TextStates(RNG.standard_normal((5, 3)), np.array([1, 1, 0, 0, 0]), np.arange(5))
    text_embeddings.write(tmp_path / "a" / "x.npz", states)
    read = text_embeddings.read(tmp_path / "a" / "x.npz")
    np.testing.assert_allclose(read.states, states.states, rtol=1e-6)
    assert read.tokens.tolist() == list(range(5))
    text_embeddings.write(tmp_path / "y.npz", text_embeddings.TextStates(states.states, np.ones(4), np.arange(5)))
    with pytest.raises(DataError, match="must hold states"):
        text_embeddings.read(tmp_path / "y.npz")


def test_names_of_a_text_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a  cat\n\nat 1/2 speed. Slowly\nfirst\u2028second\n", encoding="utf-8")
    names = [name for name, _ in text_embeddings.caption_files(path)]
    assert names == ["000-a--cat.npz", "001-.npz", "002-2-speed.npz", "003-first\u2028second.npz"]


@pytest.mark.parametrize("video", ["../up.mp4", "/etc/x.mp4", ""])
def test_names_stay_inside_the_folder(tmp_path, video):
    path = tmp_path / "prompts.csv"
    path.write_text(f"video,caption\n{video},a cat\n", encoding="utf-8")
    with pytest.raises(DataError, match="no path inside the folder"):
        text_embeddings.caption_files(path)


def test_a_table_needs_its_columns(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text("vidoe,caption\nx.mp4,a cat\n", encoding="utf-8")
    with pytest.raises(DataError, match="Did you mean vidoe"):
        text_embeddings.caption_files(path)
    assert text_embeddings.caption_files(path, ("vidoe", "caption")) == [("x.npz", "a cat")]
