"""Key maps account for every key and run backwards."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.errors import WeightsError
from videogen_cli.models.t2v_turbo.weights import VC2_KEYS
from videogen_cli.weights.keymap import KeyMap, alias, ignore, rename, split, stack
from videogen_cli.weights.layouts import UnitAxes
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
    assert account.used == {"net.blocks.0.12.w": ("module.enc.0.layer12.w",)}
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
    ours = {"net.blocks.0.12.w": from_array(np.zeros(2)), "head.b": from_array(np.ones(3))}
    exported = MAP.export(ours)
    assert exported.used == {"enc.0.layer12.w": ("net.blocks.0.12.w",), "head.b": ("head.b",)}
    assert exported.tensors["head.b"].numpy().tolist() == [1, 1, 1]
    with pytest.raises(WeightsError, match=r"'tail.w' has no name"):
        MAP.export({"tail.w": from_array(np.zeros(1))})


TIED = KeyMap((rename("shared", "net.table"), alias("embed", "net.table", of="shared"), rename("{*}", "net.{*}")))


def test_a_tensor_under_two_names() -> None:
    both = TIED.account(tensors(embed=(2,), shared=(2,)), {"net.table": (2,)})
    assert both.ok
    assert both.used == {"net.table": ("shared",)}
    assert both.ignored == {"embed": "the same tensor as shared"}
    assert set(TIED.export(both.tensors, both.metadata).used) == {"shared", "embed"}
    one = TIED.account(tensors(embed=(2,)), {"net.table": (2,)})
    assert one.ok
    assert one.used == {"net.table": ("embed",)}
    assert set(TIED.export(one.tensors, one.metadata).used) == {"shared"}


LAYOUTS = KeyMap(
    (
        stack(["{*}.q.{*}", "{*}.k.{*}", "{*}.v.{*}"], "net.{*}.qkv.{*}"),
        split("{*}.kv.{*}", ["net.{*}.k.{*}", "net.{*}.v.{*}"]),
        rename("{*}.conv", "net.{*}.linear", UnitAxes(dropped=(2, 3))),
        rename("{*}.linear", "net.{*}.conv1d", UnitAxes(added=(2,))),
    )
)


def test_layouts_there_and_back() -> None:
    draws = np.random.default_rng(0)
    shapes = {
        "a.q.w": (2, 3),
        "a.k.w": (2, 3),
        "a.v.w": (2, 3),
        "a.kv.b": (4,),
        "a.conv": (5, 2, 1, 1),
        "b.linear": (2, 2),
    }
    source = {name: from_array(draws.standard_normal(shape).astype(np.float32)) for name, shape in shapes.items()}
    ours = {
        "net.a.qkv.w": (6, 3),
        "net.a.k.b": (2,),
        "net.a.v.b": (2,),
        "net.a.linear": (5, 2),
        "net.b.conv1d": (2, 2, 1),
    }
    account = LAYOUTS.account(source, ours)
    assert account.ok
    assert account.keys_used == 6
    assert {name: tensor.shape for name, tensor in account.tensors.items()} == ours
    assert {name: tensor.numpy().shape for name, tensor in account.tensors.items()} == ours
    assert np.array_equal(account.tensors["net.a.qkv.w"].numpy()[2:4], source["a.k.w"].numpy())
    assert np.array_equal(account.tensors["net.a.v.b"].numpy(), source["a.kv.b"].numpy()[2:])
    back = LAYOUTS.export(account.tensors).tensors
    assert set(back) == set(source)
    assert all(np.array_equal(back[name].numpy(), source[name].numpy()) for name in source)


def test_an_incomplete_stack_is_missing() -> None:
    account = LAYOUTS.account(tensors(a__q__w=(2, 3), a__k__w=(2, 3)), {"net.a.qkv.w": (6, 3)})
    assert account.missing == ["net.a.qkv.w"]
    with pytest.raises(WeightsError, match=r"net.a.v.b' is missing"):
        LAYOUTS.export(tensors(net__a__k__b=(2,)))


def test_another_shape_is_reported_for_every_layout() -> None:
    source = tensors(a__q__w=(2, 3), a__k__w=(2, 4), a__v__w=(2, 3), a__kv__b=(3,), a__conv=(5, 2, 3, 3))
    account = LAYOUTS.account(
        source, {"net.a.qkv.w": (6, 3), "net.a.k.b": (2,), "net.a.v.b": (2,), "net.a.linear": (5, 2)}
    )
    assert {item.target for item in account.mismatched} == {"net.a.qkv.w", "net.a.k.b", "net.a.linear"}
    assert not account.ok


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
        match = VC2_KEYS.resolve(key)
        assert match is not None
        assert match.targets == [ours]
    assert VC2_KEYS.source_name(ours) == theirs
