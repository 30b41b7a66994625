"""What a campaign may call things: words that the butler, BPS and a shell all read as the same word.

BPS puts values into command lines by ``str.format``, after it has replaced ``$NAME``, ``${NAME}`` and
``<ENV:NAME>`` by the environment; it splits these lines at blanks as a shell does, and runs some in a shell.
Words that stand there without quotes are therefore of letters, digits and marks that mean nothing to any of
them. Data queries stand in double quotes: they may hold more.

Lengths are those of the butler's dimensions (``daf_butler``, default universe). Its own rule for names of
dataset types is ``DatasetType.VALID_NAME_REGEX``; for names of collections it has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from merian_campaign.domain.safe_text.text import clean
from merian_campaign.domain.spec.base import brief

LONGEST_COLLECTION: Final = 128
"""Characters of a collection's name. The butler's default template puts the name of a RUN, beside dataset
type and data ID, into the name of every file, and a file's name has 255 bytes."""

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+@=-]*"

COLLECTION_PATTERN: Final = rf"^{_NAME}(/{_NAME})*$"
DIMENSION_PATTERN: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$"
LABEL_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_:-]*$"
SITE_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_-]*$"
DATASET_TYPE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
VARIABLE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
SLURM_PATTERN: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.,:@+-]*$"
CONSTRAINT_PATTERN: Final = r"^[A-Za-z0-9_(\[][A-Za-z0-9_.,:@+|&*()\[\]-]*$"

_PATH_MARKS = "_./:@+=,~-"
_PATH = re.compile(rf"[\w{re.escape(_PATH_MARKS)}]+")
_SUBSET = re.compile(r"[A-Za-z0-9_,:.-]+")
_REPLACED = re.compile(r"[{}$\x00-\x08\n-\x1f\x7f-\x9f\u2028\u2029]|<(?:ENV|WMS|BPSTMP2?):|bpsEval")
_SHELL = re.compile(r"[\"`\\]")

ADVICE: Final[Mapping[str, str]] = {
    COLLECTION_PATTERN: (
        "a collection's name holds neither blanks nor commas: letters, digits and _ . + @ = -, in parts "
        "separated by /, each beginning with a letter, a digit or _"
    ),
    DIMENSION_PATTERN: "write letters, digits and _ . + -, as the butler's registry has the name",
    LABEL_PATTERN: "write a task's label: letters, digits and _ : -, beginning with a letter or _",
    SITE_PATTERN: "write letters, digits and _ -, beginning with a letter",
    DATASET_TYPE_PATTERN: "write a dataset type's name: letters, digits, _ and inner dots",
    VARIABLE_PATTERN: "write a variable's name: letters, digits and _, beginning with a letter or _",
    SLURM_PATTERN: "write Slurm's own name for it: letters, digits and _ . , : @ + -",
    CONSTRAINT_PATTERN: "write Slurm's features: letters, digits and _ . , : @ + | & * ( ) [ ] -",
}
"""What to write instead of a word that a pattern refuses."""

BPS_KEYS: Final = frozenset(
    {
        "bpsBatchSubmission", "bpsMakeCommand", "bpsPreCommandOpts", "bpsUseRunTempSpace", "bpsUseShared",
        "bps_cmdline", "bps_defined", "buildQuantumGraph", "butlerConfig", "campaign", "campaignGraphs",
        "campaignHold", "campaignMemory",
        "cloud", "cluster", "clusterAlgorithm", "computeSite", "createQuantumGraph", "dataQuery",
        "defaultPreCmdOpts", "environment", "executionButler", "extraAggregateOptions",
        "extraInitOptions", "extraQgraphOptions", "extraRunQuantumOptions", "extraUpdateQgraphOptions",
        "fileDistributionEndPoint", "finalJob", "finalPreCmdOpts", "idLinkPath", "inCollection",
        "includeConfigs", "initPreCmdOpts", "label", "makeIdLink", "memoryLimit", "memoryMultiplier",
        "numberOfRetries", "operator", "output", "outputRun", "parsl", "payload", "payloadName",
        "pipelineYaml", "pipetask", "pipetaskDataQuery", "pipetaskInput", "pipetaskOutput", "preemptible",
        "preparePayloadWorkflow", "project", "qgraphFile", "qgraphFileTemplate", "qgraphNodeId",
        "qgraphPreCmdOpts", "requestCpus", "requestMemory", "requestMemoryMax", "requestWalltime",
        "retryUnlessExit", "runInit", "runPreCmdOpts", "runQuantumCommand", "saveClusteredQgraph",
        "saveDot", "saveGenericWorkflow", "site", "subDirTemplate", "submitPath", "templateDataId",
        "timestamp", "uniqProcName", "updateOutputChain", "updateQgraphPreCmdOpts", "updateQuantumGraph",
        "useLazyCommands", "validateClusteredQgraph", "whenSaveJobQgraph", "wmsServiceClass",
    }
)  # fmt: skip
"""Keys that BPS looks for in the sections ``pipetask`` and ``site`` before it looks at the top of a file: a
task or a site of such a name would stand in for the key."""


