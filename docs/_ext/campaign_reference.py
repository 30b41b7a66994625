"""Writes into the documentation what the program knows of itself: models, commands, tables, states.

A page holds ``<!-- generated: NAME -->`` where the text of `GENERATED[NAME]` belongs. It is put there when
Sphinx reads the page, so nothing that is generated lies in the repository.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import typer
from model_reference import action_reference, campaign_reference, prose, row, rules_reference, site_reference

from merian_campaign.app import app as program
from merian_campaign.domain import states
from merian_campaign.domain.failures.failure_rules import CONDITIONS, FailureRule
from merian_campaign.domain.failures.rule_remedy import RuleRemedy
from merian_campaign.domain.failures.rules import BUILT_IN
from merian_campaign.store import migrations, schema

ROOT = Path(__file__).resolve().parents[2]

_MARK = re.compile(r"<!-- generated: ([a-z-]+) -->")
_COMMENT = re.compile(r"COMMENT ON COLUMN quantum_status\.\"?(\w+)\"? IS\s+'((?:[^']|'')*)'")

# -- commands ------------------------------------------------------------------------------------------


def command_reference() -> str:
    """Return the reference of the command line, from what ``--help`` says."""
    return "\n".join(_command(words, command) for words, command in commands())


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command that is not hidden, with its name in full."""
    top = typer.main.get_command(program)
    for name, command in sorted(top.commands.items()):  # type: ignore[attr-defined]
        if command.hidden:
            continue
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from (
                (f"{name} {below}", inner[below]) for below in sorted(inner) if not inner[below].hidden
            )


def _command(words: str, command: Any) -> str:  # noqa: ANN401 - the parser's own class
    shown = [
        entry for entry in command.params if not getattr(entry, "hidden", False) and entry.name != "help"
    ]
    arguments = [entry for entry in shown if entry.param_type_name == "argument"]
    options = [entry for entry in shown if entry.param_type_name == "option"]
    usage = " ".join(
        [f"merian-campaign {words}", *map(_metavar, arguments), *(["[OPTIONS]"] if options else [])]
    )
    help_text = inspect.cleandoc(command.help or "")
    lines = [
        f"(command-{words.replace(' ', '-')})=",
        f"## {words}",
        "",
        "```text",
        usage,
        "```",
        "",
        help_text,
        "",
    ]
    if arguments or options:
        lines += ["| Argument, option | Meaning |", "|---|---|"]
    lines += [row(f"`{_metavar(entry)}`", _meaning(entry)) for entry in arguments]
    lines += [row(_spelling(entry), _meaning(entry)) for entry in options]
    return "\n".join([*lines, ""])


def _metavar(entry: Any) -> str:  # noqa: ANN401
    name = entry.metavar or str(entry.name).rstrip("_").upper()
    return name if entry.required or name.startswith("[") else f"[{name}]"


def _spelling(entry: Any) -> str:  # noqa: ANN401
    names = ", ".join(f"`{name}`" for name in (*entry.opts, *entry.secondary_opts))
    if entry.is_flag:
        return names
    kind = getattr(getattr(entry, "type_descriptor", None), "annotation", None)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return f"{names} {', '.join(kind)}"
    return f"{names} {entry.metavar or str(entry.name).upper()}"


def _meaning(entry: Any) -> str:  # noqa: ANN401
    text = str(entry.help or "").replace("*", r"\*").replace("<", r"\<")
    default = getattr(entry.default, "value", entry.default)
    takes_value = entry.param_type_name == "option" and not entry.is_flag
    if takes_value and default not in (None, "", (), []) and "efault" not in text:
        text += f" Default: `{default}`."
    return text


# -- database ------------------------------------------------------------------------------------------


def view_columns() -> dict[str, str]:
    """Return the columns of ``quantum_status`` with what the migrations say of them."""
    found: dict[str, str] = {}
    folder = Path(migrations.__file__).parent / "versions"
    for file in sorted(folder.glob("*.sql")):
        for name, text in _COMMENT.findall(file.read_text(encoding="utf-8")):
            found[name] = text.replace("''", "'")
    return found


def view_reference() -> str:
    """Return the columns of ``quantum_status``."""
    rows = [row(f"`{name}`", f"{text}.") for name, text in view_columns().items()]
    return "\n".join(["| Column | Meaning |", "|---|---|", *rows, ""])


