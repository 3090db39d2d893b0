"""Results of benchmarks in a JSON file, as lines of text, as tables in docs/performance.md and as a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cases import PEAK
from harness import SIDES

WHOLE = ("models", "turbo")  # suites whose cases take memory worth telling
HEADING = f"{'':44s}{'vgen ms':>10s}{'torch ms':>10s}{'ratio':>7s}{'of peak':>13s}{'memory':>8s}{'error':>9s}"


class Results:
    """All rows ever measured, by whether vgen's kernels were on: a new one replaces that of the same case."""

    def __init__(self, file: Path) -> None:
        self.file = file
        kept = json.loads(file.read_text()) if file.exists() else {}
        self.runs: dict[str, Any] = kept.get("runs", {})
        self.library: list[dict[str, Any]] = kept.get("library", [])

    def describe(self, kernels: str, machine: dict[str, Any]) -> None:
        """Note what the following rows are measured on."""
        self.runs.setdefault(kernels, {"rows": []})["machine"] = machine

    def add(self, kernels: str, row: dict[str, Any]) -> None:
        """Keep a row, in the file too."""
        rows = self.runs[kernels]["rows"]
        places = [place for place, old in enumerate(rows) if _key(old) == _key(row)]
        place = places[0] if places else len(rows)
        rows[place : place + 1] = [row]
        self.failures(kernels)[:] = [old for old in self.failures(kernels) if _key(old) != _key(row)]
        self._save()

    def add_failure(self, kernels: str, case: dict[str, str], reason: str) -> None:
        """Keep why a case (suite, name, phase, what) was not measured, unless it once was."""
        if _key(case) not in map(_key, self.rows(kernels)):
            others = [old for old in self.failures(kernels) if _key(old) != _key(case)]
            self.runs[kernels]["failures"] = [*others, {**case, "reason": reason}]
            self._save()

    def failures(self, kernels: str) -> list[dict[str, str]]:
        """Return the cases that were tried and not measured, each with its reason."""
        return self.runs.get(kernels, {}).setdefault("failures", [])

    def add_library(self, row: dict[str, Any]) -> None:
        """Keep a comparison of a peer with a library's module, in the file too."""
        self.library[:] = [old for old in self.library if old["what"] != row["what"]] + [row]
        self._save()

    def _save(self) -> None:
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(json.dumps({"runs": self.runs, "library": self.library}, indent=1) + "\n")

    def rows(self, kernels: str) -> list[dict[str, Any]]:
        """Return all rows with kernels ("on") or without ("off")."""
        return self.runs.get(kernels, {"rows": []})["rows"]

    def peak(self, kernels: str) -> float:
        """Return the most FLOP/s that either side reached in the products that stand for the machine's peak, or 0."""
        rows = [row for row in self.rows(kernels) if row["name"].startswith(PEAK)]
        return max((row["flops"] / row[side]["least"] for row in rows for side in SIDES), default=0.0)


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    return row["suite"], row["name"], row["phase"]


def ratio(row: dict[str, Any]) -> float:
    """Return vgen's time over PyTorch's."""
    return row["vgen"]["median"] / row["torch"]["median"]


def memory(row: dict[str, Any]) -> float:
    """Return vgen's peak memory over PyTorch's."""
    return row["vgen"]["peak_mb"] / row["torch"]["peak_mb"]


def shares(row: dict[str, Any], peak: float) -> str:
    """Return which percentage of the machine's peak each side reaches."""
    if not peak or not row["flops"]:
        return "-"
    return " / ".join(f"{100 * row['flops'] / row[side]['median'] / peak:.0f}" for side in SIDES)


def spread(times: dict[str, Any]) -> str:
    """Return a median with the least and most, in ms."""
    return f"{1e3 * times['median']:.4g} ({1e3 * times['least']:.4g}-{1e3 * times['most']:.4g})"


def line(row: dict[str, Any], peak: float) -> str:
    """Return a row as text."""
    label = f"{row['phase']:8s}{row['name']}"
    times = "".join(f"{1e3 * row[side]['median']:10.4g}" for side in SIDES)
    beyond = f"{memory(row):8.2f}" if row["suite"] in WHOLE else f"{'':8s}"
    return f"{label:44s}{times}{ratio(row):7.2f}{shares(row, peak):>13s}{beyond}{row['error']:9.0e}"


def library_line(row: dict[str, Any]) -> str:
    """Return a comparison of a peer with a library's module as a row of a table."""
    times = f"{spread(row['peer'])} | {spread(row['library'])} | {row['peer']['median'] / row['library']['median']:.2f}"
    return f"| {row['what']} | {row['library_class']} | {times} | {row['error']:.0e} |"


def _library(results: Results) -> str:
    heads = "| | library's class | peer ms | library ms | ratio | outputs differ |\n|---|---|---|---|---|---|"
    return "\n".join([heads, *map(library_line, results.library)])


