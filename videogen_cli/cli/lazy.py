"""Groups of verbs whose modules are imported when a verb is run, not when verbs are listed."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


class LazyGroup(TyperGroup):
    """A group made from a table: verb -> ("module:function", what it does)."""

    verbs: ClassVar[dict[str, tuple[str, str]]] = {}
    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order of the table."""
        return list(self.verbs)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb's command, or only its name and help while verbs are being listed."""
        if cmd_name not in self.verbs:
            return None
        reference, summary = self.verbs[cmd_name]
        return TyperCommand(cmd_name, help=summary) if self._listing else make_command(cmd_name, reference)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help without importing any verb."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


def make_command(name: str, reference: str) -> Any:
    """Import a verb's function (or app) and make it a command; its module's ``EPILOG`` holds the examples.

    A verb that cannot do anything without an argument shows its help when it is given none.
    """
    module_name, _, attribute = reference.partition(":")
    module = import_module(module_name)
    target = getattr(module, attribute)
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    required = any(p.default is inspect.Parameter.empty for p in inspect.signature(target).parameters.values())
    app = typer.Typer(add_completion=False)
    app.command(name=name, epilog=getattr(module, "EPILOG", None), no_args_is_help=required)(target)
    return typer.main.get_command(app)
