"""Commands in the documentation and in the help are ones that vgen understands, and links lead somewhere."""

import json
import re
import shlex
import tarfile
from importlib import import_module
from pathlib import Path

import pytest
import typer

from videogen_cli.cli.eval import EvalGroup
from videogen_cli.cli.failures import report
from videogen_cli.cli.lazy import make_command
from videogen_cli.cli.main import Verbs, app
from videogen_cli.config import leaf_keys
from videogen_cli.data.tables import read_rows
from videogen_cli.output import Output
from videogen_cli.registry import spec
from videogen_cli.runners.convert import RAW, find_types

ROOT = Path(__file__).parents[2]
MODEL = re.compile(r"vgen (?!eval ).* t2v-turbo")  # eval reads what others have made
COMMAND = re.compile(r"vgen (infer|train|show|download|validate|eval|convert .*--source) \S+ .*")  # outside of blocks
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands_of_pages():
    """Yield the commands in blocks of code, in tables and in sentences."""
    for page in PAGES:
        text = page.read_text()
        blocks = "".join(re.findall(r"```bash\n(.*?)```", text, re.S)).replace("\\\n", " ")
        lines = [line for line in blocks.splitlines() if line.startswith("vgen ")]
        for line in [*lines, *(span for span in re.findall(r"`([^`\n]+)`", text) if COMMAND.match(span))]:
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
def test_command_on_a_model_plans(command, tmp_path, monkeypatch, capsys):
    """Everything is resolved, and nothing missing once the files are there that the command names."""
    monkeypatch.chdir(tmp_path)
    verb, *rest = words(command)
    for path in re.findall(r"weights\.\w+=((?!hub:|asset:)\S+)", " ".join(rest)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    dry = {"infer": ["--dry-run", "--json"], "train": ["--dry-run", "--json"], "download": ["--dry-run"]}.get(verb, [])
    typer.main.get_command(app).main([verb, *rest, *dry], "vgen", standalone_mode=False)
    if "--json" in dry:
        planned = json.loads(capsys.readouterr().out)
        assert planned["verb"] == verb and planned["files"]["missing"] == []


@pytest.mark.parametrize("command", [c for c in commands_of_pages() if c.values[0].startswith("vgen convert ")])
def test_conversion_names_a_type_there_is(command):
    arguments = words(command)
    assert "--help" in arguments or (kind := arguments[arguments.index("--type") + 1]) == RAW or find_types(kind)


@pytest.mark.parametrize("name", ["coming-from.md", "t2v-turbo.md"])
def test_page_of_t2v_turbo_names_keys_and_options_there_are(name):
    text, model = (ROOT / "docs" / name).read_text(), spec("t2v-turbo")
    keys = {*leaf_keys(model.config), *(f"weights.{part}" for part in model.weight_names)}
    known = keys | {key.rpartition(".")[0] for key in keys}
    sections = "|".join({key.partition(".")[0] for key in keys if "." in key})
    named = set(re.findall(rf"(?<![\w./-])((?:{sections})\.[a-z_0-9.]*[a-z_0-9])(?=[=`\s])", text))
    assert len(named) > 10
    assert {key for key in named - known if not key.endswith((".safetensors", ".jsonl"))} == set()
    rows = [row.split(" | ") for row in re.findall(r"^\| (.*) \|$", text, re.M)]
    ours = {option for row in rows if len(row) == 3 for option in re.findall(r"`(--[\w-]+)", row[1])}
    verbs = [make_command(verb, Verbs.verbs[verb][0]) for verb in ("infer", "train")]
    assert ours <= {option for verb in verbs for item in verb.params for option in item.opts}


def test_shards_become_a_data_set(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "coming-from.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shards").mkdir()
    with tarfile.open("shards/00000.tar", "w") as archive:
        for name, content in (("00007.mp4", "a video"), ("00007.txt", 'a "cat", dancing\n'), ("00007.json", "{}")):
            (tmp_path / name).write_text(content)
            archive.add(name)
    exec(code, {})
    good, bad = read_rows(tmp_path / "webvid.csv")
    assert bad == [] and [(row.video.name, row.caption) for row in good] == [("00007.mp4", 'a "cat", dancing')]
    assert good[0].video.read_text() == "a video"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    targets = [link.partition("#") for link in links if "://" not in link]
    assert [path for path, _, _ in targets if not (page.parent / path).exists()] == []
    for path, _, anchor in targets:
        headings = re.findall(r"^#+ (.*)$", (page.parent / path if path else page).read_text(), re.M) if anchor else []
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, f"{path} has no heading '{anchor}'"
