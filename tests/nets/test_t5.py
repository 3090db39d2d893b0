import numpy as np
import pytest
from networks import ATOL, run

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.t5 import T5Params
from videogen_cli.nets.t5 import T5Encoder, relative_buckets
from videogen_cli.runtime.module import build, initialise, load
from videogen_cli.weights.readers import open_checkpoint

PARAMS = T5Params(vocab_size=20, width=12, head_dim=3, heads=2, mlp_width=16, layers=2, buckets=8, max_distance=6)
IDS = np.array([[3, 7, 9, 1, 0, 0], [4, 4, 5, 6, 7, 1]])
KEEP = (IDS > 0).astype(np.int64)


def made(**changes):
    cell = build(T5Encoder, T5Params(**{**vars(PARAMS), **changes}))
    initialise(cell, seed=1)
    return cell


def test_states_of_a_checkpoint(mode, golden, golden_path):
    _, given, expected = golden("opensora-plan/t5_v11_short")
    params = T5Params(vocab_size=64, width=24, head_dim=6, heads=4, mlp_width=40, layers=2)
    file = golden_path("opensora-plan/t5_v11_short") / "pytorch_model.bin"
    cell = build(T5Encoder, params)
    tensors = open_checkpoint(file).tensors
    load(cell, {name: tensors[name] for name in tensors if "embed_tokens" not in name}, where=str(file))
    found = run(cell, given["input_ids"], given["attention_mask"])
    np.testing.assert_allclose(found, expected["last_hidden_state"], rtol=0, atol=ATOL)


def test_buckets_share_ever_more_distances():
    places = relative_buckets(np.arange(-300, 301), 32, 128)
    assert places[300] == 0 and places[299] == 1 and places[301] == 17
    assert list(places[300 - 8 : 300][::-1]) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (places[: 300 - 128] == 15).all() and (places[300 + 128 :] == 31).all()
    assert (np.diff(places[301:]) >= 0).all() and set(places) == set(range(32)) - {16}


def test_padding_is_not_attended_to(pynative):
    cell = made()
    changed = np.where(KEEP, IDS, 13)
    a, b = run(cell, IDS, KEEP), run(cell, changed, KEEP)
    np.testing.assert_array_equal(a[KEEP > 0], b[KEEP > 0])
    assert np.abs(run(cell, IDS) - run(cell, changed))[KEEP > 0].max() > 1e-4


def test_a_row_of_nothing_but_padding_stays_finite(pynative):
    assert np.isfinite(run(made(), IDS, np.zeros_like(KEEP))).all()


def test_distance_is_all_that_positions_tell(pynative):
    cell = made()
    bias = run(lambda: cell.position_bias(20))[0]
    assert bias.shape == (2, 20, 20)
    for offset in (-19, -3, 0, 2, 19):
        assert np.ptp(np.diagonal(bias, offset, 1, 2), axis=1).max() == 0
    assert (bias[:, 0, 6] == bias[:, 0, 19]).all() and (bias[:, 0, 1] != bias[:, 1, 0]).all()


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "silu"])
@pytest.mark.parametrize("gated", [True, False])
def test_every_feed_forward(pynative, activation, gated):
    names = dict(made(activation=activation, gated=gated).parameters_and_names())
    prefix = "encoder.block.1.layer.1.DenseReluDense."
    inner = ["wi_0.weight", "wi_1.weight"] if gated else ["wi.weight"]
    assert [name.removeprefix(prefix) for name in names if name.startswith(prefix)] == [*inner, "wo.weight"]
    assert np.isfinite(run(made(activation=activation, gated=gated), IDS)).all()


@pytest.mark.parametrize(
    ("change", "where"),
    [({"buckets": 7}, "buckets"), ({"max_distance": 2}, "max_distance"), ({"activation": "mish"}, "activation")],
)
def test_params_of_no_network(change, where):
    with pytest.raises(UsageError) as caught:
        T5Params(**{**vars(PARAMS), **change}).check()
    assert caught.value.where == f"text.{where}"
