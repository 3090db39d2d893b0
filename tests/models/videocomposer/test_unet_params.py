"""The original's hyper-parameters and names of VideoComposer's UNet."""

import pytest

from videogen_cli.errors import DataError
from videogen_cli.models.videocomposer.params import attention_factors, unet_params
from videogen_cli.models.videocomposer.weights import UNET_KEYS
from videogen_cli.nets.params.unet3d import ConditionedUNet3DParams
from videogen_cli.weights.readers import open_manifest
from videogen_cli.weights.tensor import LazyTensor

FILES = {
    "non_ema_228000.pth.json.gz": None,
    "non_ema_228000-3bb2ee9a.ckpt.json.gz": "mindspore",
    "non_ema_228000-7f157ec2.ckpt.json.gz": "mindspore-listed",
}


def tensor(*shape):
    return LazyTensor(shape, "float32", lambda: pytest.fail("was read"))


@pytest.mark.parametrize("name", FILES)
def test_published_files_are_of_the_default_network_and_remember_their_names(name, manifest_path):
    from videogen_cli.nets.conditions import ConditionedUNet3D

    checkpoint = open_manifest(manifest_path(f"videocomposer/{name}"))
    assert checkpoint.config is not None
    assert unet_params(checkpoint.config) == {"unet": ConditionedUNet3DParams()}
    targets = UNET_KEYS.targets({"unet": ConditionedUNet3D(ConditionedUNet3DParams())})
    account = UNET_KEYS.account(checkpoint.tensors, targets)
    assert account.ok
    assert account.metadata.get("variant") == FILES[name]
    back = UNET_KEYS.export(account.tensors, account.metadata).tensors
    assert {key: value.shape for key, value in back.items()} == {k: v.shape for k, v in checkpoint.tensors.items()}


def test_options_of_the_original():
    config = {"concat_dim": 4, "dim_mult": [1, 2], "attn_scales": [0.5, 0.125], "temporal_attention": False}
    config |= {"video_compositions": ["text", "canny", "mask", "histogram"], "resume": False, "use_fps_condition": True}
    params = unet_params({"unet": config})["unet"]
    assert params.conditions == ["canny", "masked"]
    assert params.attention_resolutions == [2]
    assert not params.init_attention
    assert params.condition_fusion
    assert params.fps_condition
    assert attention_factors([1.0, 0.5, 0.25], 4) == [4, 2, 1]


def test_what_the_original_keeps_and_never_reads_changes_nothing():
    config = {"concat_dim": 8, "dim": 64, "num_heads": 2}
    unread = {"use_scale_shift_norm": True, "use_sim_mask": True, "temporal_attn_times": 2, "y_dim": 768}
    assert unet_params({**config, **unread}) == unet_params(config)


def test_without_a_number_of_heads_the_first_transformer_has_one_for_32_channels():
    params = unet_params({"concat_dim": 8, "dim": 96, "num_heads": None})["unet"]
    assert params.init_attention_heads == 3


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"use_image_dataset": True}, "unet.use_image_dataset"),
        ({"inpainting": False}, "unet.inpainting"),
        ({"video_compositions": ["text", "depth"]}, "unet.video_compositions"),
    ],
)
def test_other_networks_are_refused_by_name(change, where):
    with pytest.raises(DataError) as caught:
        unet_params({"concat_dim": 8, **change})
    assert caught.value.where == where


def test_condition_encoders_may_come_alone_but_not_in_part():
    targets = {
        "unet.conditions.depth.conv1.bias": (32,),
        "unet.conditions.image.0.bias": (16,),
        "unet.out.0.bias": (8,),
    }
    keys = {"depth_embedding.0.bias": tensor(32), "pre_image_condition.0.bias": tensor(16)}
    assert UNET_KEYS.account(keys, targets).ok
    del keys["pre_image_condition.0.bias"]
    assert UNET_KEYS.account(keys, targets).missing == ["unet.conditions.image.0.bias"]


def test_prefixes_of_the_ports_trainer_are_taken_off():
    account = UNET_KEYS.account({"unet.out.0.gamma": tensor(8)}, {"unet.out.0.weight": (8,)})
    assert account.used == {"unet.out.0.weight": ("unet.out.0.gamma",)}
