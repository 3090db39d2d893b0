import pytest

from videogen_cli.errors import UsageError
from videogen_cli.nets.params.clip import CLIPTextParams
from videogen_cli.nets.params.unet3d import ConditionedUNet3DParams, UNet3DParams, check_latent_size, latent_multiple
from videogen_cli.nets.params.vae2d import AutoencoderKLParams, downsample_factor


@pytest.mark.parametrize("params", [UNet3DParams(), AutoencoderKLParams(), CLIPTextParams()])
def test_published_sizes_are_possible(params):
    params.check()


@pytest.mark.parametrize(
    ("params", "where", "word"),
    [
        (UNet3DParams(channel_mult=[]), "unet.channel_mult", "empty"),
        (UNet3DParams(channel_mult=[1, 0]), "unet.channel_mult", "positive"),
        (UNet3DParams(model_channels=48), "unet.norm_groups", "48 channels"),
        (UNet3DParams(num_head_channels=2000), "unet.num_head_channels", "a head of 2000"),
        (UNet3DParams(temporal_projection="conv2d"), "unet.temporal_projection", "conv2d"),
        (UNet3DParams(motion_cond_proj_dim=256), "unet.motion_cond_proj_dim", "guidance-scale"),
        (UNet3DParams(time_cond_proj_dim=-1), "unet.time_cond_proj_dim", "negative"),
        (UNet3DParams(level_channels=[320, 330]), "unet.norm_groups", "330 channels"),
        (UNet3DParams(single_frames="none"), "unet.single_frames", "none"),
        (ConditionedUNet3DParams(concat_dim=0), "unet.concat_dim", "at least 1"),
        (ConditionedUNet3DParams(conditions=["depht"]), "unet.conditions", "depht"),
        (UNet3DParams(num_res_blocks=0), "unet.num_res_blocks", "at least 1"),
        (AutoencoderKLParams(base_channels=100), "vae.norm_groups", "100 channels"),
        (AutoencoderKLParams(channel_mult=[]), "vae.channel_mult", "empty"),
        (CLIPTextParams(heads=7), "text.heads", "7 heads"),
        (CLIPTextParams(layers=2, skip_last=2), "text.skip_last", "none"),
    ],
)
def test_impossible_sizes_are_refused_by_name(params, where, word):
    with pytest.raises(UsageError) as caught:
        params.check()
    assert caught.value.where == where
    assert word in caught.value.what


def test_levels_without_attention_need_no_head():
    UNet3DParams(model_channels=32, channel_mult=[1, 3, 2], attention_resolutions=[4], num_head_channels=64).check()


def test_heads_need_not_divide_channels():
    UNet3DParams(num_head_channels=48).check()


def test_conditions_widen_what_the_first_convolution_reads():
    assert ConditionedUNet3DParams().first_channels == 12
    assert ConditionedUNet3DParams(condition_fusion=True).first_channels == 4


def test_attention_may_name_levels_that_are_not_there():
    UNet3DParams(channel_mult=[1, 2], attention_resolutions=[4, 2, 1]).check()


def test_latent_size_must_halve_at_every_level():
    check_latent_size(UNet3DParams(), 40, 64)
    with pytest.raises(UsageError, match=r"height.*36.*not a multiple of 8") as caught:
        check_latent_size(UNet3DParams(), 36, 64)
    assert "32 or 40" in str(caught.value)
    with pytest.raises(UsageError, match="width"):
        check_latent_size(UNet3DParams(), 40, 0)


def test_factors_follow_the_levels():
    assert latent_multiple(UNet3DParams(channel_mult=[1, 2])) == 2
    assert downsample_factor(AutoencoderKLParams()) == 8
