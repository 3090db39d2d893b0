"""The TAE's hyper-parameters, checkpoints, tiles and loss."""

import mindspore as ms
import numpy as np
import pytest

from videogen_cli.errors import DataError, UsageError, WeightsError
from videogen_cli.models.moviegen.params_tae import component_params, loss_params
from videogen_cli.models.moviegen.tae_loss import outlier_penalty
from videogen_cli.models.moviegen.tiling import decode_tiles, encode_tiles
from videogen_cli.models.moviegen.weights_tae import SD35_KEYS, TAE_KEYS
from videogen_cli.nets.params.tae import TAEParams
from videogen_cli.nets.tae import TemporalAutoencoder
from videogen_cli.runtime.module import build
from videogen_cli.weights.tensor import from_array

PARAMS = TAEParams(
    base_channels=4, channel_mult=[1, 2], num_res_blocks=1, temporal_downsample_levels=[0],
    temporal_upsample_levels=[1], z_channels=2, norm_groups=2, attention_levels=[1],
)  # fmt: skip


def targets(keys):
    return keys.targets({"tae": build(TemporalAutoencoder, PARAMS)})


def weights(keys):
    """Return a file's tensors by the original's names."""
    rng = np.random.default_rng(0)
    ours = {name: from_array(rng.standard_normal(shape).astype(np.float32)) for name, shape in targets(keys).items()}
    return dict(keys.export(ours).tensors)


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].shape == tensor.shape
        np.testing.assert_array_equal(found[name].numpy(), tensor.numpy())


@pytest.mark.parametrize("prefix", ["", "autoencoder.", "autoencoder._backbone."])
def test_wrappers_there_and_back(prefix):
    file = {prefix + name: tensor for name, tensor in weights(TAE_KEYS).items()}
    inside = f"{prefix}encoder.norm_out."
    file = {k.replace(inside, f"{inside}_backbone."): v for k, v in file.items()}
    assert file[f"{prefix}encoder.conv_in.conv_temp.weight"].shape == (4, 4, 1, 3)
    unused = {f"{prefix}encoder.mid.block_1.temb_proj.bias": from_array(np.zeros(4)), "logvar": from_array(np.zeros(1))}
    unused |= {key: from_array(np.zeros(2)) for key in (f"adam_m.{prefix}encoder.conv_in.conv_spat.bias", "epoch_num")}
    unused["perceptual_loss.lins.0.model.1.weight"] = from_array(np.zeros((1, 4, 1, 1)))
    account = TAE_KEYS.account({**file, **unused}, targets(TAE_KEYS))
    assert account.ok and set(account.ignored) == set(unused)
    assert_same(TAE_KEYS.export(account.tensors, account.metadata).tensors, file)


def test_a_file_of_image_layers_starts_as_an_image_autoencoder():
    file = {
        k: v
        for k, v in weights(TAE_KEYS).items()
        if not any(w in k for w in ("temp", "attn_1.1", "attn.0.1", "attn.1.1"))
    }
    account = TAE_KEYS.account(file, targets(TAE_KEYS))
    assert account.ok and "inflated" in account.metadata
    conv = account.tensors["tae.decoder.up.1.upsample_temp.conv.weight"].numpy()
    np.testing.assert_array_equal(conv[:, :, :, 0, 0], np.stack([np.zeros((8, 8)), np.eye(8), np.zeros((8, 8))], 2))
    assert not account.tensors["tae.encoder.mid.attn_1.1.proj_out.weight"].numpy().any()
    assert (account.tensors["tae.encoder.mid.attn_1.1.norm.weight"].numpy() == 1).all()
    assert_same(TAE_KEYS.export(account.tensors, account.metadata).tensors, file)


def test_a_trained_file_may_not_lack_layers_over_frames():
    file = weights(TAE_KEYS)
    del file["encoder.conv_in.conv_temp.weight"]
    account = TAE_KEYS.account(file, targets(TAE_KEYS))
    assert account.missing == ["tae.encoder.conv_in.conv_temp.weight"]


