"""Which parameters DEMO trains: the UNet's motion blocks, and the later blocks of the motion encoder."""

from __future__ import annotations

from typing import Any


def motion_blocks(unet: Any) -> tuple[str, ...]:
    """Return the prefixes of the parameters of the UNet's motion blocks, which alone are trained."""
    return tuple(f"{name}." for name, cell in unet.cells_and_names() if getattr(cell, "records", False))


def is_trained_text(name: str, first: int) -> bool:
    """Tell whether a parameter of the motion encoder is in block ``first`` or a later one, which are trained."""
    parts = name.split(".")
    return parts[:2] == ["transformer", "resblocks"] and int(parts[2]) >= first
