"""Writes into the documentation what the program knows of itself: models, commands, tables, states.

A page holds ``<!-- generated: NAME -->`` where the text of `GENERATED[NAME]` belongs. It is put there when
Sphinx reads the page, so nothing that is generated lies in the repository.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from merian_campaign.app import app as program
from merian_campaign.domain import states
from merian_campaign.domain.failures.failure_rules import CONDITIONS, FailureRule, FailureRules
from merian_campaign.domain.failures.rule_remedy import RuleRemedy
from merian_campaign.domain.failures.rules import BUILT_IN
from merian_campaign.domain.spec.actions import ACTIONS
from merian_campaign.domain.spec.site import SiteOptions
from merian_campaign.files.schema import campaign_schema
from merian_campaign.store import migrations, schema

ROOT = Path(__file__).resolve().parents[2]

_MARK = re.compile(r"<!-- generated: ([a-z-]+) -->")
_COMMENT = re.compile(r"COMMENT ON COLUMN quantum_status\.\"?(\w+)\"? IS\s+'((?:[^']|'')*)'")

_TITLES = {
    "campaign": "The file",
    "Collections": "`collections`",
    "Limits": "`limits`",
    "Afterburner": "`afterburner`",
    "Discover": "`tracts`, discovered",
    "Stack": "`stack`",
    "BpsStep": "A step with `pipeline`",
    "After": "An entry of `after`",
    "Select": "`select`",
    "Resources": "`resources`, by task label",
    "Everything": "`group_by: everything`",
    "ByTract": "`group_by: tract`",
    "ByDayObs": "`group_by` night",
    "Chunks": "`group_by` exposure or visit",
    "Lists": "`group_by` lists",
    "ActionStep": "A step with `action`",
    "SiteOptions": "The top of a site file",
    "DriverOptions": "`driver_options`",
    "Larger": "An entry of `larger`",
    "FailureRules": "The file of rules",
    "FailureRule": "A rule",
}
"""In which order models appear, and under which heading; a new model comes last, under its own name."""


# -- models --------------------------------------------------------------------------------------------


def campaign_reference() -> str:
    """Return the reference of campaign files."""
    found = campaign_schema()
    return _models({"campaign": found, **found["$defs"]}, level=2)


def action_reference() -> str:
    """Return the reference of the arguments of butler actions."""
    parts = []
    for name, model in sorted(ACTIONS.items()):
        entry = model.model_json_schema()
        parts.append(_model(entry, heading=f"### `{name}`", anchor=f"action-{name}"))
    return "\n".join(parts)


def site_reference() -> str:
    """Return the reference of the manager's own keys in site files."""
    found = SiteOptions.model_json_schema()
    others = {name: entry for name, entry in found["$defs"].items() if name != "Stack"}
    return _models({"SiteOptions": found, **others}, level=2)


def rules_reference() -> str:
    """Return the reference of files of failure rules."""
    found = FailureRules.model_json_schema()
    others = {name: found["$defs"][name] for name in found["$defs"] if name not in {"Verdict", "RuleRemedy"}}
    return _models({"FailureRules": found, **others}, level=3)


def _models(found: Mapping[str, dict[str, Any]], *, level: int) -> str:
    order = [name for name in _TITLES if name in found]
    order += sorted(name for name in found if name not in _TITLES)
    headings = {name: f"{'#' * level} {_TITLES.get(name, f'`{name}`')}" for name in order}
    return "\n".join(_model(found[name], heading=headings[name], anchor=_anchor(name)) for name in order)


def _anchor(name: str) -> str:
    return f"model-{name.lower()}"