def test_inflation_there_and_back():
    file = weights(SD35_KEYS)
    assert "decoder.up_blocks.1.resnets.0.conv1.weight" in file and not [name for name in file if "temp" in name]
    assert file["encoder.mid_block.attentions.0.to_out.0.weight"].shape == (8, 8)
    account = SD35_KEYS.account(file, targets(SD35_KEYS))
    assert account.ok and set(account.tensors) == set(targets(SD35_KEYS))
    up = account.tensors["tae.decoder.up.0.block.0.conv1.conv_spat.weight"].numpy()
    np.testing.assert_array_equal(up, file["decoder.up_blocks.1.resnets.0.conv1.weight"].numpy())
    assert_same(SD35_KEYS.export(account.tensors, account.metadata).tensors, file)
    del file["encoder.conv_in.bias"]
    account = SD35_KEYS.account({**file, "extra": from_array(np.zeros(1))}, targets(SD35_KEYS))
    assert account.missing == ["tae.encoder.conv_in.conv_spat.bias"] and list(account.unexpected) == ["extra"]
    with pytest.raises(WeightsError, match="1 missing"):
        account.require_ok("file")


def test_published_sizes_are_the_defaults():
    assert component_params({})["tae"] == TAEParams()
    diffusers = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 16,
                 "scaling_factor": 1.5305, "shift_factor": 0.0609, "use_quant_conv": False,
                 "use_post_quant_conv": False}  # fmt: skip
    assert component_params(diffusers)["tae"] == TAEParams()


def test_attention_by_resolution():
    found = component_params({"tae": {"ch_mult": [1, 2, 4], "resolution": 64, "attn_resolutions": [32, 16]}})["tae"]
    assert found.attention_levels == [1, 2]
    assert not component_params({"attn_type": "spat_only"})["tae"].temporal_attention


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"double_z": False}, "tae.double_z"),
        ({"attn_type": "linear"}, "tae.attn_type"),
        ({"tanh_out": True}, "tae.tanh_out"),
        ({"block_out_channels": [4, 6]}, "block_out_channels"),
        ({"block_out_channels": [4, 8], "down_block_types": ["X", "X"]}, "down_block_types"),
    ],
)
def test_hyper_parameters_we_do_not_have(config, where):
    with pytest.raises(DataError) as caught:
        component_params(config)
    assert caught.value.where == where


def test_weights_of_the_loss():
    found = loss_params({"kl_weight": 2, "perceptual_weight": 3, "opl_weight": 4, "opl_r": 5, "logvar_init": 6})
    assert list(vars(found).values()) == [2, 3, 4, 5, 6]


def test_tiles_are_laid_side_by_side_or_averaged():
    params, calls = TAEParams(), []

    def encode(video):
        calls.append(video.shape[2])
        return video[:, :, ::8], -video[:, :, ::8]

    video = np.arange(20, dtype=np.float32).reshape(1, 1, 20, 1, 1)
    mean, logvar = encode_tiles(encode, video, 16, params)
    assert calls == [16, 4]
    assert mean.ravel().tolist() == [0, 8, 16] == (-logvar).ravel().tolist()

    def decode(latents):  # every tile of another value, so that means show
        calls.append(latents.shape[2])
        return np.repeat(np.full_like(latents, len(calls)), 8, 2)

    calls.clear()
    frames = decode_tiles(decode, np.zeros((1, 1, 5, 1, 1), np.float32), 32, 16, params).ravel()
    assert calls == [4, 3]
    assert frames.tolist() == [1] * 16 + [1.5] * 16 + [2] * 8
    calls.clear()
    assert (
        decode_tiles(decode, np.zeros((1, 1, 3, 1, 1), np.float32), 16, 0, params).ravel().tolist()
        == [1] * 16 + [2] * 8
    )


@pytest.mark.parametrize(
    ("tile", "overlap", "where"), [(12, 0, "decode_tile"), (16, 4, "decode_overlap"), (16, 16, "decode_overlap")]
)
def test_tiles_that_cut_latents(tile, overlap, where):
    with pytest.raises(UsageError) as caught:
        decode_tiles(lambda part: part, np.zeros((1, 1, 5, 1, 1)), tile, overlap, TAEParams())
    assert caught.value.where == where


def test_outliers():
    latents = np.random.default_rng(0).standard_normal((2, 3, 2, 5, 4))
    latents[0, 1, 1, 2, 3] = 30
    centred = latents - latents.mean((3, 4), keepdims=True)
    excess = np.maximum(np.abs(centred) - 3 * latents.std((3, 4), keepdims=True), 0).mean()
    assert excess > 0
    assert float(outlier_penalty(ms.Tensor(latents.astype(np.float32)), 3.0)) == pytest.approx(excess, rel=1e-4)
    constant = ms.Tensor(np.ones((1, 1, 1, 2, 2), np.float32))
    slope = ms.grad(outlier_penalty)(constant, 3.0)
    assert np.isfinite(slope.asnumpy()).all()
