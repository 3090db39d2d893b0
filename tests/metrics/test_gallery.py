"""The page: all there, nothing fetched, nothing run but its own script, whatever prompts say."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from videogen_cli.metrics.comparison import Run, Video, differences, summary
from videogen_cli.metrics.gallery import ENDS, LONGEST, Card, Tile, page, read_out
from videogen_cli.metrics.html import clean, document, element
from videogen_cli.metrics.plots import plot
from videogen_cli.metrics.previews import preview
from videogen_cli.metrics.video_quality import Measure

UP = Measure("up", "up & up", "higher <is> better")
SIDE = Measure("side", "side", "neither", better=0)
RIGHT = Measure("adherence", "adherence", "right", share=True)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></script></textarea><!-- <svg/onload=alert(1)>",
    "&lt;b&gt; & <b>bold</b> ]]>",
    "a\u202ereversed\x00\x07 \ud800 \U0001f600 字",
    "",
    "x" * 10_000,
    '{"json": [1, null]}',
]


class Page(HTMLParser):
    """What a browser would see: elements with attributes, and the text of each kind of element."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag] = self.texts.get(tag, "") + data

    def all(self, tag, kind=""):
        return [attrs for name, attrs in self.elements if name == tag and kind in attrs.get("class", "")]


def report_of(*runs, measures=(UP, SIDE, RIGHT)):
    figures = [
        {
            "name": run.name,
            "folder": run.folder,
            "videos": len(run.videos),
            "readable": sum(v.error is None for v in run.videos),
            "failures": [{"file": v.file, "prompt": v.prompt, "reason": v.error} for v in run.videos if v.error],
            "scores": summary([v.scores for v in run.videos], measures),
            "adherence": None,
        }
        for run in runs
    ]
    pairs = [differences(run, runs[0], measures) for run in runs[1:]]
    return {"runs": figures, "differences": pairs, "skipped": [], "cards": len(runs[0].videos)}


def one_run(prompts, name="run", shift=0.0):
    image = preview(np.zeros((2, 8, 8, 3), np.uint8))
    videos = [Video(f"{i}.mp4", p, i, scores={"up": i + shift, "side": -i}) for i, p in enumerate(prompts)]
    cards = [
        Card(v.prompt, v.seed, [Tile(v.file, image, 8, scores=v.scores, overall=i / 100)]) for i, v in enumerate(videos)
    ]
    return Run(name, name, videos), cards


def render(prompts, measures=(UP, SIDE)):
    run, cards = one_run(prompts)
    return page(report_of(run), measures, cards, {})


def test_hostile_prompts_are_shown_and_not_run():
    text = render(HOSTILE)
    text.encode("utf-8")
    seen = Page(text)
    assert len(seen.all("script")) == 1 and "alert" not in seen.texts["script"]
    assert len(seen.all("img")) == len(HOSTILE) and all(a["src"].startswith("data:") for a in seen.all("img"))
    assert not [attrs for _, attrs in seen.elements if any(name.startswith("on") for name in attrs)]
    for prompt in HOSTILE:
        assert clean(prompt) in seen.texts["article"]
    assert "\x00" not in text and "\ufffd" in text and "(no prompt)" in text


def test_the_page_needs_nothing_beside_itself():
    run, cards = one_run(["a", "b"])
    png = plot(UP, {"run": np.arange(3.0)}, {"run": {"mean": 1.0, "interval": None}})
    plots = {"up": png}
    text = page(report_of(run), (UP, SIDE), cards, plots)
    seen = Page(text)
    for _, attrs in seen.elements:
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            assert attrs.get(name, "data:").startswith("data:")
    assert "@import" not in text and "url(" not in text and "://" not in re.sub(r"data:[^\"]*", "", text)


