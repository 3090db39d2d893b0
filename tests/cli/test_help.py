import subprocess
import sys

import pytest

from videogen_cli.cli.eval import EvalGroup
from videogen_cli.cli.main import Verbs
from videogen_cli.registry import spec

VERBS = [(verb,) for verb in Verbs.verbs] + [("eval", what) for what in EvalGroup.verbs]


@pytest.mark.parametrize("verb", [(), *VERBS], ids=" ".join)
def test_help_shows_examples(vgen, verb):
    done = vgen(*verb, "--help")
    assert done.returncode == 0 and not done.stderr
    assert f"vgen {' '.join(verb)}".strip() in done.stdout.partition("Usage:")[2]
    if verb:
        assert f"vgen {' '.join(verb)}" in done.stdout.partition("Examples:")[2]


def test_help_names_every_verb_and_exit_code(vgen):
    shown = vgen("--help").stdout
    assert all(f"{verb} " in shown for verb in Verbs.verbs)
    assert all(f"{code} " in shown for code in (*range(10), 130, 143))


@pytest.mark.parametrize("verb", [(), *VERBS], ids=" ".join)
def test_help_imports_little(verb):
    heavy = {"mindspore", "scipy", "av", "decord", "tokenizers", "omegaconf", "PIL"} | (
        {"numpy"} if not verb else set()
    )
    code = (
        "import sys; from videogen_cli.cli.main import main\n"
        f"try: main({[*verb, '--help']})\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = done.stderr.split()
    assert not heavy & set(imported)
    assert len(imported) < (350 if not verb else 700), "each costs a fraction of a millisecond"


def test_version(vgen):
    from videogen_cli import __version__

    assert vgen("--version").stdout == f"vgen {__version__}\n"


@pytest.mark.parametrize("verb", [(), ("infer",), ("eval",), ("convert",)], ids=" ".join)
def test_nothing_said_shows_help_and_is_a_usage_error(vgen, verb):
    done = vgen(*verb)
    assert done.returncode == 2
    assert "Usage:" in done.stdout and not done.stderr


def completions(vgen, words):
    done = vgen(_VGEN_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
    return done.stdout.split()


def test_verbs_models_presets_stages_and_keys_complete(vgen):
    presets = spec("t2v-turbo").presets()
    assert completions(vgen, "vgen in") == ["infer"]
    assert completions(vgen, "vgen infer t2v") == ["t2v-turbo"]
    assert completions(vgen, "vgen infer t2v-turbo --preset v") == [n for n in presets if n.startswith("v")]
    assert completions(vgen, "vgen train t2v-turbo --stage ba") == ["base"]
    assert completions(vgen, "vgen infer t2v-turbo sample.num_f") == ["sample.num_frames="]
    assert completions(vgen, "vgen download t2v-turbo --name vc2-l") == ["vc2-lora"]
