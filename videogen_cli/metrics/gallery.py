"""The report as one HTML page that needs nothing beside itself: figures, plots, and every video playing.

What a prompt says is shown and never run: texts are escaped, and the page's own rules allow no script but its own, no
request, and no image that is not in it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, log10
from typing import Any

from videogen_cli.metrics.html import Element, document, element
from videogen_cli.metrics.plots import COLOURS
from videogen_cli.metrics.video_quality import Measure
from videogen_cli.weights.store import assets_dir

ENDS = 12  # videos in the sections of the worst and of the best
PROMPT_LENGTH = 160  # letters shown of a prompt before it is opened
LONGEST = 20_000  # letters of a prompt on the page


@dataclass(frozen=True)
class Tile:
    """One video on the page. ``image`` is a data URI, empty where it could not be read; ``side`` its longer one."""

    file: str
    image: str = ""
    side: int = 0
    error: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None
    overall: float | None = None


@dataclass(frozen=True)
class Card:
    """What was made from one prompt and one seed: a tile per run, None where the run has none."""

    prompt: str
    seed: int | None
    tiles: Sequence[Tile | None]

    @property
    def overall(self) -> float:
        """Where the card belongs between the worst (0) and the best (1)."""
        known = [tile.overall for tile in self.tiles if tile and tile.overall is not None]
        return sum(known) / len(known) if known else 0.0


def page(
    report: Mapping[str, Any],
    measures: Sequence[Measure],
    cards: Sequence[Card],
    plots: Mapping[str, bytes],
) -> str:
    """Return the page of a report.

    Args:
        report: as written to ``report.json``.
        measures: those that any video has.
        cards: those to show; a report may be of more.
        plots: PNGs of measures, dark on white.
    """
    names = [run["name"] for run in report["runs"]]
    style, script = (
        (assets_dir() / "report" / f"gallery.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    title = "Videos of " + ", ".join(names)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style),
    )
    main = element("main", _summary(report, measures), _plots(measures, plots), _failures(report))
    main.extend(_gallery(report, measures, cards, names))
    main.append(_legend(report, measures))
    body = element("body", _header(report, title), main, element("script", script), data_ends=str(ENDS))
    body.set("style", f"--card: min(100%, {min(172 * len(names), 520)}px)" if len(names) > 1 else "--card: 164px")
    return document(element("html", head, body, lang="en"))


def _header(report: Mapping[str, Any], title: str) -> Element:
    runs = report["runs"]
    count, readable = (sum(run[key] for run in runs) for key in ("videos", "readable"))
    words = [f"{count} video{'s' * (count != 1)}"]
    words += [f"{count - readable} cannot be read"] if readable < count else []
    words += [f"{pairs['pairs']} pairs of one prompt and seed" for pairs in report["differences"][:1]]
    return element("header", element("h1", title), element("p.lede", " · ".join(words)))


def _summary(report: Mapping[str, Any], measures: Sequence[Measure]) -> Element:
    """Return the table of means: a row per measure, a column per run and per difference."""
    runs, differences = report["runs"], report["differences"]
    head = element("tr", element("th", "mean, 95% interval"))
    for number, run in enumerate(runs):
        head.append(element("th", _dot(number), run["name"], title=run["folder"]))
    head.extend(element("th", f"{pair['run']} − {pair['against']}") for pair in differences)
    explained = len(runs) == 1  # there is room for it
    head.append(element("th.help", "what it is")) if explained else None
    rows = []
    for measure in measures:
        cells = [_mean(run["scores"].get(measure.name), measure) for run in runs]
        cells += [_mean(pair["scores"].get(measure.name), measure, change=True) for pair in differences]
        cells += [element("td.help", measure.help)] * explained
        rows.append(element("tr", element("th", measure.label, title=measure.help), *cells))
        if measure.name == "adherence":
            rows += _adherence(runs, ["td"] * len(differences) + ["td.help"] * explained)
    table = element("table.summary", element("thead", head), element("tbody", *rows))
    return element("section", element("h2", "Summary"), element("div.scroll", table), id="summary")


def _adherence(runs: Sequence[Mapping[str, Any]], blanks: Sequence[str]) -> list[Element]:
    """Return the rows of trained and of held-out combinations, which nothing was trained on."""
    rows = []
    for name, label in (("trained", "… trained combinations"), ("held_out", "… held-out combinations")):
        found = [(run.get("adherence") or {}).get(name) or {} for run in runs]
        figures = [
            {"mean": one["accuracy"], "interval": one["interval"]} if one.get("videos") else None for one in found
        ]
        share = Measure(name, label, "", share=True)
        cells = [_mean(figure, share) for figure in figures] + [element(kind) for kind in blanks]
        rows.append(element("tr", element("th", label), *cells))
    return rows


def _mean(figure: Mapping[str, Any] | None, measure: Measure, change: bool = False) -> Element:
    if not figure:
        return element("td", "–")
    kind = "td"
    if change and figure["clear"]:
        kind += ".clear" + (f".{'gain' if figure['mean'] * measure.better > 0 else 'loss'}" if measure.better else "")
    mean, between = read_out(figure, measure, change)
    return element(kind, mean, element("span.interval", between))


def read_out(figure: Mapping[str, Any], measure: Measure, change: bool = False) -> tuple[str, str]:
    """Return a mean and its interval as people read them: shares in per cent, and digits as far as they are sure.

    Args:
        figure: ``{mean, interval}``.
        measure: what it is of.
        change: whether it is a difference, which gets its sign.
    """
    mean, interval = figure["mean"], figure["interval"]
    width = interval[1] - interval[0] if interval else 0.0
    digits = min(max(-floor(log10(width)), 3), 6) if width > 0 else 3
    form = f"{'+' if change else ''}.{'1%' if measure.share else f'{digits}f'}"
    return format(mean, form), " to ".join(format(bound, form) for bound in interval) if interval else ""


def _plots(measures: Sequence[Measure], plots: Mapping[str, bytes]) -> Element | None:
    if not plots:
        return None
    pictures = []
    for measure in measures:
        if measure.name in plots:
            source = f"data:image/png;base64,{base64.b64encode(plots[measure.name]).decode()}"
            pictures.append(element("div", element("img", src=source, alt=f"How {measure.label} is spread")))
    return element("section", element("h2", "Distributions"), element("div.strip", *pictures), id="plots")


def _failures(report: Mapping[str, Any]) -> Element | None:
    items = [
        element("li", element("b", f"{run['name']}/{failure['file']}"), f": {failure['reason']}")
        for run in report["runs"]
        for failure in run["failures"]
    ]
    if not items:
        return None
    listed = element("details", element("summary", "which, and why"), element("ul.failures", *items))
    return element("section", element("h2", f"Cannot be read: {len(items)}"), listed, id="failures")


def _gallery(
    report: Mapping[str, Any], measures: Sequence[Measure], cards: Sequence[Card], names: Sequence[str]
) -> list[Element]:
    """Return the tools and the three sections, filled as they are before anybody asks for another order."""
    ordered = sorted(cards, key=lambda card: card.overall)
    ends = min(ENDS, len(ordered) // 3)
    parts = ordered[:ends], ordered[len(ordered) - ends :][::-1], ordered[ends : len(ordered) - ends]
    sections = [_tools(measures, names)]
    for name, title, part in zip(("worst", "best", "rest"), ("Worst", "Best", "All others"), parts, strict=True):
        shown = [_card(card, measures, names) for card in part]
        note = f"{len(cards)} of {report['cards']} shown" if name == "rest" and report["cards"] > len(cards) else ""
        section = element("section", element("h2", title, element("small")), id=name)
        section.append(element("div.grid", *shown))
        if not part:
            section.set("hidden", "")
        if note:
            section.append(element("p.note", note))
        sections.append(section)
    return sections


def _tools(measures: Sequence[Measure], names: Sequence[str]) -> Element:
    choices = [_choice("overall|mean", "rank over all measures", "overall", 1)]
    for measure in measures:
        options = []
        for run, name in enumerate(names):
            label = measure.label if len(names) == 1 else f"{measure.label}, {name}"
            options.append(_choice(f"{measure.name}|{run}", label, measure.label, measure.better))
        for run, name in enumerate(names[1:], start=1):
            label = f"{measure.label}, {name} − {names[0]}"
            options.append(_choice(f"{measure.name}|{run}|0", label, measure.label, measure.better))
        choices += options if len(names) == 1 else [element("optgroup", *options, label=measure.label)]
    order = element("label", "Order by", element("select", *choices, id="order"))
    find = element("label", "Prompt", element("input", type="search", id="find", placeholder="contains …"))
    return element("div.tools", order, find)


def _choice(value: str, label: str, short: str, better: int) -> Element:
    return element("option", label, value=value, data_label=label, data_short=short, data_better=str(better))


def _card(card: Card, measures: Sequence[Measure], names: Sequence[str]) -> Element:
    shots = [_shot(tile, run, name) for run, (tile, name) in enumerate(zip(card.tiles, names, strict=True))]
    scores = {m.name: [_rounded(tile, m.name) for tile in card.tiles] for m in measures}
    scores["overall"] = [
        None if tile is None or tile.overall is None else round(tile.overall, 4) for tile in card.tiles
    ]
    files = dict.fromkeys(tile.file for tile in card.tiles if tile)
    words = [*([f"seed {card.seed}"] if card.seed is not None else []), *files]
    flags = [flag for run, tile in enumerate(card.tiles) if tile for flag in _flags(tile, run, len(names))]
    body = element(
        "div.body",
        _prompt(card.prompt),
        element("p.meta", " · ".join(words), title=" · ".join(words)),
        element("div.flags", *flags) if flags else None,
        _scores(card, measures),
    )
    return element("article.card", element("div.shots", *shots), body, data_scores=json.dumps(scores))


def _shot(tile: Tile | None, run: int, name: str) -> Element:
    if tile and tile.image:
        image = element("img.pixel" if tile.side <= 128 else "img", src=tile.image, alt=name, loading="lazy")
    else:
        image = element("div.none", "cannot be read" if tile else "not made")
    lead = "–" if tile is None or tile.overall is None else f"{tile.overall:.3f}"
    caption = element("figcaption", element("span.lead", lead), element("span.of", "overall"), title=name)
    return element("figure.shot", image, caption, style=f"--c: var(--run{run % len(COLOURS)})")


def _prompt(text: str) -> Element:
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} letters)"
    if len(text) <= PROMPT_LENGTH:
        return element("p.prompt", text or "(no prompt)", dir="auto")
    return element("details.prompt", element("summary", f"{text[:PROMPT_LENGTH]}…"), element("p", text), dir="auto")


def _flags(tile: Tile, run: int, runs: int) -> list[Element]:
    """Return what is to be said of a video in a word, with the run's colour where there are several."""
    found = []
    if tile.error:
        found.append(("bad", tile.error))
    if tile.verdict is not None and not tile.error:
        found += [("good", "shows its prompt")] if tile.verdict["correct"] else []
        reasons = tile.verdict["reasons"]
        found += [("bad", reason) for reason in reasons[:2]]
        found += [("bad", f"and {len(reasons) - 2} more")] if len(reasons) > 2 else []
    if tile.scores.get("constant"):
        found.append(("bad", "one colour"))
    if tile.scores.get("duplicates", 0) > 0:
        found.append(("bad", f"{tile.scores['duplicates']:.0%} duplicate frames"))
    return [element(f"span.flag.{kind}", _dot(run) if runs > 1 else None, text) for kind, text in found]


