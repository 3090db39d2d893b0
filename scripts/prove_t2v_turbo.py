"""Measure what distillation and rewards are good for, and write the table of docs/t2v-turbo.md.

    python scripts/prove_t2v_turbo.py [--variant none=FILE longer=FILE image=FILE video=FILE] [--seeds 5]
                                      [--output-dir DIR]

Teacher and students make the same 84 combinations of Moving Shapes from the same seeds, at several numbers of steps;
``vgen eval videos`` judges and scores all of them. A variant is a file of factors of a student that was trained with
other rewards than the one that ships (``scripts/train_tiny.sh`` makes them). Rows that are there already are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.data.moving_shapes import ALL
from videogen_cli.files import write_json, write_text
from videogen_cli.metrics.intervals import mean_interval

ROOT = Path(__file__).resolve().parents[1]
PAGE, BEGIN, END = ROOT / "docs" / "t2v-turbo.md", "<!-- proof -->", "<!-- /proof -->"
REFERENCE, BASELINE = "teacher-50", "student-longer-4"
SEED = 1000  # no training draws from it
VARIANTS = {
    "none": "no reward",
    "longer": "no reward, 200 steps more",
    "image": "image reward only",
    "video": "video reward only",
}


@dataclass(frozen=True)
class Row:
    """One line of the table: a preset, its number of steps, and the factors in place of the preset's."""

    name: str
    what: str
    preset: str
    steps: int
    lora: str = ""


def rows(variants: dict[str, str]) -> list[Row]:
    """Return the table's lines."""
    teacher = [Row(f"teacher-{n}", "teacher", "tiny-teacher", n) for n in (4, 8, 25, 50)]
    student = [Row(f"student-{n}", "student, both rewards", "tiny", n) for n in (1, 2, 4, 8)]
    others = [
        Row(f"student-{name}-4", f"student, {VARIANTS[name]}", "tiny", 4, path) for name, path in variants.items()
    ]
    return teacher + student + others


def make(row: Row, folder: Path, prompts: Path, seeds: int) -> Path:
    """Make a row's videos, unless they are there."""
    target = folder / row.name
    wanted = {"lora": row.lora, "seeds": seeds, "steps": row.steps, "preset": row.preset}
    note = folder / f"{row.name}.json"
    if note.exists() and json.loads(note.read_text()) == wanted:
        return target
    command = ["infer", "t2v-turbo", "--preset", row.preset, "--num-inference-steps", row.steps, "--seed", SEED]
    command += ["--prompts-file", prompts, "--num-videos", seeds, "--output-dir", target]
    vgen(*command, *([f"weights.lora={row.lora}"] if row.lora else []))
    write_json(note, wanted)
    return target


def vgen(*arguments: Any) -> str:
    """Run a command and return what it printed for pipelines."""
    command = [sys.executable, "-m", "videogen_cli.cli.main", *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(folders: list[Path], report: Path) -> dict[str, Any]:
    """Judge and score all rows; return the report's summary."""
    order = [folder.name for folder in folders]
    first = order.index(REFERENCE)  # the others are compared with the first folder, pair by pair
    folders = [folders[first], *folders[:first], *folders[first + 1 :]]
    options = ["--model", "t2v-turbo", "--preset", "tiny", "--scorers", "hps,video-text", "--cards", 60, "--json"]
    lines = vgen("eval", "videos", *folders, *options, "--output-dir", report).splitlines()
    return json.loads(lines[-1])["summary"]


def seconds(folder: Path) -> float:
    """Return the mean seconds per video that the run noted."""
    records = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return sum(record["seconds"] for record in records) / len(records)


def gains(report: Path) -> str:
    """Return, as a list in Markdown, what each reward adds to each score, video by video."""
    scores: dict[str, dict[Any, dict[str, float]]] = {}
    for video in json.loads((report / "report.json").read_text())["videos"]:
        scores.setdefault(video["run"], {})[video["prompt"], video["seed"]] = video["scores"]
    lines = []
    for reward in ("image", "video"):
        name = f"student-{reward}-4"
        if not {name, BASELINE} <= set(scores):
            continue
        added = []
        for measure, what in (("hps", "image"), ("video_text", "video")):
            pairs = [(found[measure], scores[BASELINE][key][measure]) for key, found in scores[name].items()]
            values = np.array([one - other for one, other in pairs])
            low, high = mean_interval(values) or (0.0, 0.0)
            added.append(f"{values.mean():+.4f} ({low:+.4f} to {high:+.4f}) to the {what} reward's score")
        lines.append(f"- {VARIANTS[reward]}: {' and '.join(added)}")
    head = "Over the student that was trained as long without rewards, of the same prompt and seed:"
    return "\n".join([head, "", *lines]) if lines else ""


def table(chosen: list[Row], folder: Path, summary: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    runs = {run["name"]: run for run in summary["runs"]}
    against = {item["run"]: item["scores"] for item in summary["differences"]}
    heads = ["", "steps", "adherence, trained", "adherence, held out", "image reward", "video reward", "s / video"]
    heads.append(f"adherence less that of {REFERENCE.replace('-', ' at ')}")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in chosen:
        run = runs[row.name]
        cells = [row.what, str(row.steps)]
        cells += [share(run["adherence"][kind]) for kind in ("trained", "held_out")]
        cells += [score(run["scores"][name]) for name in ("hps", "video_text")]
        cells.append(f"{seconds(folder / row.name):.2f}")
        cells.append(difference(against[row.name]["adherence"]) if row.name in against else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def share(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    return f"{100 * found['accuracy']:.1f}% ({100 * low:.1f} to {100 * high:.1f})"


def score(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    return f"{found['mean']:.4f} ({low:.4f} to {high:.4f})"


def difference(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    return f"{100 * found['mean']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", nargs="*", default=[], metavar="NAME=FILE", help=", ".join(VARIANTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output-dir", type=Path, default=ROOT / "runs" / "proof")
    asked = parser.parse_args()
    variants = dict(item.split("=", 1) for item in asked.variant)
    if unknown := set(variants) - set(VARIANTS):
        parser.error(f"no such variant: {', '.join(unknown)}")
    folder: Path = asked.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    prompts = folder / "prompts.csv"
    write_text(prompts, "prompt\n" + "".join(f"a {c.colour} {c.shape} moving {c.direction}\n" for c in ALL))
    chosen = rows(variants)
    folders = [make(row, folder, prompts, asked.seeds) for row in chosen]
    summary = measure(folders, folder / "report")
    for run in summary["runs"]:
        del run["folder"]
    write_json(ROOT / "docs" / "t2v-turbo.json", summary)
    found = f"{table(chosen, folder, summary)}\n\n{gains(folder / 'report')}".strip()
    print(found)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    write_text(PAGE, f"{before}{BEGIN}\n{found}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
