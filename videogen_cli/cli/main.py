"""The ``vgen`` command: finds the verb, runs it, and turns every failure into a message and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperGroup

from videogen_cli import __version__
from videogen_cli.errors import DeviceError, DiskError, ExitCode, MemoryLimitError, VgenError, did_you_mean

# name -> (where its function is, what it does). The modules are imported when a verb is used, not to list them.
VERBS = {
    "infer": ("videogen_cli.cli.infer:infer", "Make videos from prompts."),
    "train": ("videogen_cli.cli.train:train", "Train one stage of a model, or go on with a run."),
    "convert": ("videogen_cli.cli.convert:convert", "Convert a published checkpoint, accounting for every key."),
    "eval": ("videogen_cli.cli.eval:GROUP", "Measure results and prove parity with the originals."),
    "validate": ("videogen_cli.cli.validate:validate", "Check a dataset, with a reason for every bad row."),
    "ls": ("videogen_cli.cli.ls:ls", "List models, presets, and stages."),
    "show": ("videogen_cli.cli.show:show", "Show a model's config and where each value comes from."),
    "doctor": ("videogen_cli.cli.doctor:doctor", "Check this machine and say what is missing."),
}

EPILOG = """
Start here:

  vgen infer t2v-turbo --prompt "a red circle moving right"

  vgen ls

  vgen show t2v-turbo --preset tiny

  vgen VERB --help

Exit codes: 0 done, 1 our bug, 2 usage or config, 3 input data, 4 weights or conversion, 5 device or environment,
6 out of memory, 7 non-finite numbers, 8 disk, 9 network, 130 interrupted, 143 stopped by SIGTERM after saving.
"""

_OUT_OF_MEMORY = ("out of memory", "memory not enough", "memory isn't enough", "malloc failed", "alloc memory failed")


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are run; listing them imports nothing."""

    verbs: ClassVar = VERBS
    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order of the table."""
        return list(self.verbs)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb's command, or only its name and help while verbs are being listed."""
        if cmd_name not in self.verbs:
            return None
        reference, summary = self.verbs[cmd_name]
        if self._listing:
            return typer.core.TyperCommand(cmd_name, help=summary)
        return make_command(cmd_name, reference)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help without importing any verb."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


def make_command(name: str, reference: str) -> Any:
    """Import a verb's function (or app) and make it a command; its module's ``EPILOG`` holds the examples."""
    from importlib import import_module

    module_name, _, attribute = reference.partition(":")
    module = import_module(module_name)
    target = getattr(module, attribute)
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    app = typer.Typer(add_completion=False)
    app.command(name=name, epilog=getattr(module, "EPILOG", None), no_args_is_help=name != "ls")(target)
    return typer.main.get_command(app)


app = typer.Typer(
    cls=LazyGroup,
    name="vgen",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"vgen {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, sample, convert and measure text-to-video models on MindSpore: Ascend NPUs, or a laptop's CPU."""


def main(arguments: list[str] | None = None) -> None:
    """Run ``vgen`` and leave with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments or bool(os.environ.get("VGEN_DEBUG"))
    try:
        code = typer.main.get_command(app).main(args=arguments, prog_name="vgen", standalone_mode=False) or 0
    except BaseException as error:
        if debug and not isinstance(error, (SystemExit, KeyboardInterrupt)) and not _is_click_usage(error):
            import traceback

            traceback.print_exc()
        code = report(error, arguments)
    _flush()
    sys.exit(int(code))


def report(error: BaseException, arguments: list[str]) -> int:
    """Print what went wrong on stderr and return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else ExitCode.BUG
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        _say("interrupted")
        return ExitCode.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.OK
    if _is_click_usage(error):
        _say(_usage_text(error, arguments))
        return ExitCode.USAGE
    known = error if isinstance(error, VgenError) else _translate(error)
    if known is None:
        _say(f"error: this is a bug in vgen: {type(error).__name__}: {_first_line(error)}")
        _say("  Please report it with the command and what --debug prints.")
        return ExitCode.BUG
    _say(f"error: {known}")
    return known.code


def _translate(error: BaseException) -> VgenError | None:
    """Recognise failures of the machine in exceptions that are not ours."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY):
        hint = "Use fewer frames, a smaller size or batch, device.recompute=true, or a smaller dtype."
        return MemoryLimitError("out of memory", hint=hint)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError("the disk is full", where=error.filename, hint="Free some space and run again.")
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "mindspore":
        return DeviceError("MindSpore is not installed", hint="Run 'pip install mindspore', then 'vgen doctor'.")
    return None


def _is_click_usage(error: BaseException) -> bool:
    # typer carries its own copy of click in newer versions, so the classes are told by name.
    return any(kind.__name__ == "ClickException" for kind in type(error).__mro__)


def _usage_text(error: Any, arguments: list[str]) -> str:
    text = f"error: {error.format_message()}"
    verb = next((word for word in arguments if not word.startswith("-")), "")
    if "No such command" in text and verb not in VERBS:
        return f"error: there is no verb '{verb}'\n  {did_you_mean(verb, VERBS)}"
    path = getattr(getattr(error, "ctx", None), "command_path", "vgen")
    return f"{text}\n  See '{path} --help'."


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
