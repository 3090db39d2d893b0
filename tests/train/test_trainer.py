"""The loop's manners: what it writes, skips, refuses, and how it stops."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train.tiny import Quiet, TinyObjective, trainer
from videogen_cli.errors import NonFiniteError, UsageError
from videogen_cli.train import checkpoints
from videogen_cli.train.metrics import read
from videogen_cli.train.objective import Trainable


def test_it_learns_and_leaves_everything_behind(tmp_path):
    run = trainer(tmp_path, max_steps=150, checkpoint_every=60, preview_every=50, validate_every=50, learning_rate=0.05)
    summary = run.run()
    lines = read(tmp_path / "metrics.jsonl")
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) == summary.steps == 150
    assert np.mean(losses[-10:]) < 0.25 * np.mean(losses[:10])
    assert summary.checkpoint == tmp_path / "checkpoints" / "step-150"
    assert next(line["files"] for line in lines if line["kind"] == "preview") == ["previews/step-50.txt"]
    assert (tmp_path / "previews" / "step-150.txt").exists()
    assert len([line for line in lines if line["kind"] == "validation"]) == 3


def test_a_bad_batch_is_named_and_skipped(tmp_path):
    output = Quiet()
    summary = trainer(tmp_path, TinyObjective(bad_steps=(3, 4)), output).run()
    skipped = [line for line in read(tmp_path / "metrics.jsonl") if line["kind"] == "skipped"]
    assert summary.skipped == 2 and [line["step"] for line in skipped] == [4, 5]
    assert skipped[0]["samples"] == [f"clip-3-0-{k}" for k in range(4)]
    assert any("step 4" in line and "clip-3-0-0" in line for line in output.lines)
    saved = checkpoints.read(summary.checkpoint)
    assert saved.state["updates"] == 10
    assert all(np.isfinite(a).all() for parts in saved.vectors.values() for a in parts["net"].values())


def test_too_many_bad_steps_in_a_row_stop_the_run(tmp_path):
    objective = TinyObjective(bad_steps=range(5, 100))
    with pytest.raises(NonFiniteError, match=r"step 8: .*clip-7-0-3") as stopped:
        trainer(tmp_path, objective, max_non_finite=3).run()
    assert stopped.value.code == 7
    assert all(np.isfinite(p.asnumpy()).all() for p in objective.net.get_parameters())


def test_fp16_scale_recovers_from_an_overflow(tmp_path):
    summary = trainer(tmp_path, TinyObjective(bad_steps=(1,)), dtype="fp16").run()
    scales = [line["loss_scale"] for line in read(tmp_path / "metrics.jsonl")]
    assert scales == [2.0**16] * 2 + [2.0**15] * 10
    assert summary.skipped == 1


def test_only_named_parameters_are_trained(tmp_path):
    objective = TinyObjective()
    objective.trainable = {"net": Trainable(objective.net, lambda name: name == "bias")}
    before = {name: p.asnumpy().copy() for name, p in objective.net.parameters_and_names()}
    saved = checkpoints.read(trainer(tmp_path, objective).run().checkpoint)
    assert list(saved.vectors["weights"]["net"]) == ["bias"]
    changed = [n for n, p in objective.net.parameters_and_names() if not np.array_equal(p.asnumpy(), before[n])]
    assert changed == ["bias"]


def test_another_config_is_refused_and_a_harmless_change_is_not(tmp_path):
    trainer(tmp_path, run_config={"stage": "base"}).run()
    with pytest.raises(UsageError, match=r"stage: 'base' then, 'vae' now; train\.weight_decay: 0\.01 then, 0\.5 now"):
        trainer(tmp_path, run_config={"stage": "vae"}, weight_decay=0.5).run("auto")
    more = trainer(tmp_path, run_config={"stage": "base"}, max_steps=14, log_every=2, checkpoint_every=3).run("auto")
    assert more.steps == 14
    lines = [line["step"] for line in read(tmp_path / "metrics.jsonl")]
    assert lines == [*range(1, 13), 14]


def test_a_finished_run_has_nothing_more_to_do(tmp_path):
    first = trainer(tmp_path).run()
    again = trainer(tmp_path).run("auto")
    assert (again.steps, again.checkpoint) == (first.steps, first.checkpoint)


def test_batches_are_asked_for_in_order_once(tmp_path):
    objective = TinyObjective()
    trainer(tmp_path, objective, max_steps=3, accumulation=2).run()
    assert objective.seen == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


def test_ranks_meet_in_the_gradient(tmp_path):
    """Two equal ranks, played by a reduction that doubles, train as one does."""
    from videogen_cli.train.parallel import Ranks

    one = trainer(tmp_path / "one")
    two = trainer(tmp_path / "two")
    two.ranks = Ranks(0, 2, lambda tensor: tensor * 2)
    ends = [checkpoints.read(run.run().checkpoint).vectors["weights"]["net"] for run in (one, two)]
    for name, array in ends[0].items():
        np.testing.assert_array_equal(array, ends[1][name])
