"""Help without noise: an option shows what to write after it, a flag nothing, an argument its name alone.

And commands that start fast: only the one that is called is built, and Pydantic, which typer lets read each
word of a command line, is not loaded for those that need no reading.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_name


class _AsItIs:
    """Reads the words that are what they stand for, and leaves the others to typer."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - as typer calls it
        """Return the value of a parameter; what is not given, or a default, is of its type already."""
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        wanted = param.type_descriptor
        if wanted.parameter_info.parser is None:
            if several and wanted.annotation == list[str] and isinstance(value, list | tuple):
                return list(value)
            if not several and wanted.annotation is str and isinstance(value, str):
                return value
            if not several and type(value) in {int, float} and value is param.default:
                return value
        return self._read().coerce(value, param=param, ctx=ctx)


def _plain(param: Any, ctx: Any) -> None:  # noqa: ANN401 - typer brings a click of its own
    """Set how a parameter is read, and what the help shows as its type where a command did not say it."""
    if hasattr(param, "get_runtime_param") and "get_runtime_param" not in vars(param):  # of newer typers
        fast = _AsItIs(param.get_runtime_param)
        param.get_runtime_param = lambda: fast
    if param.param_type_name == "argument":
        name = (param.metavar or param.name.upper()).strip("[.]")
        more = "" if param.nargs == 1 else "..."
        usage = (name if param.required else f"[{name}]") + more
        param.metavar = name + more
        # Typer puts braces around what must be given.
        param.get_usage_pieces = lambda ctx: [usage]  # noqa: ARG005 - as click calls it
        # Typer shows the type of an argument whatever its metavar is.
        param.display_type_rich = lambda ctx: None  # noqa: ARG005 - as typer calls it
        return
    if param.metavar is not None:
        return
    if param.is_flag:
        param.metavar = ""
        return
    shown = param.display_type(ctx).strip("<>") if hasattr(param, "display_type") else ""
    longest = max(param.opts, key=len).lstrip("-")
    param.metavar = shown if "|" in shown else longest.replace("-", "_").upper()


class PlainCommand(TyperCommand):
    """A command whose help is plain."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401
        """Return the parameters, fit to be shown."""
        params = super().get_params(ctx)
        for param in params:
            _plain(param, ctx)
        return params


class PlainGroup(TyperGroup):
    """A group of commands whose help is plain."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401
        """Return the parameters, fit to be shown."""
        params = super().get_params(ctx)
        for param in params:
            _plain(param, ctx)
        return params


def _name_of(entry: Any) -> str:  # noqa: ANN401 - typer's own
    return entry.name or get_command_name(getattr(entry.callback, "__name__", ""))


class PlainTyper(typer.Typer):
    """An application whose commands are `PlainCommand` unless they say otherwise."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - as typer takes them
        super().__init__(**{"cls": PlainGroup, **settings})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Run the command that the command line names; the others are not built."""
        whole = self.registered_commands, self.registered_groups
        given = args[0] if args else kwargs.get("args")
        word = next(iter(sys.argv[1:] if given is None else given), "")
        commands = [entry for entry in whole[0] if _name_of(entry) == word]
        groups = [entry for entry in whole[1] if entry.name == word]
        if commands or groups:
            self.registered_commands, self.registered_groups = commands, groups
        try:
            return super().__call__(*args, **kwargs)
        finally:
            self.registered_commands, self.registered_groups = whole

    def arrange(self, panels: Mapping[str, Sequence[str]]) -> None:
        """Let the help list commands under headings, in the order given; groups of commands come last."""
        under = {name: panel for panel, names in panels.items() for name in names}
        places = {name: number for number, name in enumerate(under)}
        for command in self.registered_commands:
            command.rich_help_panel = under.get(_name_of(command), "Commands")
        for group in self.registered_groups:
            group.rich_help_panel = under.get(_name_of(group), "Commands")
        self.registered_commands.sort(key=lambda entry: places.get(_name_of(entry), len(places)))

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:  # noqa: ANN401
        """Return the decorator that adds a command."""

        def add(function: Any) -> Any:  # noqa: ANN401 - whatever a command is
            given = {"cls": PlainCommand, "help": _in_paragraphs(function.__doc__), **settings}
            return super(PlainTyper, self).command(name, **given)(function)

        return add


def _in_paragraphs(text: str | None) -> str | None:
    """Return a docstring as paragraphs of one line each, which fill a terminal of any width."""
    if text is None:
        return None
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))
