"""Plots of a measure: how its values are spread in each run, and each run's mean with its 95% interval."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from videogen_cli.metrics.video_quality import Measure

COLOURS = ("#3b82f6", "#f97316", "#10b981", "#a855f7", "#ef4444", "#eab308")  # of runs in turn
BINS = 24
SIZE = (3.7, 2.7)  # inches
_INK = "#334155"  # of text and axes
_NAME_LENGTH = 32  # letters of a run's name that are shown


def plot(measure: Measure, runs: Mapping[str, np.ndarray], figures: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return a PNG with the histogram of a measure and, below it, the means of runs with their intervals.

    Args:
        measure: what is shown; of a share only the mean is.
        runs: the values (n,) of each run by its name.
        figures: ``{run: {mean, interval, ...}}``, as of :func:`videogen_cli.metrics.comparison.summary`.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    settings: dict[Any, Any] = dict.fromkeys(inked, _INK)
    settings |= {"text.parse_math": False, "font.size": 9, "axes.linewidth": 0.6}
    with rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that the font has not
        strip = 0.25 + 0.2 * len(runs)  # inches
        figure = Figure(figsize=(SIZE[0], SIZE[1] + strip), layout="constrained")
        if measure.share:
            means = figure.subplots()
            _bars(means, list(runs), figures)
        else:
            spread, means = figure.subplots(2, 1, sharex=True, height_ratios=(SIZE[1] - 0.5, strip))
            _histogram(spread, list(runs.values()))
            _means(means, list(runs), figures)
        figure.suptitle(measure.label, x=0.02, ha="left", fontsize=10, fontweight="bold")
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def _histogram(axes: Any, values: Sequence[np.ndarray]) -> None:
    """Draw the runs' histograms over each other, with the same bins."""
    everything = np.concatenate(list(values))
    low, high = float(everything.min()), float(everything.max())
    if high - low < 1e-9:  # all the same: one bar in the middle
        low, high = low - 0.05, high + 0.05
    bins = np.linspace(low, high, BINS + 1)
    for number, series in enumerate(values):
        colour = COLOURS[number % len(COLOURS)]
        weights = np.full(len(series), 1 / max(len(series), 1))  # runs of different sizes are comparable as shares
        axes.hist(series, bins, weights=weights, histtype="stepfilled", color=colour, alpha=0.3)
        axes.hist(series, bins, weights=weights, histtype="step", color=colour, linewidth=1.3)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_ylabel("of the videos")
    axes.locator_params(axis="y", nbins=5)
    axes.tick_params(labelbottom=False)


def _means(axes: Any, names: Sequence[str], figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw a point per run at its mean, and a bar over its interval."""
    for number, name in enumerate(names):
        figure, colour = figures[name], COLOURS[number % len(COLOURS)]
        low, high = figure["interval"] or (figure["mean"], figure["mean"])
        axes.plot((low, high), (number, number), color=colour, linewidth=4, alpha=0.45, solid_capstyle="round")
        axes.plot(figure["mean"], number, "o", color=colour, markersize=6)
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.locator_params(axis="x", nbins=6)
    axes.grid(axis="x", linewidth=0.4, alpha=0.4)


def _bars(axes: Any, names: Sequence[str], figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw a bar per run as high as its share, and a line over its interval."""
    for number, name in enumerate(names):
        figure, colour = figures[name], COLOURS[number % len(COLOURS)]
        axes.bar(
            number,
            figure["mean"],
            0.55 if len(names) > 1 else 0.3,
            color=colour,
            alpha=0.3,
            edgecolor=colour,
            linewidth=1.3,
        )
        if figure["interval"]:
            axes.vlines(number, *figure["interval"], color=colour, linewidth=4, alpha=0.7)
    axes.set_xticks(range(len(names)), [_short(name) for name in names])
    axes.set_xlim(-0.8, len(names) - 0.2)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_ylabel("of the videos")
    axes.grid(axis="y", linewidth=0.4, alpha=0.4)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"...{name[3 - _NAME_LENGTH :]}"
