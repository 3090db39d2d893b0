"""The scorers of ``vgen eval videos``: what they compute, and that a small one tells right prompts from wrong ones."""

import json

import numpy as np
import pytest
from vgen_process import run_vgen

from videogen_cli.data import moving_shapes as world
from videogen_cli.data.order import rng
from videogen_cli.data.video import write_video
from videogen_cli.metrics.video_quality import MEASURES
from videogen_cli.models.t2v_turbo.video_scores import feature_consistency
from videogen_cli.output import Output
from videogen_cli.registry import load_attr, model_names, spec
from videogen_cli.runners.eval_videos import ADHERENCE
from videogen_cli.runners.plan import make_plan
from videogen_cli.runners.requests import Request


def test_feature_consistency_by_the_book():
    features = np.random.default_rng(0).normal(size=(2, 4, 8))
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    for video, found in zip(features, feature_consistency(features), strict=True):
        total = 0.0
        for i in range(1, 4):
            total += (max(0.0, video[i] @ video[i - 1]) + max(0.0, video[i] @ video[0])) / 2
        assert found == pytest.approx(total / 3)
    assert feature_consistency(np.repeat(features[:, :1], 5, 1)) == pytest.approx([1, 1])


def test_scorers_are_declared_as_they_are():
    names = [measure.name for measure in (ADHERENCE, *MEASURES)]
    for model in map(spec, model_names()):
        for scorer in model.scorers:
            kind = load_attr(scorer.build)
            names += [measure.name for measure in kind.measures]
            assert scorer.component in [component.name for component in model.components]
            assert scorer.key in model.weight_names
    assert len(names) == len(set(names))


def test_the_small_scorers_tell_right_prompts_from_wrong_ones(tmp_path):
    shown = [world.TRAINED[i] for i in (0, 20, 40, 60)]
    lines = []
    for number, combination in enumerate(shown):
        frames = world.render(combination, rng(0, "test", number), 8)
        write_video(tmp_path / f"{number}.npy", frames)
        for asked in shown:
            lines.append({"file": f"{number}.npy", "prompt": world.prompt(asked), "seed": number})
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    weights = make_plan(Request("t2v-turbo", preset="tiny"), Output()).config.weights
    scorers = [scorer for scorer in spec("t2v-turbo").scorers if weights.get(scorer.key)]
    options = ("--model", "t2v-turbo", "--preset", "tiny", "--scorers", ",".join(s.name for s in scorers), "--offline")
    done = run_vgen("eval", "videos", str(tmp_path), *options, "--json", "--output-dir", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    *videos, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert last["summary"]["skipped"] == []
    assert "hps" in [scorer.name for scorer in scorers]
    for name in (load_attr(scorer.build).measures[0].name for scorer in scorers):
        scores = np.array([video["scores"][name] for video in videos]).reshape(4, 4)
        assert (scores.argmax(1) == np.arange(4)).all() and np.abs(scores).max() <= 1.001
    assert all(0.5 < video["scores"]["hps_consistency"] <= 1.001 for video in videos)
