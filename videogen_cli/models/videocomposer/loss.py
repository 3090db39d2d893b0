"""VideoComposer's training loss."""

from __future__ import annotations

from typing import Any

from videogen_cli.runtime.cells import Cell


class ConditionedDiffusionLoss(Cell):
    """Prediction of a UNet that reads conditions (Ho et al. 2020, equation 14).

    Upstream: ali-vilab/videocomposer artist/ops/diffusion.py (GaussianDiffusion.loss).
    """

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def construct(self, target: Any, latents: Any, timesteps: Any, context: Any, *conditions: Any) -> Any:
        """Return the mean squared error, and that of each sample (b,).

        ``target`` is shaped like ``latents`` (b c f h w), noisy ones; they and the rest are what
        :class:`videogen_cli.nets.conditions.ConditionedUNet3D` takes, in its order.
        """
        error = self.unet(latents, timesteps, context, *conditions) - target
        squares = (error * error).reshape(error.shape[0], -1)
        return squares.mean(), squares.mean(1)
