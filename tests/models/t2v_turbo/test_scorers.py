"""The shipped scorers tell right from wrong, and score falls as frames and motion get worse."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.data import degradations, moving_shapes
from videogen_cli.data.order import rng
from videogen_cli.errors import UsageError
from videogen_cli.registry import load_attr, resolve_config, spec
from videogen_cli.runtime import context

context.start(DeviceConfig(threads=2, compile_cache=False))

import mindspore as ms  # noqa: E402 (the device is started first)

from videogen_cli.models.t2v_turbo import rewards  # noqa: E402
from videogen_cli.models.t2v_turbo.scorers import ImageScorer, VideoScorer, image_tokenizer  # noqa: E402
from videogen_cli.runtime import module  # noqa: E402
from videogen_cli.weights.store import locate, open_component  # noqa: E402

MODEL = spec("t2v-turbo")
CONFIG = resolve_config(MODEL, preset="tiny").config
PROMPTS = [moving_shapes.prompt(combination) for combination in moving_shapes.ALL]
REWARDS = ("image_reward", "video_reward")


@pytest.fixture(scope="module", autouse=True)
def eager():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)  # compiling takes longer than all these tests compute
    yield
    ms.set_context(mode=before)


@pytest.fixture(scope="module")
def cells():
    loaded = {}
    for name in REWARDS:
        path = locate(f"asset:t2v-turbo/tiny/{name}.safetensors")
        loaded[name] = module.build(load_attr(MODEL.component(name).build), getattr(CONFIG, name))
        module.load(loaded[name], open_component(path, name, REWARDS), where=str(path))
    return loaded


@pytest.fixture(scope="module")
def images(cells):
    return ImageScorer(CONFIG, cells)


@pytest.fixture(scope="module")
def videos(cells):
    return VideoScorer(CONFIG, cells)


def clips(count, *, held_out=False, **only):
    """Return (frames float32 (f 3 h w), prompt) of clips that no training saw, of combinations with ``only``."""
    chosen, index = [], 0
    while len(chosen) < count:
        shown = moving_shapes.clip(77, index, held_out=held_out)
        if all(getattr(shown.combination, key) in values for key, values in only.items()):
            frames = shown.frames.transpose(0, 3, 1, 2).astype(np.float32) / 255
            chosen.append((frames, moving_shapes.prompt(shown.combination)))
        index += 1
    return chosen


def as_uint8(frames):
    return np.rint(frames * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def image_mean(images, chosen, change):
    middle = np.stack([as_uint8(change(frames[4:5]))[0] for frames, _ in chosen])
    texts = images.text_features([prompt for _, prompt in chosen])
    return float((images.image_features(middle) * texts).sum(1).mean())


def video_mean(videos, chosen, change):
    shown = np.stack([as_uint8(change(frames)) for frames, _ in chosen])
    return float(videos.scores(shown, [prompt for _, prompt in chosen]).mean())


def falls(scores, by=0.02):
    return all(before > after for before, after in pairwise(scores)) and scores[0] - scores[-1] > by


@pytest.mark.parametrize(("held_out", "least"), [(False, 0.99), (True, 0.95)])
def test_frames_find_their_captions(images, held_out, least):
    chosen = clips(72, held_out=held_out)
    scores = images.image_features(np.stack([as_uint8(f)[4] for f, _ in chosen])) @ images.text_features(PROMPTS).T
    found = [
        PROMPTS[best].split()[:3] == prompt.split()[:3]
        for best, (_, prompt) in zip(scores.argmax(1), chosen, strict=True)
    ]
    assert np.mean(found) >= least


@pytest.mark.parametrize(("held_out", "least"), [(False, 0.99), (True, 0.95)])
def test_videos_find_their_captions(videos, held_out, least):
    chosen = clips(72, held_out=held_out)
    features = videos.video_features(np.stack([as_uint8(frames) for frames, _ in chosen])).mean(1)
    best = (features @ videos.text_features(PROMPTS).T).argmax(1)
    assert np.mean([PROMPTS[number] == prompt for number, (_, prompt) in zip(best, chosen, strict=True)]) >= least


STRENGTHS = (0.0, 0.3, 0.6, 1.0)
LOOKS = {
    "rounded": (lambda frames, s: degradations.round_corners(frames, s, rng(0)) if s else frames, ("square",)),
    "blurred": (lambda frames, s: degradations.blur(frames, 4 * s), moving_shapes.SHAPES),
    "grey": (lambda frames, s: frames + s * (frames.max(1, keepdims=True) - frames) * 0.7, moving_shapes.SHAPES),
    "dark": (lambda frames, s: frames * (1 - 0.7 * s), moving_shapes.SHAPES),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", ["image", "video"])
def test_scores_fall_as_looks_get_worse(request, look, kind):
    change, shapes = LOOKS[look]
    colours = [colour for colour in moving_shapes.COLOURS if colour != "white" or look != "grey"]
    chosen = clips(24, shape=shapes, colour=colours)
    mean = {"image": image_mean, "video": video_mean}[kind]
    scorer = request.getfixturevalue(f"{kind}s")
    scores = [mean(scorer, chosen, lambda frames, s=s: change(frames, s)) for s in STRENGTHS]
    assert falls(scores), scores


def moved(frames, speed=1.0, aside=0.0):
    centres = degradations.centroids(frames)
    way = centres[-1] - centres[0]
    share = np.linspace(0, 1, len(frames))[:, None] - 0.5
    path = centres.mean(0) + share * (speed * way + aside * np.array([-way[1], way[0]]))
    return degradations.shift(frames, path - centres)


MOTIONS = {
    "slower, still": [{"speed": speed} for speed in (1.0, 0.4, 0.0)],
    "slower, backwards": [{"speed": speed} for speed in (1.0, 0.4, -1.0)],
    "drifting": [{"aside": aside} for aside in (0.0, 0.4, 0.8)],
}


@pytest.mark.parametrize("motion", MOTIONS)
def test_scores_of_videos_fall_as_motion_gets_worse(videos, motion):
    chosen = clips(24)
    scores = [video_mean(videos, chosen, lambda frames, way=way: moved(frames, **way)) for way in MOTIONS[motion]]
    assert falls(scores, by=0.1), scores


def test_scores_are_those_of_the_rewards(cells, images, videos):
    (frames, prompt), *_ = clips(1)
    pixels = ms.Tensor(as_uint8(frames).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    ids = ms.Tensor(image_tokenizer(CONFIG).encode([prompt]).astype(np.int32))
    expected = rewards.ImageScore(cells["image_reward"], 64)(pixels, ids).asnumpy()
    assert np.allclose(images.scores(as_uint8(frames), prompt), expected, atol=1e-5)
    score = rewards.VideoScore(cells["video_reward"], 64)
    ids, keep = (ms.Tensor(part.astype(np.int32)) for part in videos.tokenizer.encode([prompt]))
    corner = ms.Tensor(np.zeros(2, np.int32))
    each = [
        float(score(pixels[np.arange(start, 8, 2).tolist()].expand_dims(0), corner, ids, keep).asnumpy()[0])
        for start in (0, 1)
    ]
    assert np.isclose(videos.scores(as_uint8(frames)[None], [prompt])[0], np.mean(each), atol=1e-5)


def test_videos_may_be_of_any_size_but_not_too_short(images, videos):
    wide = np.zeros((12, 80, 144, 3), np.uint8)
    assert images.scores(wide, "a red circle").shape == (12,)
    assert videos.scores(wide[None], ["a red circle"]).shape == (1,)
    with pytest.raises(UsageError, match="3 frames are fewer than the 4"):
        videos.scores(wide[None, :3], ["a red circle"])


def test_a_tokenizer_with_more_ids_than_the_network_is_refused(cells):
    with pytest.raises(UsageError, match="49408 ids"):
        ImageScorer(replace(CONFIG, image_tokenizer="openclip"), cells)