def own_name(name: str) -> str:
    """Refuse the name of a task or a site that BPS would take for one of its own keys."""
    if name in BPS_KEYS:
        raise ValueError(f"found {name!r}, a key of BPS's own, which would be taken for that")
    return name


def plain_path(text: str) -> str:
    """Refuse a path or URI that a command line without quotes would break or change."""
    if not _PATH.fullmatch(text):
        raise ValueError(f"found {brief(text)}; {_path_words('a path')}")
    return text


def labelled_path(text: str) -> str:
    """Refuse what is not a task's label, a colon, and the path of a file."""
    label, colon, path = text.partition(":")
    if not colon or not path or not re.fullmatch(LABEL_PATTERN, label):
        raise ValueError(f"found {brief(text)}; write label:file, as pipetask -C wants it")
    plain_path(path)
    return text


def plain_pipeline(text: str) -> str:
    """Refuse a pipeline that a command line without quotes would break or change."""
    path, mark, subset = text.partition("#")
    if re.search(r"\s", text):
        raise ValueError(f"found {brief(text)}; a pipeline URI holds no white space")
    if not _PATH.fullmatch(path):
        raise ValueError(f"found {brief(text)}; {_path_words('the path of a pipeline')}")
    if mark and not _SUBSET.fullmatch(subset):
        raise ValueError(f"found {brief(text)}; behind # stand labels: letters, digits and _ , : . -")
    return text


def inert(text: str) -> str:
    """Refuse text with characters that act on a terminal or hide in it; line breaks and tabs may be."""
    if clean(text, limit=len(text)) != text:
        raise ValueError(f"found {brief(text)}; leave out what is not shown as a character")
    return text


def one_line_of(text: str) -> str:
    """Refuse text that `inert` refuses, and line breaks."""
    if "\n" in text:
        raise ValueError(f"found {brief(text)}; write it on one line")
    return inert(text)


def _path_words(what: str) -> str:
    return (
        f"{what} holds letters, digits and {' '.join(_PATH_MARKS)} only: BPS puts it into command lines "
        "without quotes; use another folder, or a link to it"
    )


def replaced_by_bps(text: str) -> str | None:
    """Return the first piece of a text that BPS would replace, or None.

    Braces are its marks for variables, ``$`` and ``<ENV:`` those of the environment; it evaluates
    ``bpsEval``.
    A line break is none of these, but ends a command.
    """
    found = _REPLACED.search(text)
    return None if found is None else found[0]


def changed_in_quotes(text: str) -> str | None:
    """Return the first piece of a text that does not come through BPS and double quotes as it is, or None."""
    found = _REPLACED.search(text) or _SHELL.search(text)
    return None if found is None else found[0]


Collection = Annotated[str, Field(min_length=1, max_length=LONGEST_COLLECTION, pattern=COLLECTION_PATTERN)]
"""Name of a collection."""


def _collections(value: object) -> object:
    """Take a list, or names with commas between them, as ``--input`` and ``--collections`` have them."""
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list | tuple):
        return value
    return tuple(
        part
        for entry in entries
        for part in (map(str.strip, entry.split(",")) if isinstance(entry, str) else [entry])
    )


CollectionList = Annotated[
    tuple[Collection, ...], BeforeValidator(_collections, json_schema_input_type=str | list[Collection])
]
"""Names of collections, searched in this order."""

Label = Annotated[str, Field(max_length=128, pattern=LABEL_PATTERN), AfterValidator(own_name)]
"""Label of a task."""

DatasetTypeName = Annotated[str, Field(min_length=1, max_length=128, pattern=DATASET_TYPE_PATTERN)]
"""Name of a dataset type."""

InstrumentName = Annotated[str, Field(min_length=1, max_length=32, pattern=DIMENSION_PATTERN)]
SkymapName = Annotated[str, Field(min_length=1, max_length=64, pattern=DIMENSION_PATTERN)]

PlainPath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(plain_path)]
"""Path or URI that stands in command lines without quotes."""

FreePath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(one_line_of)]
"""Path that is only opened, or handed to a program as a word of its own."""

ConfigFile = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(labelled_path)]
"""Label of a task, a colon, and a path or URI."""

Pipeline = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(plain_pipeline)]
"""Path or URI of a pipeline, with ``#`` and labels."""

SlurmName = Annotated[str, Field(min_length=1, max_length=200, pattern=SLURM_PATTERN)]
"""Partition, account or QOS."""

SlurmFeatures = Annotated[str, Field(min_length=1, max_length=200, pattern=CONSTRAINT_PATTERN)]
"""Constraint."""

VariableName = Annotated[str, Field(max_length=128, pattern=VARIABLE_PATTERN)]