def write(results: Results, docs: Path) -> None:
    """Rewrite what stands between the markers of docs/performance.md, and the plot beside it."""
    page = docs / "performance.md"
    bodies = {"machine": _machine(results), "models": _table(results, "models"), "ops": _table(results, "ops")}
    bodies |= {"library": _library(results), "turbo": _table(results, "turbo"), "turbo-parts": _parts(results)}
    bodies["models-off"] = _table(results, "models", "off", beside=False)
    text = page.read_text()
    for name, body in bodies.items():
        begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{body}\n{end}{rest.partition(end)[2]}"
    page.write_text(text)
    plot(results, docs / "performance.png")


def _machine(results: Results) -> str:
    lines = []
    for kernels, run in results.runs.items():
        peak = results.peak(kernels)
        about = {**run["machine"], "peak": f"{peak / 1e9:.0f} GFLOP/s"} if peak else run["machine"]
        lines += [f"Kernels {kernels}:", "", *(f"- {key}: {value}" for key, value in about.items()), ""]
    return "\n".join(lines).strip()


def _table(results: Results, suite: str, kernels: str = "on", *, beside: bool = True) -> str:
    """Return a table of the runs with kernels or without; with ``beside`` also the ratios of the others."""
    other = {"on": "off", "off": "on"}[kernels]
    rows = [row for row in [*results.rows(kernels), *results.failures(kernels)] if row["suite"] == suite]
    without = {_key(row): f"{ratio(row):.2f}" for row in results.rows(other)} if beside else {}
    without |= {_key(row): row["reason"] for row in results.failures(other)} if beside else {}
    memories = suite in WHOLE
    heads = [
        "",
        "",
        "vgen ms",
        "torch ms",
        "ratio",
        "% of peak",
        *(["MB", "memory", "MB, first start"] if memories else []),
        "outputs differ",
    ]
    heads += [f"ratio, kernels {other}"] * bool(without)
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    order = {_key(row): place for place, row in enumerate(results.rows("on"))}
    for row in sorted(rows, key=lambda row: (row["phase"], order.get(_key(row), 0))):
        if "reason" in row:
            lines.append(f"| {' | '.join([row['phase'], row['what'], row['reason'], *[''] * (len(heads) - 3)])} |")
            continue
        cells = [row["phase"], row["what"], spread(row["vgen"]), spread(row["torch"]), f"**{ratio(row):.2f}**"]
        cells.append(shares(row, results.peak(kernels)))
        if memories:
            both = " / ".join(f"{row[s]['peak_mb']:.0f} ({row[s]['before_mb']:.0f})" for s in SIDES)
            cells += [both, f"{memory(row):.2f}", _first_start(row)]
        cells.append(f"{row['error']:.0e}")
        if without:
            cells.append(without.get(_key(row), ""))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _parts(results: Results) -> str:
    """Return a table of the parts of those cases that tell them, with each part's share of the whole."""
    lines = ["| | | vgen ms | share | torch ms | share | ratio |", "|---|---|---|---|---|---|---|"]
    for row in results.rows("on"):
        ours, theirs = (row[side].get("parts", {}) for side in SIDES)
        for part in ours:
            pairs = ((ours[part], row["vgen"]["median"]), (theirs[part], row["torch"]["median"]))
            cells = " | ".join(f"{1e3 * seconds:.4g} | {100 * seconds / whole:.0f} %" for seconds, whole in pairs)
            lines.append(f"| {row['name']} | {part} | {cells} | {ours[part] / theirs[part]:.2f} |")
    return "\n".join(lines)


def _first_start(row: dict[str, Any]) -> str:
    """Return what vgen's start that compiled graphs took: its peak memory, and its seconds until the first output."""
    first = row["vgen"]
    return f"{first['first_peak_mb']:.0f} ({first['first_seconds']:.0f} s)" if "first_peak_mb" in first else ""


def plot(results: Results, file: Path) -> None:
    """Draw the models' ratios as bars: below 1 vgen is faster."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    bars = {
        kernels: {f"{row['name']}, {row['phase']}": ratio(row) for row in run["rows"] if row["suite"] in WHOLE}
        for kernels, run in results.runs.items()
    }
    names = list(dict.fromkeys(name for found in bars.values() for name in found))
    if not names:
        return
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.34 * len(names)), layout="constrained")
    height = 0.8 / len(bars)
    for index, (kernels, found) in enumerate(bars.items()):
        places = [place + (index - (len(bars) - 1) / 2) * height for place in range(len(names))]
        drawn = axes.barh(places, [found.get(name, 0) for name in names], height, label=f"kernels {kernels}")
        axes.bar_label(drawn, [f"{found[name]:.2f}" if name in found else "" for name in names], padding=2, fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("time, vgen / PyTorch")
    axes.legend()
    figure.savefig(file, dpi=110)
