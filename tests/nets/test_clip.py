import numpy as np
from networks import ATOL, golden_network, run

from videogen_cli.nets.clip import CLIPText
from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.runtime.module import build, initialise

PARAMS = {"vocab_size": 512, "width": 24, "heads": 3, "layers": 4, "embed_dim": 20}


def test_penultimate_states(mode, golden, golden_path):
    _, given, expected = golden("t2v-turbo/vc2-text-encoder")
    file = golden_path("t2v-turbo/vc2-text-encoder") / "weights.ckpt"
    text = golden_network(CLIPText, CLIPTextParams(**PARAMS), file, "cond_stage_model.model.")
    np.testing.assert_allclose(run(text, given["tokens"]), expected["hidden"], rtol=0, atol=ATOL)


def test_the_last_block_runs_unless_skipped(pynative):
    ids = np.arange(10)[None]
    outputs = []
    for skip in (0, 1):
        text = build(CLIPText, CLIPTextParams(**PARAMS, skip_last=skip))
        initialise(text, seed=0)
        outputs.append(run(text, ids))
    assert outputs[0].shape == (1, 10, 24)
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3


def test_tokens_see_only_what_came_before(pynative):
    text = build(CLIPText, CLIPTextParams(**PARAMS))
    initialise(text, seed=0)
    ids = np.arange(10)[None]
    changed = ids.copy()
    changed[0, 6] = 99
    before, after = run(text, ids), run(text, changed)
    np.testing.assert_array_equal(before[:, :6], after[:, :6])
    assert np.abs(before[:, 6:] - after[:, 6:]).max() > 0
