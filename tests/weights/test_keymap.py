"""Key maps account for every key and run backwards."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.errors import WeightsError
from videogen_cli.models.t2v_turbo_weights import VC2_KEYS
from videogen_cli.weights.keymap import KeyMap, ignore, rename
from videogen_cli.weights.tensor import from_array

MAP = KeyMap(
    (
        ignore("ema.{*}", "moving average"),
        rename("enc.{}.layer{}.{*}", "net.blocks.{}.{}.{*}"),
        rename("head.{*}", "head.{*}"),
    ),
    strip=("module.",),
    optional=("net.extra",),
)


def tensors(**shapes: tuple[int, ...]) -> dict:
    return {name.replace("__", "."): from_array(np.zeros(shape, np.float32)) for name, shape in shapes.items()}


def test_every_key_has_its_place() -> None:
    source = tensors(module__enc__0__layer12__w=(2,), ema__w=(2,), head__b=(3,), enc__x__layer1__w=(2,))
    targets = {"net.blocks.0.12.w": (2,), "head.b": (4,), "head.w": (1,), "net.extra": (9,)}
    account = MAP.account(source, targets)
    assert account.used == {"net.blocks.0.12.w": "module.enc.0.layer12.w"}
    assert account.ignored == {"ema.w": "moving average"}
    assert account.missing == ["head.w"]
    assert list(account.unexpected) == ["enc.x.layer1.w"]
    assert account.unexpected["enc.x.layer1.w"][0] == "enc.0.layer12.w"
    assert (account.mismatched[0].found, account.mismatched[0].expected) == ((3,), (4,))
    assert not account.ok
    with pytest.raises(
        WeightsError, match=r"1 missing: head.w; 1 unexpected: .*\(near enc.0.layer12.w\); 1 of another"
    ):
        account.require_ok("file")


def test_components_not_asked_for_are_ignored() -> None:
    account = MAP.account(tensors(enc__0__layer1__w=(2,), head__b=(3,)), {"head.b": (3,)})
    assert account.ok
    assert account.ignored == {"enc.0.layer1.w": "net is not asked for"}


def test_two_keys_for_one_parameter_is_an_error() -> None:
    account = MAP.account(tensors(module__head__b=(3,), head__b=(3,)), {"head.b": (3,)})
    assert list(account.unexpected) == ["head.b"]


def test_no_key_known_says_so() -> None:
    with pytest.raises(WeightsError, match="none of its 1 keys"):
        MAP.account(tensors(other=(1,)), {"head.b": (3,)}).require_ok("file")


def test_export_is_the_inverse() -> None:
    names = ["net.blocks.0.12.w", "head.b"]
    exported = MAP.export(names)
    assert exported == {"enc.0.layer12.w": names[0], "head.b": names[1]}
    with pytest.raises(WeightsError, match=r"'tail.w' has no name"):
        MAP.export(["tail.w"])


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            "model.diffusion_model.input_blocks.1.0.temopral_conv.conv1.0.weight",
            "unet.input_blocks.1.0.temporal_conv.conv1.0.weight",
        ),
        ("model.diffusion_model.out.2.bias", "unet.out.2.bias"),
        ("first_stage_model.encoder.down.0.block.0.norm1.weight", "vae.encoder.down.0.block.0.norm1.weight"),
        ("cond_stage_model.model.transformer.resblocks.0.ln_1.bias", "text.transformer.resblocks.0.ln_1.bias"),
    ],
)
def test_videocrafter_names(theirs: str, ours: str) -> None:
    for key in (theirs, f"_forward_module.{theirs}"):
        rule = VC2_KEYS.resolve(key)
        assert rule is not None
        assert rule.target == ours
    assert VC2_KEYS.source_name(ours) == theirs
