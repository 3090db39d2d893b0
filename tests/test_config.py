import pytest

from videogen_cli.config import Layer, ModelConfig, leaf_keys, parse_overrides, resolve
from videogen_cli.errors import UsageError


def test_later_layers_win_and_sources_say_which():
    layers = [Layer("preset", {"train": {"max_steps": 3, "batch_size": 2}}), Layer("file", {"train": {"max_steps": 5}})]
    resolved = resolve(ModelConfig, layers)
    assert (resolved.config.train.max_steps, resolved.config.train.batch_size) == (5, 2)
    assert resolved.sources["train.max_steps"] == "file"
    assert resolved.sources["train.batch_size"] == "preset"
    assert resolved.sources["seed"] == "default"


def test_unknown_key_names_its_neighbours_and_where_it_came_from():
    with pytest.raises(UsageError, match=r"train\.max_step: unknown config key \(from file\)") as error:
        resolve(ModelConfig, [Layer("file", {"train": {"max_step": 3}})])
    assert "train.max_steps" in str(error.value)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"train": {"max_steps": "many"}}, "train.max_steps"),
        ({"train": {"max_steps": 0}}, "at least 1"),
        ({"train": 3}, "is a section"),
        ({"device": {"target": "gpu"}}, "not one of"),
    ],
)
def test_impossible_values_are_usage_errors(values, message):
    with pytest.raises(UsageError, match=message):
        resolve(ModelConfig, [Layer("x", values)])


def test_overrides_are_read_as_yaml():
    assert parse_overrides(["a.b=1", "a.c=[1, 2]", "d=text", "e="]) == {
        "a": {"b": 1, "c": [1, 2]},
        "d": "text",
        "e": "",
    }
    for bad in ("novalue", "=1", "a=[1"):
        with pytest.raises(UsageError):
            parse_overrides([bad])
    with pytest.raises(UsageError, match="both a value and sub-keys"):
        parse_overrides(["a=1", "a.b=2"])


def test_hash_depends_on_values_only():
    one = resolve(ModelConfig, [Layer("x", {"seed": 7})])
    assert one.hash() == resolve(ModelConfig, [Layer("y", {"seed": 7})]).hash() != resolve(ModelConfig, []).hash()
    assert "weights" in leaf_keys(ModelConfig) and "sample.num_frames" in leaf_keys(ModelConfig)
