import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from videogen_cli.errors import DataError, ExitCode, UsageError
from videogen_cli.metrics.parity import compare, read_case
from videogen_cli.output import Output
from videogen_cli.runners.eval_parity import ParityRequest, find_cases, run


def make_case(root, name="case", component="scheduler.math", record=None, inputs=None, outputs=None):
    folder = root / "t2v-turbo" / name
    folder.mkdir(parents=True)
    inputs, outputs = inputs or {}, {"y": np.array([1.0, 2.0])} if outputs is None else outputs
    listed = {
        "name": name,
        "model": "t2v-turbo",
        "component": component,
        "checkpoint_type": None,
        "weights": None,
        "config": {},
        "inputs": dict.fromkeys(inputs, ""),
        "outputs": dict.fromkeys(outputs, ""),
        "tolerance": {"rtol": 0.1, "atol": 0.0},
        **(record or {}),
    }
    (folder / "case.json").write_text(json.dumps(listed))
    tensors = {**{f"in.{k}": v for k, v in inputs.items()}, **{f"out.{k}": v for k, v in outputs.items()}}
    save_file({name: np.asarray(value) for name, value in tensors.items()}, folder / "io.safetensors")
    return folder


def test_every_element_must_be_within_its_tolerance(tmp_path):
    case = read_case(make_case(tmp_path))
    assert compare(case, {"y": np.array([1.09, 1.81])})["y"].passed
    result = compare(case, {"y": np.array([1.0, 2.3])})["y"]
    assert not result.passed
    assert result.max_abs == pytest.approx(0.3) and result.max_rel == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("result", "reason"),
    [({}, "not produced"), ({"y": np.ones(3)}, "shape"), ({"y": np.array([1, np.nan])}, "not finite")],
)
def test_what_cannot_be_compared_has_failed(tmp_path, result, reason):
    outcome = compare(read_case(make_case(tmp_path)), result)["y"]
    assert not outcome.passed and reason in outcome.reason


def test_overrides_replace_the_tolerance_of_one_output(tmp_path):
    overrides = {"tolerance_overrides": {"z.0": {"rtol": 0, "atol": 0}}}
    case = read_case(make_case(tmp_path, record=overrides, outputs={"y": np.ones(2), "z.0": np.ones(2)}))
    results = compare(case, {"y": np.full(2, 1.05), "z.0": np.full(2, 1.05)})
    assert results["y"].passed and not results["z.0"].passed
    assert compare(case, {"y": np.ones(2), "z.0": np.ones(2)})["z.0"].passed


def test_gradients_pass_by_direction_and_length(tmp_path):
    rule = {"gradient_tolerance": {"applies_to": "out.grad.*", "min_cosine": 0.99, "norm_rtol": 0.05}}
    golden = {"grad.a": np.array([3.0, 4.0]), "grad.norm": np.array(5.0)}
    case = read_case(make_case(tmp_path, record=rule, outputs=golden))

    def passed(vector, scalar):
        results = compare(case, {"grad.a": np.array(vector), "grad.norm": np.array([scalar])})
        return results["grad.a"].passed, results["grad.norm"].passed

    assert passed([3.1, 4.1], 5.2) == (True, True)
    assert passed([4.0, 3.0], 5.3) == (False, False)  # length right, direction wrong
    assert passed([6.0, 8.0], -5.0)[0] is False  # direction right, length wrong


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}'])
def test_broken_records_are_named(tmp_path, text):
    folder = make_case(tmp_path)
    (folder / "case.json").write_text(text)
    with pytest.raises(DataError, match=r"case\.json"):
        read_case(folder)


@pytest.mark.parametrize("key", ["tolerance", "tolerance_overrides"])
def test_tolerances_must_be_numbers(tmp_path, key):
    for number, value in enumerate(
        [{"rtol": "1e-3"}, {"y": 1}] if key == "tolerance_overrides" else [{"rtol": "1e-3"}]
    ):
        with pytest.raises(DataError, match="tolerances"):
            read_case(make_case(tmp_path, f"case{number}", record={key: value}))


def test_tensors_must_be_those_listed(tmp_path):
    with pytest.raises(DataError, match=r"in\.w"):
        read_case(make_case(tmp_path, record={"inputs": {"w": ""}}))


def test_a_missing_input_is_named(tmp_path):
    case = read_case(make_case(tmp_path, inputs={"timesteps": np.ones(2)}))
    with pytest.raises(DataError, match=r"lacks 'in\.timestep'"):
        case.inputs["timestep"]
    assert case.inputs.get("timestep") is None


def test_folders_may_be_given_relative(tmp_path, monkeypatch):
    folder = make_case(tmp_path / "golden", record={"weights": "weights.ckpt"})
    (folder / "weights.ckpt").write_text("")
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    for start in ("../golden/t2v-turbo/case", f"{tmp_path}/checkout/../golden/t2v-turbo/case"):
        assert read_case(Path(start)).weights() == [folder / "weights.ckpt"]


