"""Key rules of the latent video UNet as ModelScope and the models built on it (VGen, DEMO, VideoComposer) publish it.

Sources: ali-vilab/VGen tools/modules/unet/unet_t2v.py; mindspore-lab/mindone examples/videocomposer for the MindSpore
names. Our names are VideoCrafter's, which differ in three places: the spelling of the temporal convolutions, the
transformer after the first convolution, and downsampling layers, which are not in a list here.
"""

from __future__ import annotations

from videogen_cli.weights.keymap import Rule, rename
from videogen_cli.weights.layouts import UnitAxes

_INIT = ("input_blocks.0.1", "init_attn.0")
_NORMS = ("norm", "transformer_blocks.{}.norm{}", "in_layers.0", "out_layers.0", "temporal_conv.conv{}.0")
_OVER_FRAMES = ("input_blocks.{}.2", "middle_block.2", "output_blocks.{}.2")
_PORT_KERNEL = UnitAxes(dropped=(2,))  # of a 1D convolution: (o i 1 k) in the port


def vgen_unet_rules(*, mindspore: bool = False, listed_downsampling: bool = False) -> tuple[Rule, ...]:
    """Return the rules to ``unet.*``, the names of ``nets.unet3d.UNet3D``.

    Args:
        mindspore: the names of the MindSpore port.
        listed_downsampling: downsampling layers are in a list of one, as in later versions of the port.
    """
    downsample = "input_blocks.{}.0.op.{*}" if listed_downsampling else "input_blocks.{}.op.{*}"
    spelling = "temporal_conv" if mindspore else "temopral_conv"  # the original's
    table = [
        (f"{_INIT[0]}.{{*}}", f"{_INIT[1]}.{{*}}"),
        (downsample, "input_blocks.{}.0.op.{*}"),
        (f"{{*}}.{spelling}.{{*}}", "{*}.temporal_conv.{*}"),
        ("{*}", "{*}"),
    ]
    special = _port_rules() if mindspore else []
    return *special, *(rename(old, f"unet.{new}") for old, new in table)


def _port_rules() -> list[Rule]:
    """Return the rules of what the MindSpore port names or lays out in its own way."""
    norms = [(f"{old}.{norm}", f"{new}.{norm}") for old, new in (_INIT, ("{*}", "{*}")) for norm in _NORMS]
    rules = [
        rename(f"{old}.{theirs}", f"unet.{new}.{ours}")
        for old, new in (*norms, ("out.0", "out.0"))
        for theirs, ours in (("gamma", "weight"), ("beta", "bias"))
    ]
    for old, new in (_INIT, *((block, block) for block in _OVER_FRAMES)):
        for layer in ("proj_in", "proj_out"):
            names = f"{old}.{layer}.weight", f"unet.{new}.{layer}.weight"
            rules.append(rename(*names, axes=_PORT_KERNEL))
    return rules