def table_reference() -> str:
    """Return the tables with their columns."""
    rows = [
        row(f"`{table.name}`", f"{table.comment}.", ", ".join(f"`{column.name}`" for column in table.columns))
        for table in schema.metadata.sorted_tables
    ]
    return "\n".join(["| Table | One row | Columns |", "|---|---|---|", *rows, ""])


# -- states --------------------------------------------------------------------------------------------


def _members(kind: type[StrEnum]) -> dict[str, str]:
    """Return the members of an enumeration with the text that stands below each."""
    tree = ast.parse(inspect.getsource(kind))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    found: dict[str, str] = {}
    for before, node in itertools.pairwise(body):
        if (
            isinstance(before, ast.Assign)
            and isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
        ):
            found[str(ast.literal_eval(before.value))] = str(node.value.value)
    return found


def states_reference() -> str:
    """Return what the states of campaigns, groups, submissions and quanta mean."""
    kinds = {
        "A campaign": states.CampaignState,
        "A group": states.GroupState,
        "A submission": states.SubmissionState,
        "How a submission ended": states.SubmissionOutcome,
        "A quantum": states.QuantumState,
    }
    lines = ["| Of | State | Meaning |", "|---|---|---|"]
    for words, kind in kinds.items():
        lines += [row(words, f"`{value}`", prose(text)) for value, text in _members(kind).items()]
    return "\n".join([*lines, ""])


def verdict_reference() -> str:
    """Return what verdicts mean."""
    rows = [row(f"`{value}`", prose(text)) for value, text in _members(states.Verdict).items()]
    return "\n".join(["| Verdict | Meaning |", "|---|---|", *rows, ""])


def remedy_reference() -> str:
    """Return what remedies of failure rules do."""
    rows = [row(f"`{value}`", prose(text)) for value, text in _members(RuleRemedy).items()]
    return "\n".join(["| Remedy | What is done |", "|---|---|", *rows, ""])


def built_in_rules() -> str:
    """Return the failure rules that always apply."""
    rows = [row(_conditions(rule), f"`{rule.verdict}`", rule.note) for rule in BUILT_IN]
    return "\n".join(["| Condition | Verdict | Note |", "|---|---|---|", *rows, ""])


def _conditions(rule: FailureRule) -> str:
    found = rule.model_dump(exclude_none=True, include=set(CONDITIONS))
    return ", ".join(f"{name}: `{value}`" for name, value in found.items())


# -- Sphinx --------------------------------------------------------------------------------------------


PAGES = {
    "architecture": "ARCHITECTURE.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "security": "SECURITY.md",
    "test-cluster": "tests/slurm/README.md",
}
"""Pages that lie where those look for them who have the checkout before them."""

_ABSENT = "# {title}\n\nNothing is said here yet.\n"


def checkout_page(name: str) -> str:
    """Return a page of the checkout, with its links as they are among the pages of the documentation."""
    file = ROOT / PAGES[name]
    if not file.is_file():
        return _ABSENT.format(title=name.capitalize())
    text = file.read_text(encoding="utf-8").replace("](docs/", "](")
    for page, path in PAGES.items():
        text = re.sub(rf"\]\({re.escape(path)}([)#])", rf"]({page}.md\1", text)
    return text


GENERATED: dict[str, Callable[[], str]] = {
    "actions": action_reference,
    "built-in-rules": built_in_rules,
    "campaign": campaign_reference,
    "commands": command_reference,
    "remedies": remedy_reference,
    "rules": rules_reference,
    "site": site_reference,
    "states": states_reference,
    "tables": table_reference,
    "verdicts": verdict_reference,
    "view": view_reference,
    **{name: partial(checkout_page, name) for name in PAGES},
}


def fill(text: str) -> str:
    """Return a page with what is generated put in."""
    return _MARK.sub(lambda match: GENERATED[match[1]](), text)


def setup(sphinx: Any) -> dict[str, Any]:  # noqa: ANN401 - Sphinx need not be there for the tests
    """Register the extension."""

    def read(app: Any, page: str, source: list[str]) -> None:  # noqa: ANN401
        source[0] = fill(source[0])
        if page in PAGES:
            app.env.note_dependency(str(ROOT / PAGES[page]))

    def outdated(_app: Any, env: Any, *_changes: Any) -> list[str]:  # noqa: ANN401
        """Return the pages whose text depends on the program, which Sphinx does not watch."""
        return [page for page in env.found_docs if _MARK.search(Path(env.doc2path(page)).read_text("utf-8"))]

    sphinx.connect("source-read", read)
    sphinx.connect("env-get-outdated", outdated)
    return {"version": "1", "parallel_read_safe": True}
