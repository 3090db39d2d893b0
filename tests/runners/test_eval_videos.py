"""The whole of ``vgen eval videos``: folders in, report, page and plots out; broken input named and survived."""

import json
import re

import numpy as np
import pytest
from vgen_process import run_vgen

from videogen_cli.data import moving_shapes as world
from videogen_cli.data.order import rng
from videogen_cli.data.video import write_video
from videogen_cli.errors import DataError, NetworkError, NonFiniteError, UsageError
from videogen_cli.metrics.comparison import Video
from videogen_cli.metrics.video_quality import Measure
from videogen_cli.output import Output
from videogen_cli.registry import ScorerSpec, spec
from videogen_cli.runners import video_report, video_scores
from videogen_cli.runners.eval_videos import VideosRequest, run
from videogen_cli.runners.plan import make_plan
from videogen_cli.runners.requests import Request

RED, HELD = world.ALL[1], world.HELD_OUT[3]


def clip_of(combination, seed=0):
    return world.render(combination, rng(seed, "test", *vars(combination).values()), 8)


def write_folder(folder, videos, **record):
    """Write videos (name, frames or bytes or None, prompt, seed) and the list of them."""
    lines = []
    for name, frames, prompt, seed in videos:
        if isinstance(frames, bytes):
            (folder / name).write_bytes(frames)
        elif frames is not None:
            write_video(folder / name, frames)
        lines.append({"file": name, "prompt": prompt, "seed": seed, "fps": 8, "frames": 8, **record})
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with all that can happen: right, wrong, one colour, doubled, broken, missing, and a hostile prompt."""
    folder = tmp_path_factory.mktemp("run")
    right, held = clip_of(RED), clip_of(HELD)
    red = np.zeros_like(right)
    red[..., 0] = 255
    return write_folder(
        folder,
        [
            ("right.mp4", right, world.prompt(RED), 0),
            ("held.gif", held, world.prompt(HELD), 1),
            ("wrong.npy", held, world.prompt(RED), 2),
            ("red.mp4", red, 'a <b>"red"</b> wall', 3),
            ("double.png", right[[0, 0, 1, 1, 2, 2, 3, 3]], "x" * 10_000, 4),
            ("broken.mp4", b"no video at all", world.prompt(RED), 5),
            ("gone.mp4", None, "\ud800 gone", 6),
        ],
    )


@pytest.fixture
def unplotted(monkeypatch):
    """Leave out the drawing of plots, which takes longer than all the rest."""
    monkeypatch.setattr(video_report, "plot", lambda *_: b"")


@pytest.fixture(scope="module")
def reported(made, tmp_path_factory):
    target = tmp_path_factory.mktemp("report")
    return run(VideosRequest([made], target), Output()), target


def test_every_video_is_there_with_its_scores(reported):
    report, _ = reported
    videos = {video["file"]: video for video in report["videos"]}
    assert len(videos) == 7
    assert videos["right.mp4"]["scores"]["adherence"] == 1 and videos["held.gif"]["verdict"]["held_out"]
    assert videos["wrong.npy"]["scores"]["adherence"] == 0 and videos["wrong.npy"]["verdict"]["reasons"]
    assert videos["red.mp4"]["scores"]["constant"] == 1 and videos["red.mp4"]["verdict"] is None
    assert videos["double.png"]["scores"]["duplicates"] == pytest.approx(4 / 7)
    assert videos["broken.mp4"]["error"] and videos["broken.mp4"]["scores"] == {"adherence": 0}
    assert "no such file" in videos["gone.mp4"]["error"] and videos["gone.mp4"]["prompt"] == "? gone"


def test_the_figures_of_the_run(reported):
    report, _ = reported
    (figures,) = report["runs"]
    assert (figures["videos"], figures["readable"]) == (7, 5)
    assert [failure["file"] for failure in figures["failures"]] == ["broken.mp4", "gone.mp4"]
    assert figures["adherence"]["trained"]["correct"] == 1 and figures["adherence"]["trained"]["videos"] == 3
    assert figures["adherence"]["held_out"]["correct"] == 1
    assert figures["scores"]["adherence"]["mean"] == 0.5 and figures["scores"]["constant"]["mean"] == 0.2
    for figure in figures["scores"].values():
        low, high = figure["interval"]
        assert low <= figure["mean"] <= high
    assert [measure["name"] for measure in report["measures"]][:3] == ["adherence", "consistency", "flicker"]


def test_the_files(reported):
    report, target = reported
    assert json.loads((target / "report.json").read_text()) == json.loads(json.dumps(report))
    page = (target / "report.html").read_text()
    assert page.count("<article") == 5 and page.count("data:image/webp") == 5
    assert "a &lt;b&gt;" in page and '<b>"red"' not in page and "x" * 10_000 in page
    plots = {path.stem for path in (target / "plots").glob("*.png")}
    assert plots == set(report["runs"][0]["scores"])
    assert not [path for path in target.rglob("*") if path.name.startswith(".")]


def test_json_lines(made, tmp_path):
    done = run_vgen("eval", "videos", str(made), "--json", "--output-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    *lines, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 7 and all(
        {"run", "file", "prompt", "seed", "error", "scores"} <= line.keys() for line in lines
    )
    assert last["summary"]["runs"][0]["readable"] == 5 and "videos" not in last["summary"]
    assert last["files"]["page"] == str(tmp_path / "report.html")


@pytest.mark.usefixtures("unplotted")
def test_people_read_a_table_and_what_failed(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(VideosRequest([made], cards=2), Output())
    said = capsys.readouterr()
    assert re.search(r"adherence +50\.0%", said.out) and "2 of 7 videos cannot be read" in said.err
    assert "broken.mp4" in said.err and "reports/videos" in said.err
    (page,) = tmp_path.glob("reports/videos/*/report.html")
    assert page.read_text().count("<article") == 2 and "2 of 5 shown" in page.read_text()


@pytest.mark.usefixtures("unplotted")
def test_runs_are_compared_pair_by_pair(tmp_path):
    combinations = world.TRAINED[:6]
    prompts = [world.prompt(c) for c in combinations]
    folders = []
    for name in ("teacher", "student"):
        clips = [clip_of(c, 7) for c in combinations]
        if name == "student":
            clips = [np.repeat(frames[::2], 2, 0) for frames in clips][::-1]
        order = list(enumerate(prompts))[:: -1 if name == "student" else 1]
        (tmp_path / name).mkdir()
        videos = [(f"{i}.mp4", frames, prompt, i) for frames, (i, prompt) in zip(clips, order, strict=True)]
        folders.append(write_folder(tmp_path / name, videos))
    report = run(VideosRequest(folders, tmp_path / "out"), Output())
    (pairs,) = report["differences"]
    assert (pairs["run"], pairs["against"], pairs["pairs"]) == ("student", "teacher", 6)
    assert pairs["scores"]["duplicates"]["mean"] == pytest.approx(4 / 7) and pairs["scores"]["duplicates"]["clear"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<article") == 6 and page.count("data:image/webp") == 12


@pytest.mark.usefixtures("unplotted")
def test_a_folder_with_a_csv_lists_lost_rows_as_failures(tmp_path):
    path = world.write_dataset(tmp_path / "set", 0, 4)
    with path.open("a") as table:
        table.write("clips/none.mp4,a red circle moving up\n")
    report = run(VideosRequest([path.parent], tmp_path / "out"), Output())
    assert report["runs"][0]["readable"] == 4 and report["runs"][0]["failures"][0]["file"] == "clips/none.mp4"
    assert report["runs"][0]["adherence"]["trained"]["correct"] == 4


def test_nothing_readable_is_an_error_of_data(tmp_path):
    write_folder(tmp_path, [("a.mp4", b"x", "a cat", 0), ("b.mp4", None, "a cat", 1)])
    done = run_vgen("eval", "videos", str(tmp_path), "--output-dir", str(tmp_path / "out"))
    assert done.returncode == 3 and "none of 2 videos can be read" in done.stderr and "a.mp4" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("listing", [None, "", "{}\n", "[" * 100_000])
def test_folders_without_videos(tmp_path, listing):
    if listing is not None:
        (tmp_path / "results.jsonl").write_text(listing)
    with pytest.raises(DataError):
        run(VideosRequest([tmp_path]), Output())


@pytest.mark.usefixtures("unplotted")
def test_names_that_are_no_files(tmp_path):
    frames = clip_of(RED)
    names = ["a\x00b.mp4", "n" * 300 + ".mp4", "..", "."]
    for name, shape in (("none.npy", (0, 8, 8, 3)), ("flat.npy", (3, 0, 8, 3))):
        np.save(tmp_path / name, np.zeros(shape, np.uint8))
        names.append(name)
    videos = [("ok.mp4", frames, "fine", 0), *((name, None, "odd", i) for i, name in enumerate(names))]
    report = run(VideosRequest([write_folder(tmp_path, videos)], tmp_path / "out"), Output())
    assert report["runs"][0]["readable"] == 1 and len(report["runs"][0]["failures"]) == len(names)


@pytest.mark.usefixtures("unplotted")
def test_the_folder_for_vbench(made, tmp_path):
    report = run(VideosRequest([made], tmp_path / "out", vbench=tmp_path / "vbench"), Output())
    names = sorted(path.name for path in (tmp_path / "vbench").iterdir())
    assert len(names) == report["runs"][0]["readable"] and f"{world.prompt(RED)}-1.mp4" in names
    assert len(json.loads((tmp_path / "vbench.prompts.json").read_text())) == 5
    with pytest.raises(UsageError, match="is there already"):
        run(VideosRequest([made], tmp_path / "out", vbench=tmp_path / "vbench"), Output())


# Scorers: a network is not needed to know what becomes of its scores.


class Loudness:
    """Scores a video by its mean level, and refuses those of under 8 frames."""

    measures = (Measure("level", "level", "mean level"),)

    def __init__(self):
        self.batches = []

    def score(self, videos, prompts):
        self.batches.append((videos.shape, list(prompts)))
        if videos.shape[1] < 8:
            raise UsageError("too short")
        return {"level": videos.mean((1, 2, 3, 4))}


@pytest.fixture
def loudness(monkeypatch, unplotted):
    scorer = Loudness()
    monkeypatch.setattr(video_scores, "_open", lambda *_: scorer)
    monkeypatch.setattr(video_scores, "_missing", lambda *_: "")
    return scorer


TINY = Request("t2v-turbo", preset="tiny")


def test_scores_join_the_report(made, tmp_path, loudness):
    report = run(VideosRequest([made], tmp_path, TINY, "hps"), Output())
    scores = {video["file"]: video["scores"].get("level") for video in report["videos"]}
    assert scores["red.mp4"] == pytest.approx(85, abs=1) and scores["broken.mp4"] is None
    assert report["runs"][0]["scores"]["level"]["videos"] == 5 and not report["skipped"]
    assert [measure["name"] for measure in report["measures"]][:2] == ["adherence", "level"]
    assert [shape for shape, _ in loudness.batches] == [(5, 8, 64, 64, 3)]
    assert loudness.batches[0][1][3] == 'a <b>"red"</b> wall'


def test_videos_are_scored_in_batches_of_one_size(tmp_path, loudness):
    sizes = [(8, 64)] * 9 + [(4, 64)] * 2 + [(8, 32)]
    videos = [(f"{i}.npy", np.full((f, s, s, 3), i, np.uint8), "p", i) for i, (f, s) in enumerate(sizes)]
    report = run(VideosRequest([write_folder(tmp_path, videos)], tmp_path / "out", TINY, "hps"), Output())
    assert [shape[:3] for shape, _ in loudness.batches] == [(8, 8, 64), (1, 8, 64), (2, 4, 64), (1, 8, 32)]
    assert report["skipped"] == [{"name": "hps", "reason": "2 of 12 videos: too short"}]
    assert [video["scores"].get("level") for video in report["videos"]] == [*range(9), None, None, 11]


def test_scores_that_are_no_numbers_stop_the_run(made, tmp_path, loudness, monkeypatch):
    monkeypatch.setattr(loudness, "score", lambda videos, prompts: {"level": np.full(len(videos), np.nan)})
    with pytest.raises(NonFiniteError, match="hps gave nan"):
        run(VideosRequest([made], tmp_path, TINY, "hps"), Output())


@pytest.mark.usefixtures("unplotted")
def test_a_scorer_without_weights_is_passed_over_in_one_line(made, tmp_path, capsys):
    request = VideosRequest([made], tmp_path, Request("t2v-turbo", preset="tiny", overrides=["weights.image_reward="]))
    report = run(VideosRequest([made], tmp_path, request.model, "hps,clip"), Output())
    said = [line for line in capsys.readouterr().err.splitlines() if "not scored by" in line]
    assert len(said) == 2 and "weights.image_reward" in said[0] and "vgen download t2v-turbo --name openclip" in said[1]
    assert [skipped["name"] for skipped in report["skipped"]] == ["hps", "clip"]
    assert "Not scored by clip" in (tmp_path / "report.html").read_text()


def test_a_hub_that_is_not_there_passes_the_scorer_over(made, monkeypatch, capsys):
    def cut(*_):
        raise NetworkError("cannot reach the hub", where="hub:x", hint="Try again.")

    monkeypatch.setattr(video_scores, "_open", cut)
    monkeypatch.setattr(video_scores, "_missing", lambda *_: "")
    plan = make_plan(TINY, Output())
    scored = video_scores.score_videos(plan, spec("t2v-turbo").scorers[:1], [], 30, 1, Output())
    assert scored.skipped == ({"name": "hps", "reason": "hub:x: cannot reach the hub. Try again."},)


def test_published_weights_are_missing_only_offline():
    hps = ScorerSpec("hps", "image_reward", "")
    online, offline = (
        make_plan(
            Request("t2v-turbo", preset="vc2", offline=flag, overrides=["weights.image_reward=hub:t2v-turbo/hps"]),
            Output(),
        )
        for flag in (False, True)
    )
    assert not video_scores._missing(online, hps) and video_scores._missing(offline, hps)


def test_choosing_scorers():
    model = spec("t2v-turbo")
    assert [one.name for one in video_scores.choose(model, "all")] == ["hps", "clip", "video-text"]
    assert [one.name for one in video_scores.choose(model, "video-text, hps,hps")] == ["video-text", "hps"]
    assert video_scores.choose(model, "none") == []
    with pytest.raises(UsageError, match="no scorer 'hsp'"):
        video_scores.choose(model, "hsp")
    with pytest.raises(UsageError, match="scorers of no model"):
        run(VideosRequest([], scorers="hps"), Output())


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--preset", "tiny"), "belong to a model"), (("--scorers", "x"), "no model"), (("--model", "t2v"), "no model")],
)
def test_usage_errors(made, options, words):
    done = run_vgen("eval", "videos", str(made), *options)
    assert done.returncode == 2 and words in done.stderr


def test_no_network_no_mindspore_and_no_plots_without_matplotlib(made, tmp_path):
    code = """import sys
sys.modules['matplotlib'] = None
from videogen_cli.cli.main import main
try:
    main(sys.argv[1:])
finally:
    assert 'mindspore' not in sys.modules"""
    import subprocess
    import sys

    command = [sys.executable, "-c", code, "eval", "videos", str(made), "--output-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "pip install 'vgen[report]'" in done.stderr, done.stderr
    assert (tmp_path / "report.html").exists() and not (tmp_path / "plots").exists()


def test_shown_videos_are_spread_over_the_order():
    from videogen_cli.runners.video_report import _spread

    rows = list(range(100))
    picked = _spread(rows, 20)
    assert len(picked) == 20 and picked[:5] == rows[:5] and picked[-5:] == rows[-5:] and picked == sorted(set(picked))
    assert _spread(rows, 200) == rows and _spread(rows, 1) == [0] and len(_spread(rows, 3)) == 3
    assert Video("a", "b").scores is not Video("a", "b").scores