def test_the_policy_allows_its_own_script_only():
    text = render(["a"])
    policy = next(a["content"] for a in Page(text).all("meta") if "http-equiv" in a)
    script = re.search(r"<script>(.*?)</script>", text, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")


def test_worst_best_and_the_others():
    text = render([f"prompt {i}" for i in range(50)])
    parts = {name: text.index(f'id="{name}"') for name in ("worst", "best", "rest")}
    assert parts["worst"] < parts["best"] < parts["rest"]
    where = [text.index(f">prompt {i}</p>") for i in range(50)]
    assert all(parts["worst"] < place < parts["best"] for place in where[:ENDS])
    assert all(parts["best"] < place < parts["rest"] for place in where[50 - ENDS :])
    assert where[49] < where[48] and all(place > parts["rest"] for place in where[ENDS : 50 - ENDS])


def test_cards_carry_what_the_script_sorts_by():
    seen = Page(render(["a", "b", "c"]))
    assert json.loads(seen.all("article")[0]["data-scores"]) == {"up": [0], "side": [0], "overall": [0.0]}
    options = {a["value"]: a["data-better"] for a in seen.all("option")}
    assert options == {"overall|mean": "1", "up|0": "1", "side|0": "0"}
    assert "up & up" in seen.texts["option"] and "higher <is> better" in seen.texts["td"]


def test_two_runs_stand_side_by_side():
    first, cards = one_run(["a", "b", "c", "d"])
    second, others = one_run(["a", "b", "c", "d"], "other <run>", 2.0)
    pairs = [Card(a.prompt, a.seed, [*a.tiles, *b.tiles]) for a, b in zip(cards, others, strict=True)]
    pairs[1] = Card("b", 1, [pairs[1].tiles[0], None])
    pairs[2] = Card("c", 2, [pairs[2].tiles[0], Tile("2.mp4", error="is <cut> short")])
    seen = Page(page(report_of(first, second), (UP, SIDE), pairs, {}))
    assert len(seen.all("figure", "shot")) == 8 and len(seen.all("img")) == 6
    assert "not made" in seen.texts["div"] and "is <cut> short" in seen.texts["div"]
    assert "+2.000" in seen.texts["td"] and len(seen.all("td", "gain")) == 1
    assert "up|1|0" in {a["value"] for a in seen.all("option")}
    assert "other <run> − run" in seen.texts["th"]


def test_failures_and_verdicts_are_told():
    run, cards = one_run(["a", "b"])
    run.videos.append(Video("<lost>.mp4", "c", error="no such file"))
    verdicts = [{"correct": True, "reasons": []}, {"correct": False, "reasons": ["colour is red, not blue", "x", "y"]}]
    cards = [
        Card(c.prompt, c.seed, [Tile("f", scores={"constant": 1.0, "duplicates": 0.25}, verdict=v)])
        for c, v in zip(cards, verdicts, strict=True)
    ]
    text = page(report_of(run), (UP,), cards, {})
    seen = Page(text)
    assert "run/<lost>.mp4: no such file" in seen.texts["li"]
    for words in ("shows its prompt", "colour is red, not blue", "and 1 more", "one colour", "25% duplicate frames"):
        assert words in seen.texts["span"]
    assert "1 cannot be read" in text


def test_a_prompt_has_an_end():
    seen = Page(render(["y" * 100_000]))
    assert LONGEST <= seen.texts["details"].count("y") < LONGEST + 500 and "100,000 letters" in seen.texts["details"]


@pytest.mark.parametrize(
    ("mean", "interval", "change", "share", "expected"),
    [
        (0.5, (0.4, 0.6), False, False, ("0.500", "0.400 to 0.600")),
        (0.00034, (0.0002, 0.0005), True, False, ("+0.0003", "+0.0002 to +0.0005")),
        (0.25, (0.2, 0.3), False, True, ("25.0%", "20.0% to 30.0%")),
        (-0.1, None, True, True, ("-10.0%", "")),
        (1.0, (1.0, 1.0), False, False, ("1.000", "1.000 to 1.000")),
    ],
)
def test_numbers(mean, interval, change, share, expected):
    assert read_out({"mean": mean, "interval": interval}, Measure("", "", "", share=share), change) == expected


def test_elements_escape_what_they_hold():
    node = element("p.one.two", "<&>", element("b", '"'), "tail & ", "more", None, title='"<&', data_x="1", for_="y")
    assert document(node).strip().splitlines()[1] == (
        '<p class="one two" title="&quot;<&amp;" data-x="1" for="y">&lt;&amp;&gt;<b>"</b>tail &amp; more</p>'
    )


def decode(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))


def test_small_previews_lose_nothing():
    frames = np.random.default_rng(0).integers(0, 256, (5, 24, 40, 3), dtype=np.uint8)
    image = decode(preview(frames, fps=4))
    assert image.n_frames == 5 and image.info["loop"] == 0
    for number, frame in enumerate(frames):
        image.seek(number)
        image.load()
        assert image.info["duration"] == 250 and np.array_equal(np.asarray(image.convert("RGB")), frame)


def test_large_previews_are_made_to_fit():
    frames = np.random.default_rng(0).integers(0, 256, (40, 200, 600, 3), dtype=np.uint8)
    uri = preview(frames, limit=30_000)
    image = decode(uri)
    assert len(uri) <= 30_000 * 4 / 3 + 40 and image.width <= 288 and image.width == 3 * image.height
    assert image.n_frames == 20 and preview(frames, limit=10).startswith("data:image/webp")


@pytest.mark.parametrize("share", [True, False])
def test_plots_are_pictures(share):
    name = "a$x_{$ very long name of a run \U0001f600" + "n" * 60
    values = {name: np.array([0.0, 1.0, 1.0]), "b": np.array([1.0])}
    figures = {name: {"mean": 2 / 3, "interval": [0.2, 0.9]}, "b": {"mean": 1.0, "interval": None}}
    picture = Image.open(io.BytesIO(plot(Measure("m", "m$", "", share=share), values, figures)))
    assert picture.width > 600 and (np.asarray(picture.convert("RGB"))[0, 0] == 255).all()
    assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50
