"""How golden cases of the transformer are run; every function takes a case and returns its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_networks import call, networks

Outputs = dict[str, Any]


def transformer(case: Case) -> Outputs:
    """Predictions with and without mask; without one, on single frames and other grids; and what conditions them."""
    given = case.inputs
    cell = load_transformer(case)
    from videogen_cli.nets.latte import frame_positions, patch_positions  # the device has been started by now

    text = given["encoder_hidden_states"]

    def predict(name: str, mask: np.ndarray | None = None, temporal: bool = True) -> np.ndarray | None:
        latents = given.get(name)
        return (
            None if latents is None else predict_noise(cell, latents, given["timestep"], text, mask, temporal=temporal)
        )

    embedded, modulation = call(cell.adaln_single, given["timestep"].astype(np.float32))
    positions = patch_positions(cell.width, cell.base, cell.base, cell.base, cell.scale).asnumpy()[0]
    return {
        "sample": predict("hidden_states", given.get("encoder_attention_mask")),
        "sample_nomask": predict("hidden_states"),
        "sample_no_temporal": predict("hidden_states", temporal=False),
        "sample_1f": predict("hidden_states_1f", temporal=False),
        "sample_rect": predict("hidden_states_rect"),
        "pos_embed": positions[:, : case.outputs["pos_embed"].shape[1]] if "pos_embed" in case.outputs else positions,
        "temp_pos_embed": frame_positions(cell.width, cell.video_length).asnumpy()[:, :, 0],
        "adaln_6dim": modulation,
        "embedded_timestep": embedded,
        "caption_proj": call(cell.caption_projection, text),
    }


def load_transformer(case: Case) -> Any:
    """Build and load the transformer of a case."""
    return networks(case, ("transformer",), case.record["checkpoint_type"])["transformer"]


def predict_noise(
    cell: Any,
    latents: np.ndarray,
    timesteps: np.ndarray,
    text: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    images: int = 0,
    temporal: bool = True,
) -> np.ndarray:
    """Call the transformer on host arrays; see :meth:`videogen_cli.nets.latte.Latte.construct`."""

    def run(*tensors: Any) -> Any:
        return cell(*tensors, images, temporal)

    return call(run, latents, np.asarray(timesteps, np.float32), text, mask)
