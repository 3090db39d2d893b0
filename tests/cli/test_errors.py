import json
import subprocess
import sys

import pytest

from videogen_cli.cli.failures import report
from videogen_cli.errors import ExitCode, WeightsError
from videogen_cli.output import Output

INFER = ("infer", "t2v-turbo", "--preset", "tiny", "--prompt", "a cat")
WRONG = {
    "verb": (("infr",), "there is no verb 'infr'", "infer"),
    "measurement": (("eval", "adherance", "x"), "there is no verb 'adherance'", "adherence"),
    "option": ((*INFER, "--num-frame", "4"), "there is no option '--num-frame'", "--num-frames"),
    "model": (("infer", "t2v-trubo", "--prompt", "x"), "there is no model 't2v-trubo'", "t2v-turbo"),
    "preset": (("infer", "t2v-turbo", "--preset", "tyni", "--prompt", "x"), "no preset 'tyni'", "tiny"),
    "stage": (("train", "t2v-turbo", "--preset", "tiny", "--stage", "bas"), "no stage 'bas'", "base"),
    "no stage": (("train", "t2v-turbo", "--preset", "tiny"), "which stage", "base"),
    "key": ((*INFER, "sample.num_frame=4"), "sample.num_frame", "sample.num_frames"),
    "not a pair": ((*INFER, "num_frames"), "not of the form key=value", "Example"),
    "value": ((*INFER, "sample.num_frames=many"), "sample.num_frames", "many"),
    "number": ((*INFER, "--num-frames", "many"), "--num-frames", "--help"),
    "zero": ((*INFER, "--num-frames", "0"), "sample.num_frames", "at least 1"),
    "word": ((*INFER, "--format", "avi"), "sample.format", "mp4"),
    "input": ((*INFER, "--input", "sketch=a.png"), "no input 'sketch'", "no inputs"),
    "checkpoint type": (("convert", "--type", "vc3", "--source", "a", "--target", "b.safetensors"), "'vc3'", "vc2"),
    "missing argument": (("convert", "--type", "vc2"), "--source", "--help"),
    "config file": ((*INFER, "-c", "nowhere.yaml"), "nowhere.yaml", "no such"),
    "parts": (("show", "t2v-turbo", "--components", "--checkpoints"), "--components or --checkpoints", "not both"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_names_the_mistake_and_what_is_near(vgen, case):
    arguments, mistake, help_ = WRONG[case]
    done = vgen(*arguments)
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert mistake in done.stderr and help_ in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout


@pytest.mark.parametrize(
    "arguments, content, code",
    [
        (("--prompts-file", "missing.csv"), None, ExitCode.DATA),
        (("--prompts-file", "p.csv"), "text\na cat\n", ExitCode.DATA),
        (("--prompts-file", "p.csv"), "prompt\n \n", ExitCode.DATA),
        (("--prompt", " "), None, ExitCode.DATA),
        ((), None, ExitCode.USAGE),
        (("--prompt", "a", "weights.unet=nowhere.safetensors"), None, ExitCode.WEIGHTS),
    ],
)
def test_bad_input_has_its_exit_code_and_starts_no_device(vgen, tmp_path, arguments, content, code):
    if content:
        (tmp_path / "p.csv").write_text(content)
    done = vgen("infer", "t2v-turbo", "--preset", "tiny", *arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_json_errors_are_one_object_on_stderr(vgen):
    done = vgen("show", "t2v-trubo", "--json")
    assert not done.stdout
    error = json.loads(done.stderr)["error"]
    assert error["code"] == 2 and "t2v-turbo" in error["hint"]


@pytest.mark.parametrize("how", ["--debug", "VGEN_DEBUG"])
def test_traceback_only_when_asked_for(vgen, how):
    done = vgen("show", "nothing", "--debug") if how == "--debug" else vgen("show", "nothing", VGEN_DEBUG="1")
    assert done.returncode == 2 and "Traceback" in done.stderr
    assert done.stderr.rstrip().splitlines()[-2].startswith("error: there is no model")


FAILURES = [
    (KeyboardInterrupt(), ExitCode.INTERRUPTED, "interrupted"),
    (MemoryError(), ExitCode.MEMORY, "out of memory"),
    (RuntimeError("Device(id:0) memory isn't enough and alloc failed"), ExitCode.MEMORY, "out of memory"),
    (OSError(28, "No space left on device", "/x/y"), ExitCode.DISK, "/x/y"),
    (ModuleNotFoundError("No module named 'mindspore'", name="mindspore"), ExitCode.DEVICE, "not installed"),
    (WeightsError("is broken", where="a.ckpt"), ExitCode.WEIGHTS, "a.ckpt: is broken"),
    (ZeroDivisionError("division by zero"), ExitCode.BUG, "bug in vgen: ZeroDivisionError: division by zero"),
    (SystemExit(143), ExitCode.TERMINATED, ""),
]


@pytest.mark.parametrize("error, code, text", FAILURES, ids=lambda value: type(value).__name__)
def test_every_failure_has_its_exit_code(capsys, error, code, text):
    assert report(error, Output()) == code
    printed = capsys.readouterr()
    assert text in printed.err and not printed.out and "Traceback" not in printed.err


def test_a_reader_that_leaves_is_no_failure():
    command = f'"{sys.executable}" -m videogen_cli.cli.main show t2v-turbo | true; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr
