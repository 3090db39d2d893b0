"""Commands in the documentation and in the help are ones that vgen understands, and links lead somewhere."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import typer
from vgen_process import run_vgen

from videogen_cli.cli.eval import EvalGroup
from videogen_cli.cli.failures import report
from videogen_cli.cli.lazy import make_command
from videogen_cli.cli.main import Verbs, app
from videogen_cli.output import Output

ROOT = Path(__file__).parents[2]
MODEL = re.compile(r"vgen (?!eval ).* t2v-turbo")  # eval reads what others have made
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands_of_pages():
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.S):
            for line in block.splitlines():
                if line.startswith("vgen "):
                    yield pytest.param(line, id=f"{page.name}: {line[5:45]}")


def commands_of_help():
    references = [reference for reference, _ in (*Verbs.verbs.values(), *EvalGroup.verbs.values())]
    for module in ("videogen_cli.cli.main", *(reference.partition(":")[0] for reference in references)):
        for line in getattr(import_module(module), "EPILOG", "").splitlines():
            if line.startswith("  ") and "vgen " in line and "VERB" not in line:
                yield pytest.param(line.strip(), id=f"help: {line.strip()[:45]}")


def words(command):
    """Return the arguments of the vgen command in a shell line: no pipes, no redirections, no second command."""
    command = re.split(r" \| (?!not)| > | && ", command[command.index("vgen ") :])[0]
    return shlex.split(command)[1:]


@pytest.mark.parametrize("command", [*commands_of_pages(), *commands_of_help()])
def test_command_parses(command, capsys):
    group, arguments = typer.main.get_command(app), words(command)
    context = group.make_context("vgen", list(arguments), resilient_parsing=True)
    name, *rest = arguments
    if name.startswith("-"):
        return
    if name == "eval":
        name, *rest = rest
        verb = make_command(name, EvalGroup.verbs[name][0])
    else:
        verb = group.get_command(context, name)
    if rest == ["--help"]:
        return
    try:
        verb.make_context(name, rest)
    except Exception as error:
        report(error, Output())
        pytest.fail(capsys.readouterr().err)


@pytest.mark.parametrize("command", [c for c in commands_of_pages() if MODEL.match(c.values[0])])
def test_command_on_a_model_plans(command):
    arguments = words(command)
    done = run_vgen(*arguments, *(["--dry-run"] if arguments[0] in ("infer", "train") else []))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
