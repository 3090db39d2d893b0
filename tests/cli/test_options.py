"""The options of every verb, frozen: scripts people wrote must not break unnoticed."""

import pytest
import typer

from videogen_cli.cli.eval import GROUP
from videogen_cli.cli.main import app

COMMON = "model overrides --preset --config -c --seed --output-dir --nproc --offline --dry-run --json --debug"
OPTIONS = {
    "infer": f"{COMMON} --prompt --prompts-file --num-inference-steps --guidance-scale --num-frames --height --width"
    " --fps --num-videos --negative-prompt --input --save-latents --from-latents --format",
    "train": f"{COMMON} --stage --resume",
    "convert": "--type --source --target --check --dtype --model --component --params --preset --set --root --export"
    " --dry-run --json --debug",
    "download": "model overrides --preset --stage --name --config -c --mirror --offline --dry-run --json --debug",
    "validate": "dataset --root --timeout --workers --json --debug",
    "ls": "--json --debug",
    "show": "model overrides --preset --stage --config -c --components --checkpoints --json --debug",
    "doctor": "--run --json --debug",
}
MEASUREMENTS = {
    "adherence": "folder --timeout --workers --json --debug",
    "parity": "folders --component --case --mode --json --debug",
    "videos": "folders --model --preset --config -c --set --scorers --cards --vbench --timeout --workers --offline"
    " --output-dir --json --debug",
}


def options(group, verb):
    command = group.get_command(None, verb)
    return {name for parameter in command.params if parameter.name != "help" for name in parameter.opts}


@pytest.mark.parametrize("verb", OPTIONS)
def test_options_of_a_verb(verb):
    assert options(typer.main.get_command(app), verb) == set(OPTIONS[verb].split())


@pytest.mark.parametrize("what", MEASUREMENTS)
def test_options_of_a_measurement(what):
    assert options(typer.main.get_command(GROUP), what) == set(MEASUREMENTS[what].split())


def test_no_verb_is_missing_here():
    assert {*OPTIONS, "eval"} == set(typer.main.get_command(app).list_commands(None))
    assert set(MEASUREMENTS) == set(typer.main.get_command(GROUP).list_commands(None))
