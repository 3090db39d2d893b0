"""Key rules of the latent video UNet as ModelScope and the models built on it (VGen, DEMO) publish it.

Source: ali-vilab/VGen tools/modules/unet/unet_t2v.py. Our names are VideoCrafter's, which differ in three places: the
spelling of the temporal convolutions, the transformer after the first convolution, and downsampling layers, which are
not in a list here.
"""

from __future__ import annotations

from videogen_cli.weights.keymap import Rule, rename


def vgen_unet_rules(source: str = "", target: str = "unet.") -> tuple[Rule, ...]:
    """Return the rules from ``<source>*`` to ``<target>*``, the names of ``nets.unet3d.UNet3D``."""
    return (
        rename(f"{source}{{*}}.temopral_conv.{{*}}", f"{target}{{*}}.temporal_conv.{{*}}"),
        rename(f"{source}input_blocks.0.1.{{*}}", f"{target}init_attn.0.{{*}}"),
        rename(f"{source}input_blocks.{{}}.op.{{*}}", f"{target}input_blocks.{{}}.0.op.{{*}}"),
        rename(f"{source}{{*}}", f"{target}{{*}}"),
    )
