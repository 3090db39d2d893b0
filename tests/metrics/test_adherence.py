"""The judge of Moving Shapes: everything right passes, everything wrong fails."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from videogen_cli.data import moving_shapes as world
from videogen_cli.data.order import rng
from videogen_cli.data.parallel import ordered_map
from videogen_cli.data.video import read_video, write_video
from videogen_cli.errors import DataError
from videogen_cli.metrics.adherence import judge, label, parse_prompt, wilson
from videogen_cli.output import Output
from videogen_cli.runners.eval_adherence import AdherenceRequest, run


def frames_of(combination, seed=0, num_frames=8):
    return world.render(combination, rng(seed, "test", *vars(combination).values()), num_frames)


RED = world.Combination("red", "circle", "right")


@pytest.mark.parametrize("num_frames", [8, 16])
@pytest.mark.parametrize("combination", world.ALL, ids=lambda c: world.prompt(c)[2:].replace(" ", "-"))
def test_every_combination_passes(combination, num_frames):
    for seed in range(3):
        assert judge(frames_of(combination, seed, num_frames)).reasons(combination) == []


def test_files_pass_in_every_format(tmp_path):
    chosen = world.ALL[::5]
    for format in ("mp4", "gif"):

        def through_a_file(combination, format=format):
            path = write_video(tmp_path / f"{world.prompt(combination)}.{format}", frames_of(combination))
            return judge(read_video(path).frames).reasons(combination)

        assert list(ordered_map(through_a_file, chosen, 4)) == [[]] * len(chosen)


@pytest.mark.parametrize("combination", world.ALL[::7], ids=world.prompt)
def test_every_other_combination_fails(combination):
    verdict = judge(frames_of(combination))
    for other in world.ALL:
        differing = [name for name in vars(other) if getattr(other, name) != getattr(combination, name)]
        assert [reason.split()[0] for reason in verdict.reasons(other)] == differing


def test_imperfect_copies_pass():
    frames = frames_of(RED).astype(float)
    draw = np.random.default_rng(0)
    assert judge((frames * 0.75 + draw.normal(12, 10, frames.shape)).clip(0, 255).astype(np.uint8)).reasons(RED) == []
    blurred = (frames + np.roll(frames, 1, 1) + np.roll(frames, 1, 2)) / 3
    assert judge(blurred.astype(np.uint8)).reasons(RED) == []


def spoil(frames):
    """Return videos that nobody would accept, by a word of the reason."""
    black, noise = np.zeros_like(frames), np.random.default_rng(0).integers(0, 256, frames.shape, dtype=np.uint8)
    flicker, second, jump, mixed = frames.copy(), frames.copy(), frames.copy(), frames.copy()
    flicker[3] = 0
    second[5] = np.maximum(second[5], frames[5, ::-1, ::-1])
    jump[:6] = frames[0]
    mixed[4] = mixed[4, :, :, ::-1]
    flat = np.zeros_like(frames)
    flat[:, 28:36] = frames.max(axis=1)[:, None]
    yield "is empty", black
    yield "", noise
    yield "travels", np.repeat(frames[:1], len(frames), axis=0)
    yield "frame 3 is empty", flicker
    yield "more than one", second
    yield "jumps", jump
    yield "colour is unclear", mixed
    yield "direction is left", frames[::-1]
    yield "direction is down", frames.transpose(0, 2, 1, 3)
    yield "turns back", frames[[0, 1, 4, 2, 3, 5, 6, 7]]
    yield "no movement", frames[:1]
    yield "shape is unclear", flat
    yield "covers", np.full_like(frames, 255)
    yield "colour is", frames // 3 * 2 + np.array([0, 80, 80], np.uint8) * (frames[..., :1] > 0)


def test_spoilt_videos_fail_and_the_reason_is_named():
    for words, frames in spoil(frames_of(RED)):
        reasons = judge(frames).reasons(RED)
        assert reasons, words
        if words != "colour is":
            assert any(words in reason for reason in reasons), (words, reasons)


def test_a_triangle_must_point_up():
    triangle = world.Combination("cyan", "triangle", "left")
    assert judge(frames_of(triangle)[:, ::-1]).shape is None


@pytest.mark.parametrize("combination", world.ALL[::9])
@pytest.mark.parametrize("paraphrase", range(len(world.PARAPHRASES)))
def test_prompts_are_understood(combination, paraphrase):
    assert parse_prompt(world.prompt(combination, paraphrase)) == combination


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A RED circle drifts upwards.", world.Combination("red", "circle", "up")),
        ("a red circle", None),
        ("a red and blue circle moving up", None),
        ("a red circle moving left and right", None),
        ("a predated circle moving up", None),
        ("", None),
    ],
)
def test_prompts_of_other_worlds(prompt, expected):
    assert parse_prompt(prompt) == expected


def test_label_agrees_with_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    for density in (0.2, 0.45, 0.6):
        mask = np.random.default_rng(0).random((40, 50)) < density
        labels, sizes = label(mask)
        expected, count = ndimage.label(mask, np.ones((3, 3)))
        assert len(sizes) == count and sizes.sum() == mask.sum()
        assert len(np.unique(np.stack([labels[mask], expected[mask]]), axis=1).T) == count


def test_wilson_by_the_book():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(100, 100) == pytest.approx((0.9630, 1.0), abs=1e-4)


@pytest.fixture
def folder(tmp_path):
    """An output folder: two right videos, one with the wrong shape, one missing, one prompt of another world."""
    held = replace(RED, direction="left")
    square = replace(RED, shape="square")
    prompts = {"a.mp4": (RED, RED), "b.gif": (held, held), "c.npy": (RED, square), "e.png": (RED, RED)}
    lines = [{"file": "d.mp4", "prompt": world.prompt(RED)}, {"file": "a.mp4", "prompt": "a cat"}]
    for name, (shown, wanted) in prompts.items():
        write_video(tmp_path / name, frames_of(shown))
        lines.append({"file": name, "prompt": world.prompt(wanted, 2), "frames": 8})
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_the_report_of_a_folder(folder, capsys):
    report = run(AdherenceRequest(folder), Output(json=True))
    assert json.loads(capsys.readouterr().out) == report
    assert report["videos"] == 5 and report["not_judged"] == ["a cat"]
    assert (report["trained"]["videos"], report["trained"]["correct"]) == (4, 2)
    assert (report["held_out"]["videos"], report["held_out"]["correct"]) == (1, 1)
    assert report["trained"]["shape"] == 0.5 and report["trained"]["combinations"] == 2
    reasons = {failure["file"].rsplit("/", 1)[1]: failure["reasons"] for failure in report["failures"]}
    assert reasons["c.npy"] == ["shape is circle, not square"]
    assert "no such file" in reasons["d.mp4"] and reasons.keys() == {"c.npy", "d.mp4"}


def test_a_folder_with_a_csv(tmp_path):
    path = world.write_dataset(tmp_path / "set", 0, 24, held_out=True)
    report = run(AdherenceRequest(path.parent), Output())
    assert report["held_out"]["correct"] == 24 and report["failures"] == []


@pytest.mark.parametrize(
    ("listing", "words"),
    [("", "lists no videos"), ("{}\n", "line 1"), ("nonsense\n", "line 1"), ("[1]\n", "line 1"), (None, "neither")],
)
def test_lists_that_are_none(tmp_path, listing, words):
    if listing is not None:
        (tmp_path / "results.jsonl").write_text(listing)
    with pytest.raises(DataError, match=words):
        run(AdherenceRequest(tmp_path), Output())


def test_no_prompt_of_this_world(tmp_path):
    (tmp_path / "results.jsonl").write_text('{"file": "a.mp4", "prompt": "a cat"}\n')
    with pytest.raises(DataError, match="no prompt here"):
        run(AdherenceRequest(tmp_path), Output())


def test_the_command_needs_no_mindspore(folder):
    code = """import sys
from videogen_cli.cli.main import main
try:
    main(sys.argv[1:])
finally:
    assert 'mindspore' not in sys.modules"""
    command = [sys.executable, "-c", code, "eval", "adherence", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "held out" in done.stdout + done.stderr, done.stderr