def _scores(card: Card, measures: Sequence[Measure]) -> Element | None:
    rows = []
    for measure in measures:
        values = [tile.scores.get(measure.name) if tile else None for tile in card.tiles]
        if any(value is not None for value in values):
            cells = [element("td", "–" if value is None else f"{value:.3f}") for value in values]
            rows.append(element("tr", element("th", measure.label), *cells))
    if not rows:
        return None
    return element("details", element("summary", "all scores"), element("table.scores", element("tbody", *rows)))


def _legend(report: Mapping[str, Any], measures: Sequence[Measure]) -> Element:
    terms: list[Element] = []
    for measure in measures:
        side = {1: "higher is better", -1: "lower is better", 0: "neither side is better"}[measure.better]
        terms += [element("dt", measure.label), element("dd", f"{measure.help} ({side})")]
    notes = [
        "Overall is the mean rank over the measures with a better side; videos of one colour, and those of Moving"
        " Shapes that do not show their prompt, come first.",
        "Intervals of means are by bootstrap over videos, of shares by Wilson's formula; differences are of videos with"
        " the same prompt and seed, coloured where the interval leaves out 0.",
        *(f"Not scored by {skipped['name']}: {skipped['reason']}" for skipped in report["skipped"]),
    ]
    paragraphs = [element("p.note", note) for note in notes]
    return element("footer", element("h2", "What the numbers mean"), element("dl", *terms), *paragraphs)


def _dot(run: int) -> Element:
    return element("span.dot", style=f"--c: var(--run{run % len(COLOURS)})")


def _rounded(tile: Tile | None, name: str) -> float | None:
    return round(tile.scores[name], 5) if tile and name in tile.scores else None
