import json
import sys
from pathlib import Path

from videogen_cli.runtime import launch


def test_command_passes_arguments_through():
    argv = ["train", "t2v-turbo", "--stage", "base", "--nproc", "2", "train.max_steps=3", "a b"]
    command = launch.msrun_command(argv, 2, log_dir=Path("/logs"), port=1234, options=["--node_rank=1"])
    script = next(i for i, word in enumerate(command) if word.endswith("worker.py"))
    assert command[script + 1 :] == argv
    assert set(command[1:script]) >= {"--worker_num=2", "--local_worker_num=2", "--master_port=1234", "--join=True"}
    assert command[script - 1] == "--node_rank=1"
    assert Path(command[script]).exists()


def test_workers_share_the_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert launch.worker_environment({"A": "1"}, 4, Path("/f"))["OMP_NUM_THREADS"] == "1"
    assert launch.worker_environment({"A": "1"}, 2, Path("/f"))["OMP_NUM_THREADS"] == "3"
    assert launch.worker_environment({"A": "1"}, 2, Path("/f"))["A"] == "1"


FAKE_MSRUN = """#!{python}
import os, pathlib, subprocess, sys
place = next(i for i, word in enumerate(sys.argv) if word.endswith("worker.py"))
for rank in range(2):
    environ = dict(os.environ, RANK_ID=str(rank))
    subprocess.run([{python!r}, *sys.argv[place:]], env=environ)
"""


def fake_msrun(monkeypatch, tmp_path):
    """An msrun that runs the workers one after the other, which needs no network and no second."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "msrun"
    script.write_text(FAKE_MSRUN.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(tmp_path / "bin" / "python"))


def test_results_of_rank_0_are_printed_once(monkeypatch, tmp_path, capfd):
    fake_msrun(monkeypatch, tmp_path)
    assert launch.launch(["ls", "--json"], 2) == 0
    models = [json.loads(line)["model"] for line in capfd.readouterr().out.splitlines()]
    assert len(models) == len(set(models)) > 0


def test_the_workers_exit_code_comes_back(monkeypatch, tmp_path, capfd):
    fake_msrun(monkeypatch, tmp_path)
    assert launch.launch(["show", "no-such-model"], 2) == 2
    assert "the logs of all processes" in capfd.readouterr().err
