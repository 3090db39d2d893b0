"""What the video autoencoder is trained on: weights of the loss's parts, and sizes of its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from videogen_cli.nets.params.checks import one_of
from videogen_cli.nets.params.discriminators import PatchDiscriminatorParams
from videogen_cli.nets.params.lpips import LPIPSParams, lpips_params
from videogen_cli.originals import checked, looked_up, only_ours

GAN_LOSSES = ("hinge", "vanilla")
_CLASSES = {
    "SimpleLPIPS": (False, False),
    "LPIPSWithDiscriminator": (True, False),
    "LPIPSWithDiscriminator3D": (True, True),
}
_FIXED = {"use_actnorm": False, "disc_conditional": False}


@dataclass
class AutoencoderLossParams:
    """Absolute error, perceptual distance, divergence from the normal distribution, and a discriminator's opinion."""

    perceptual_weight: float = 1.0  # 0 leaves the distance out
    kl_weight: float = 1e-6
    logvar_init: float = 0.0  # of the error's log-variance, one number
    adversarial: bool = True
    disc_loss: str = "hinge"
    disc_start: int = 2001  # step from which the discriminator counts
    disc_factor: float = 1.0
    disc_weight: float = 0.5  # times the ratio of both losses' gradients at the last layer
    perceptual: LPIPSParams = field(default_factory=LPIPSParams)
    discriminator: PatchDiscriminatorParams = field(default_factory=PatchDiscriminatorParams)

    def check(self) -> None:
        """Check that there is such a loss.

        Raises:
            UsageError: the discriminator's loss is unknown, or a network's size is wrong.
        """
        one_of("loss", self, GAN_LOSSES, "disc_loss")
        self.perceptual.check()
        self.discriminator.check()


def autoencoder_loss_params(config: Mapping[str, Any]) -> AutoencoderLossParams:
    """Return the params for Open-Sora-Plan's ``loss_type`` and ``loss_params``, or for the latter by themselves.

    A key that is absent has the original constructor's default.

    Raises:
        DataError: a value asks for a loss we do not have.
    """
    name = str(config.get("loss_class", config.get("loss_type", "LPIPSWithDiscriminator"))).rpartition(".")[2]
    adversarial, video = looked_up(name, _CLASSES, "vae.loss_type")
    config = {**config, **(config.get("loss_params") or {})}
    only_ours(config, _FIXED, "loss")
    params = AutoencoderLossParams(
        perceptual_weight=config.get("perceptual_weight", 1.0),
        kl_weight=config.get("kl_weight", 1.0),
        logvar_init=config.get("logvar_init", 0.0),
        adversarial=adversarial,
        disc_loss=config.get("disc_loss", "hinge"),
        disc_start=config.get("disc_start", 0),
        disc_factor=config.get("disc_factor", 1.0),
        disc_weight=config.get("disc_weight", 1.0),
        perceptual=lpips_params(config),
        discriminator=PatchDiscriminatorParams(
            in_channels=config.get("disc_in_channels", 3),
            base_channels=config.get("disc_ndf", 64),
            num_layers=config.get("disc_num_layers", 3),
            video=video,
        ),
    )
    return checked(params)
