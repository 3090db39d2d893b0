"""Flat Colour whose weights somebody has published: as one torch file, and as a folder of several files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flat_colour

from videogen_cli.registry import CheckpointSpec, PublishedFile
from videogen_cli.weights.keymap import KeyMap, ignore, rename

REPO = "someone/colours"
KEYS = KeyMap(
    (
        rename("first.weight", "painter.first"),
        rename("second.weight", "painter.second"),
        ignore("steps", "how long it was trained"),
    )
)


def params(original: dict[str, Any]) -> dict[str, flat_colour.PainterParams]:
    """Return the sizes that a config.json names."""
    return {"painter": flat_colour.PainterParams(**original)}


@dataclass
class HostedColourConfig(flat_colour.FlatColourConfig):
    """Also where the words are."""

    words: str = "hub:hosted-colour/words"


SPEC = replace(
    flat_colour.SPEC,
    name="hosted-colour",
    title="Hosted Colour",
    config=HostedColourConfig,
    components=(replace(flat_colour.SPEC.components[0], files=("words",)),),
    checkpoints=(CheckpointSpec("painter", ("painter",), "hosted_colour:KEYS", "hosted_colour:params"),),
    published=(
        PublishedFile("painter", REPO, ("painter.pt",), 1500, "painter", preset="published"),
        PublishedFile(
            "folder", REPO, ("parts/config.json", "parts/model.safetensors"), 600, "painter", preset="published"
        ),
        PublishedFile("words", REPO, ("words.txt",), 21, help="the colours, used as they are"),
    ),
    presets_dir=Path(__file__).with_name("hosted_colour_presets"),
)