def _model(entry: dict[str, Any], *, heading: str, anchor: str) -> str:
    required = set(entry.get("required", ()))
    lines = [f"({anchor})=", heading, "", _prose(entry.get("description", "")), ""]
    if entry.get("properties"):
        lines += ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    for name, field in entry.get("properties", {}).items():
        default = "required" if name in required else _default(field)
        meaning = _prose(field.get("description", ""))
        lines.append(_row(f"`{name}`", _words(field), default, meaning))
    return "\n".join([*lines, ""])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _prose(text: str) -> str:
    """Return a docstring's text as Markdown: reStructuredText's double backquotes become single ones."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.sub(r"``([^`]+)``", r"`\1`", paragraph).replace("*", r"\*")


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, dict):
        return "its own"
    return f"`{json.dumps(value) if not isinstance(value, str) else value}`"


def _words(field: Mapping[str, Any]) -> str:
    """Return in words what a value may be."""
    if _takes_ids(field):
        return "ids: a number, a range `first-last`, a list of these, or `{file: PATH}`"
    for key in ("anyOf", "oneOf"):
        if key in field:
            kinds = [_words(entry) for entry in field[key] if entry.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "$ref" in field:
        return _link(str(field["$ref"]).rpartition("/")[2])
    if "const" in field:
        return f"`{json.dumps(field['const']).strip('"')}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    return _plain(field)


def _plain(field: Mapping[str, Any]) -> str:
    kind = field.get("type")
    if kind in {"integer", "number"}:
        return f"{'whole number' if kind == 'integer' else 'number'}{_range(field)}"
    if kind == "array":
        return f"list of {_words(field.get('items', {}))}"
    if kind == "object":
        inner = next(iter(field.get("patternProperties", {}).values()), field.get("additionalProperties"))
        return f"mapping of names to {_words(inner)}" if isinstance(inner, dict) and inner else "mapping"
    if kind == "string":
        return "name" if "A-Za-z" in field.get("pattern", "") else "text"
    return "`true`, `false`" if kind == "boolean" else "any"


def _link(name: str) -> str:
    if name == "Verdict":
        return "[verdict](retries.md#verdicts)"
    if name == "RuleRemedy":
        return "[remedy](retries.md#remedies)"
    page = "campaign-reference.md" if name == "Stack" else ""
    return f"[{_TITLES.get(name, name)}]({page}#{_anchor(name)})"


def _range(field: Mapping[str, Any]) -> str:
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {field[key]:g}" for key, sign in words.items() if key in field]
    return f" {', '.join(found)}" if found else ""


def _takes_ids(field: Mapping[str, Any]) -> bool:
    """Say whether a value is what the schema allows for any list of ids."""
    return any("file" in entry.get("properties", {}) for entry in field.get("anyOf", ()))


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
    lines += [_row(f"`{_metavar(entry)}`", _meaning(entry)) for entry in arguments]
    lines += [_row(_spelling(entry), _meaning(entry)) for entry in options]
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
    rows = [_row(f"`{name}`", f"{text}.") for name, text in view_columns().items()]
    return "\n".join(["| Column | Meaning |", "|---|---|", *rows, ""])


def table_reference() -> str:
    """Return the tables with their columns."""
    rows = [
        _row(
            f"`{table.name}`", f"{table.comment}.", ", ".join(f"`{column.name}`" for column in table.columns)
        )
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
        lines += [_row(words, f"`{value}`", _prose(text)) for value, text in _members(kind).items()]
    return "\n".join([*lines, ""])


def verdict_reference() -> str:
    """Return what verdicts mean."""
    rows = [_row(f"`{value}`", _prose(text)) for value, text in _members(states.Verdict).items()]
    return "\n".join(["| Verdict | Meaning |", "|---|---|", *rows, ""])


def remedy_reference() -> str:
    """Return what remedies of failure rules do."""
    rows = [_row(f"`{value}`", _prose(text)) for value, text in _members(RuleRemedy).items()]
    return "\n".join(["| Remedy | What is done |", "|---|---|", *rows, ""])


def built_in_rules() -> str:
    """Return the failure rules that always apply."""
    rows = [_row(_conditions(rule), f"`{rule.verdict}`", rule.note) for rule in BUILT_IN]
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


def models() -> dict[str, type[BaseModel]]:
    """Return every model that a person writes in YAML, by name; a test holds the reference against them."""
    found: dict[str, type[BaseModel]] = {}

    def collect(kind: type[BaseModel]) -> None:
        if kind.__name__ not in found:
            found[kind.__name__] = kind
            for field in kind.model_fields.values():
                for inner in _inner(field.annotation):
                    collect(inner)

    from merian_campaign.domain.spec import CampaignSpec  # noqa: PLC0415 - only the test asks

    for kind in (CampaignSpec, SiteOptions, FailureRules, *ACTIONS.values()):
        collect(kind)
    return found


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    """Yield the models that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _inner(argument)
    if hasattr(annotation, "__value__"):
        yield from _inner(annotation.__value__)


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