@pytest.mark.parametrize("path", ["../../../secret.ckpt", "/etc/passwd", "../../../../etc/passwd", "absent.ckpt"])
def test_weights_never_leave_the_root(tmp_path, path):
    (tmp_path / "secret.ckpt").write_text("")
    root = tmp_path / "golden"
    with pytest.raises(DataError):
        read_case(make_case(root, record={"weights": path})).weights()


def test_weights_by_role(tmp_path):
    other, folder = (
        make_case(tmp_path, "other"),
        make_case(tmp_path, record={"weights": {"a": "x", "b": ["../other/y"]}}),
    )
    for path in (folder / "x", other / "y"):
        path.write_text("")
    case = read_case(folder)
    assert case.weights("a") == [folder / "x"] and case.weights("b") == [other / "y"]
    with pytest.raises(DataError, match="role"):
        case.weights("c")


def test_one_bad_folder_does_not_stop_the_others(tmp_path, capsys):
    broken, fine = make_case(tmp_path, "a-broken"), make_case(tmp_path, "b-unsupported", component="no.such")
    (broken / "case.json").unlink()
    assert run(ParityRequest([tmp_path]), Output(json=True)) == ExitCode.DATA
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["case"], line["passed"]) for line in lines] == [("a-broken", False), ("b-unsupported", False)]
    assert "unsupported component 'no.such'" in lines[1]["error"]
    assert run(ParityRequest([fine]), Output()) == ExitCode.BUG


def test_differences_end_with_one(golden_path, tmp_path):
    source = golden_path("t2v-turbo/scheduler-1step")
    folder = tmp_path / "t2v-turbo" / "scheduler-1step"
    folder.mkdir(parents=True)
    record = json.loads((source / "case.json").read_text())
    record["config"]["linear_end"] = 0.02
    (folder / "case.json").write_text(json.dumps(record))
    (folder / "io.safetensors").write_bytes((source / "io.safetensors").read_bytes())
    assert run(ParityRequest([source]), Output()) == ExitCode.OK
    assert run(ParityRequest([folder]), Output()) == 1


def test_selection_by_name_and_component(tmp_path, capsys):
    make_case(tmp_path, "one", "scheduler"), make_case(tmp_path, "two", "vae")
    run(ParityRequest([tmp_path], component="v*"), Output(json=True))
    assert json.loads(capsys.readouterr().out)["case"] == "two"
    with pytest.raises(UsageError, match="none of 2 cases"):
        run(ParityRequest([tmp_path], case="three"), Output())


def test_folders_without_cases_are_named(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match=folder.name):
            list(find_cases(folder))


def test_tables_and_tokenizers_of_the_original(golden_path, capsys):
    names = ["scheduler-1step", "scheduler-4step", "lcm-math", "ddim-solver-50", "ddim-solver-50-scale"]
    folders = [golden_path(f"t2v-turbo/{name}") for name in [*names, "tokenizer-openclip"]]
    code = run(ParityRequest(folders), Output(json=True))
    assert code == 0, capsys.readouterr().out


def whole_model(root, golden_path):
    """Make a case of all three VideoCrafter2 networks in one, out of the three cases of one each."""
    parts = [golden_path(f"t2v-turbo/vc2-{name}") for name in ("text-encoder", "unet-teacher", "vae")]
    config, inputs, outputs = {}, {}, {}
    for part in parts:
        record = json.loads((part / "case.json").read_text())["config"]
        config |= {"unet_config": record} if "model_channels" in record else record
        tensors = load_file(part / "io.safetensors")
        inputs |= {name[3:]: value for name, value in tensors.items() if name.startswith("in.")}
        outputs |= {name[4:]: value for name, value in tensors.items() if name.startswith("out.")}
    config["text_embed_dim"] = json.loads((parts[0] / "case.json").read_text())["config"]["embed_dim"]
    outputs["prompt_embeds"] = outputs.pop("hidden")
    weights = [f"../{part.name}.ckpt" for part in parts]
    record = {"config": config, "weights": weights, "checkpoint_type": "vc2", "tolerance": {"rtol": 1e-3, "atol": 1e-4}}
    folder = make_case(root, "whole", "model.vc2", record, inputs, outputs)
    for part in parts:
        shutil.copy(part / "weights.ckpt", folder.parent / f"{part.name}.ckpt")
    return folder


def test_networks_of_the_original_from_the_command_line(golden_path, tmp_path):
    folders = [whole_model(tmp_path, golden_path), golden_path("t2v-turbo/vc2-text-encoder")]
    command = [sys.executable, "-m", "videogen_cli.cli.main", "eval", "parity", "--json", *map(str, folders)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr + result.stdout
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["case"] for line in lines] == ["whole", "vc2-text-encoder"]
    assert set(lines[0]["outputs"]) == {"prompt_embeds", "eps", "mean", "logvar", "latent", "frames"}
    assert all(item["passed"] for line in lines for item in line["outputs"].values())
