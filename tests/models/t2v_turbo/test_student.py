"""Factors given apart: what they are added to, what stands in for the missing projection, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.models.t2v_turbo.students import (
    MS,
    RANK,
    STUDENTS,
    VC2,
    listed_layers,
    made_factors,
    made_weights,
    network,
    write_list,
)
from videogen_cli.config import SampleConfig
from videogen_cli.errors import WeightsError
from videogen_cli.models.t2v_turbo import T2VTurboConfig
from videogen_cli.models.t2v_turbo.student import adapted
from videogen_cli.models.t2v_turbo.weights import BASE_SEED, LORA_KEYS, TIME_COND_PROJ
from videogen_cli.weights.lora import DOWN, UP, uniform_base
from videogen_cli.weights.tensor import from_array
from videogen_cli.weights.writer import save_safetensors

DRAWN = uniform_base((32, 256), 1 / 16, BASE_SEED).numpy()


class World:
    """A student of one teacher and its files."""

    def __init__(self, name, folder):
        self.cell, self.folder = network(STUDENTS[name]), folder
        self.config = T2VTurboConfig(unet=STUDENTS[name], sample=SampleConfig(sampler="lcm"))
        self.weights = made_weights(self.cell)
        self.layers = listed_layers(self.cell)
        self.factors = made_factors(self.layers)
        self.said = []

    def list_file(self, factors=None, name="unet_lora.pt"):
        return write_list(self.folder / name, self.factors if factors is None else factors)

    def named_file(self, name="lora.safetensors", **more):
        names = [layer.name + part for layer in self.layers for part in (UP, DOWN)]
        save_safetensors(self.folder / name, {**dict(zip(names, self.factors, strict=True)), **more}, {"rank": "4"})
        return self.folder / name

    def load(self, weights=None, merged=True, **files):
        tensors = {name: from_array(value) for name, value in (weights or self.weights).items()}
        return adapted(tensors, files, self.cell, self.config, merged, self.said.append)


@pytest.fixture
def vc2(tmp_path):
    return World("vc2", tmp_path)


@pytest.fixture
def ms(tmp_path):
    return World("ms", tmp_path)


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("form", ["list_file", "named_file"])
def test_factors_are_added_in_float32_to_weights_of_any_type(tmp_path, name, form):
    world = World(name, tmp_path)
    halves = {key: value.astype(np.float16) for key, value in world.weights.items()}
    merged = world.load(halves, lora=getattr(world, form)())
    assert set(merged) == {*world.weights, TIME_COND_PROJ}
    for layer, up, down in zip(world.layers, world.factors[::2], world.factors[1::2], strict=True):
        key = f"{layer.name}.weight"
        base = DRAWN if key == TIME_COND_PROJ else halves[key].astype(np.float32)
        expected = base + (up.reshape(len(up), -1) @ down.reshape(len(down), -1)).reshape(base.shape)
        value = merged[key].numpy()
        assert value.dtype == np.float32 and np.array_equal(value, expected)
    kept = merged["out.0.weight"].numpy()
    assert np.array_equal(kept, halves["out.0.weight"]), "norms are not adapted"


@pytest.mark.parametrize("name", STUDENTS)
def test_factors_of_a_run_are_exported_in_the_originals_order(tmp_path, name):
    """A run saves them in the order of our network's modules, which is not ModelScope's."""
    world = World(name, tmp_path)
    named = dict(zip([layer.name + part for layer in world.layers for part in (UP, DOWN)], world.factors, strict=True))
    ours = [layer.name + part for layer in LORA_KEYS.targets({"": world.cell})[""] for part in (UP, DOWN)]
    tensors = {key: from_array(named[key]) for key in ours} | {TIME_COND_PROJ: from_array(DRAWN)}
    listed = LORA_KEYS.export(tensors).tensors
    assert list(listed) == [str(index) for index in range(len(world.factors))]
    assert all(tensor.numpy() is factor for tensor, factor in zip(listed.values(), world.factors, strict=True))


def test_the_projection_is_the_given_one_or_a_files_or_one_draw_that_is_told_of(vc2):
    save_file({TIME_COND_PROJ: np.full((32, 256), 3, np.float32)}, vc2.folder / "base.safetensors")
    np.save(vc2.folder / "base.npy", np.full((32, 256), 4, np.float32))
    place = next(index for index, layer in enumerate(vc2.layers) if layer.name == "time_cond_proj")
    product = vc2.factors[2 * place] @ vc2.factors[2 * place + 1]
    beside = vc2.named_file(**{TIME_COND_PROJ: np.full((32, 256), 2, np.float32)})
    own = {**vc2.weights, TIME_COND_PROJ: np.full((32, 256), 1, np.float32)}

    def base(**given):
        return vc2.load(**given)[TIME_COND_PROJ].numpy() - product

    assert np.allclose(base(lora=beside), 2, atol=1e-6)
    assert np.allclose(base(weights=own, lora=beside), 1, atol=1e-6)
    for file, value in (("base.safetensors", 3), ("base.npy", 4)):
        assert np.allclose(base(weights=own, lora=beside, time_cond_proj=vc2.folder / file), value, atol=1e-6)
    assert not any("draw" in line for line in vc2.said)
    assert np.allclose(base(lora=vc2.list_file()), DRAWN, atol=1e-6)
    assert sum("draw" in line for line in vc2.said) == 1


def test_factors_stay_apart_for_training(vc2):
    loaded = vc2.load(merged=False, lora=vc2.list_file())
    assert set(loaded) == {*vc2.weights, TIME_COND_PROJ}
    assert all(np.array_equal(loaded[name].numpy(), value) for name, value in vc2.weights.items())
    assert np.array_equal(loaded[TIME_COND_PROJ].numpy(), DRAWN)
    assert np.array_equal(vc2.load(merged=False)[TIME_COND_PROJ].numpy(), DRAWN), "also for factors yet to be trained"


def test_a_merged_student_needs_no_factors(vc2):
    student = {**vc2.weights, TIME_COND_PROJ: DRAWN}
    assert np.array_equal(vc2.load(student)[TIME_COND_PROJ].numpy(), DRAWN) and not vc2.said


def test_factors_on_a_student_that_may_have_them_already_are_told_of(vc2):
    vc2.load({**vc2.weights, TIME_COND_PROJ: DRAWN}, lora=vc2.list_file())
    assert len(vc2.said) == 1 and "twice" in vc2.said[0]


def test_a_teacher_is_refused_where_few_steps_are_asked_for(vc2):
    with pytest.raises(WeightsError, match=r"holds a teacher.*\n.*weights.lora.*sampler=ddim"):
        vc2.load()
    vc2.config.sample.sampler = "ddim"
    assert TIME_COND_PROJ in vc2.load(), "the network has the layer, though nobody asks it"


def test_a_teachers_network_takes_no_factors(vc2):
    vc2.config.unet = replace(VC2, time_cond_proj_dim=0)
    assert set(vc2.load()) == set(vc2.weights)
    with pytest.raises(WeightsError, match=r"weights.lora: is for a student.*\n.*time_cond_proj_dim=256"):
        vc2.load(lora=vc2.list_file())


@pytest.mark.parametrize("form", ["list_file", "named_file"])
@pytest.mark.parametrize(("network_of", "factors_of"), [("vc2", "ms"), ("ms", "vc2")])
def test_factors_of_the_other_teacher_are_called_so(request, network_of, factors_of, form):
    given, world = request.getfixturevalue(factors_of), request.getfixturevalue(network_of)
    path = getattr(given, form)()
    wanted = rf"{path.name}: .*\n.*factors of T2V-Turbo-{factors_of.upper()}, .* --preset {factors_of}"
    with pytest.raises(WeightsError, match=wanted):
        world.load(lora=path)


def test_a_layer_of_another_rank_is_named(vc2):
    other = made_factors(vc2.layers, RANK - 1)
    mixed = [*vc2.factors[:20], *other[20:]]
    with pytest.raises(WeightsError, match=rf"item 20 is .*, but '{vc2.layers[10].name}.lora_up' needs .*rank 4"):
        vc2.load(lora=vc2.list_file(mixed))


def test_a_wrong_order_is_noticed_where_it_begins(vc2):
    names = [layer.name for layer in vc2.layers]
    first, second = (
        names.index("input_blocks.1.0.in_layers.2"),
        names.index("init_attn.0.transformer_blocks.0.attn1.to_q"),
    )
    moved = [*vc2.layers[:first], vc2.layers[second], *vc2.layers[first:second], *vc2.layers[second + 1 :]]
    with pytest.raises(WeightsError, match=rf"item {2 * first} is .* '{names[first]}.lora_up' .*do not correspond"):
        vc2.load(lora=vc2.list_file(made_factors(moved)))


def test_a_merged_network_is_not_taken_for_factors(vc2):
    save_safetensors(vc2.folder / "merged.safetensors", {**vc2.weights, TIME_COND_PROJ: DRAWN}, {})
    with pytest.raises(
        WeightsError, match=r"merged.safetensors: holds no LoRA factors\n.*looks like a UNet.*weights.unet"
    ):
        vc2.load(lora=vc2.folder / "merged.safetensors")


def test_factors_are_not_taken_for_a_network(vc2):
    names = [layer.name + part for layer in vc2.layers for part in (UP, DOWN)]
    for keys in (names, map(str, range(len(names)))):
        with pytest.raises(WeightsError, match=r"holds LoRA factors, not a UNet\n.*weights.lora"):
            vc2.load(dict(zip(keys, vc2.factors, strict=True)), lora=vc2.list_file())


def test_weights_of_another_network_are_named(vc2, ms):
    with pytest.raises(WeightsError, match=r"lacks \d+ of .* first 'fps_embedding.0.weight'\n.*preset"):
        vc2.load(ms.weights, lora=vc2.list_file())


def test_a_file_cut_off_or_of_nan_is_refused(vc2):
    whole = vc2.list_file().read_bytes()
    (vc2.folder / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"cut.pt: .*cut off|cut.pt: .*damaged|cut.pt: .*download"):
        vc2.load(lora=vc2.folder / "cut.pt")
    vc2.factors[3][0, 0] = np.nan
    merged = vc2.load(lora=vc2.list_file(name="nan.pt"))
    with pytest.raises(WeightsError, match=r"nan.pt: .*NaN"):
        merged[f"{vc2.layers[1].name}.weight"].numpy()


def test_a_projection_must_fit_and_must_have_factors_to_go_with(vc2):
    np.save(vc2.folder / "small.npy", np.zeros((32, 255), np.float32))
    np.save(vc2.folder / "nan.npy", np.full((32, 256), np.nan, np.float32))
    save_file({"a": np.zeros(3, np.float32), "b": np.zeros(3, np.float32)}, vc2.folder / "two.safetensors")
    (vc2.folder / "text.npy").write_text("no array")
    mistakes = {"small.npy": r"\[32, 255\]", "nan.npy": "NaN", "two.safetensors": "2 tensors", "text.npy": "read"}
    for file, what in mistakes.items():
        with pytest.raises(WeightsError, match=rf"{file}: .*{what}"):
            vc2.load(lora=vc2.list_file(), time_cond_proj=vc2.folder / file)
    np.save(vc2.folder / "fine.npy", DRAWN)
    with pytest.raises(WeightsError, match=r"weights.time_cond_proj: .*\n.*weights.lora"):
        vc2.load(time_cond_proj=vc2.folder / "fine.npy")


def test_lists_of_both_students_begin_as_the_published_ones_do(vc2, ms):
    assert [layer.name for layer in vc2.layers[:5]] == [
        "time_embed.0",
        "time_embed.2",
        "fps_embedding.0",
        "fps_embedding.2",
        "time_cond_proj",
    ]
    assert [layer.name for layer in ms.layers[:3]] == ["input_blocks.0.0", "time_embed.0", "time_cond_proj"]
    assert ms.layers[-1].name == "out.2"
    assert LORA_KEYS.prepare({"unet": VC2}, {})["unet"] == VC2 and MS.init_projection == "linear"
