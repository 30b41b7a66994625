"""Help without noise: an option shows what to write after it, a flag nothing, an argument its name alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


def _plain(param: Any, ctx: Any) -> None:  # noqa: ANN401 - typer brings a click of its own
    """Set what the help shows as the type of a parameter, where a command did not say it itself."""
    if param.param_type_name == "argument":
        if param.metavar is None and param.nargs == 1:
            param.metavar = param.name.upper()
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


class PlainTyper(typer.Typer):
    """An application whose commands are `PlainCommand` unless they say otherwise."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - as typer takes them
        super().__init__(**{"cls": PlainGroup, **settings})

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:  # noqa: ANN401
        """Return the decorator that adds a command."""
        return super().command(name, **{"cls": PlainCommand, **settings})
