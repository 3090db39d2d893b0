import json
import os
import subprocess
import sys

import pytest

from videogen_cli.config import DeviceConfig
from videogen_cli.errors import DeviceError, UsageError
from videogen_cli.runtime import context, host, precision, software


def run_python(code, **environ):
    """Run code in a fresh process; return its last stdout line and all of stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1], done.stderr


def test_planning_needs_no_mindspore():
    code = (
        "import sys, json; from videogen_cli.config import DeviceConfig; from videogen_cli.runtime import context;"
        "plans = [context.plan(DeviceConfig(target=t, dtype='bf16')) for t in ('cpu', 'ascend')];"
        "assert 'mindspore' not in sys.modules; print(json.dumps(plans))"
    )
    cpu, ascend = json.loads(run_python(code)[0])
    assert (cpu["target"], cpu["dtype"], ascend["target"], ascend["dtype"]) == ("cpu", "fp32", "ascend", "bf16")
    assert any("up-cast" in note for note in cpu["notes"]) and not any("up-cast" in note for note in ascend["notes"])
    assert {"mode", "jit_level", "zero_stage", "sequence_parallel", "recompute", "env", "threads"} <= set(cpu)


def test_environment_layers(monkeypatch):
    monkeypatch.setenv("GLOG_v", "1")
    env = context.plan(DeviceConfig(env={"MS_X": "2"}))["env"]
    assert env["GLOG_v"] == "1", "what the user exported wins over defaults"
    assert env["MS_X"] == "2"
    assert context.plan(DeviceConfig(env={"GLOG_v": "0"}))["env"]["GLOG_v"] == "0", "the config wins over both"
    assert "MS_COMPILER_CACHE_ENABLE" not in env, "MindSpore's cache mixes up graphs unless each has its folder"


def test_ascend_that_is_absent_is_said_quietly():
    code = (
        "from videogen_cli.config import DeviceConfig; from videogen_cli.runtime import context\n"
        "try: context.start(DeviceConfig(target='ascend'))\n"
        "except Exception as error: print(type(error).__name__, error.code, error.what)"
    )
    if context.detect_target() == "ascend":
        pytest.skip("there is an NPU")
    said, noise = run_python(code)
    assert said == "DeviceError 5 no Ascend NPU is present" and noise == ""


def test_start_is_quiet_and_eager_reshape_works():
    code = (
        "from videogen_cli.config import DeviceConfig; from videogen_cli.runtime import context\n"
        "d = DeviceConfig(mode='pynative', compile_cache=False); context.start(d); context.start(d)\n"
        "import mindspore as ms; print(ms.Tensor([[1.0, 2.0]]).reshape((2, -1)).shape)"
    )
    assert run_python(code) == ("(2, 1)", "")


def test_missing_mindspore(monkeypatch):
    monkeypatch.setattr(context, "require_mindspore", software.require_mindspore)
    monkeypatch.setattr(software, "find_mindspore", lambda: None)
    with pytest.raises(DeviceError, match="not installed") as caught:
        software.require_mindspore()
    assert "pip install" in caught.value.hint


def test_wheel_for_another_python(tmp_path):
    (tmp_path / "_c_expression.cpython-37m-aarch64-linux-gnu.so").touch()
    install = software.Install("2.7.1", tmp_path)
    assert "cpython-37m-aarch64" in install.mismatch() and not install.tested
    assert software.find_mindspore().mismatch() is None


def test_threads(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert host.cpu_threads() == 3 and host.cpu_threads(5) == 5
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert host.cgroup_cpus(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert host.cgroup_cpus(tmp_path) is None


def test_unknown_dtype():
    with pytest.raises(UsageError):
        precision.compute_dtype("cpu", "fp8")


def test_compiling_says_so(capsys):
    with context.compiling("the networks"):
        pass
    assert "compiling the networks" in capsys.readouterr().err


def test_the_switch_for_kernels():
    env = context.plan(DeviceConfig(kernels="off"))["env"]
    assert env["VGEN_KERNELS"] == "off"
    assert "VGEN_KERNELS" not in context.plan(DeviceConfig())["env"], "what the user exported stays"


def test_yaml_reads_on_and_off_as_booleans():
    from videogen_cli.config import Layer, ModelConfig, parse_overrides, resolve

    for word in ("on", "off", "auto"):
        values = parse_overrides([f"device.kernels={word}"])
        assert resolve(ModelConfig, [Layer("command line", values)]).config.device.kernels == word
    with pytest.raises(UsageError, match=r"device\.kernels"):
        resolve(ModelConfig, [Layer("command line", parse_overrides(["device.kernels=fast"]))])


NO_COMPILER = """
import sys
from videogen_cli.config import DeviceConfig
from videogen_cli.errors import DeviceError
from videogen_cli.output import Output
from videogen_cli.runtime import context
try:
    context.start(DeviceConfig(kernels=sys.argv[1], compile_cache=False), Output())
except DeviceError as error:
    print(error.code, error)
    sys.exit()
from videogen_cli.runtime import functional as F
print(F.linear.__module__.rpartition(".")[2])
"""


@pytest.mark.parametrize(
    "kernels, said, advised",
    [("auto", "cpu_ops", True), ("off", "cpu_ops", False), ("on", "Install a C++ compiler", False)],
)
def test_without_a_compiler(tmp_path, kernels, said, advised):
    environ = {**os.environ, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path), "CXX": ""}
    command = [sys.executable, "-c", NO_COMPILER, kernels]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert ("there is no C++ compiler" in done.stderr) == advised and "Traceback" not in done.stderr
