"""Files that would hang, kill or swell a reader: each is refused at once, by file, line and field."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Target, run
from survey_help import Survey

from merian_campaign.domain.errors import BadInputError, CampaignError
from merian_campaign.domain.spec.base import MOST_IDS
from merian_campaign.files.bounded_yaml import DEEPEST, MOST_VALUES, read_data
from merian_campaign.files.bps_files import read_requests
from merian_campaign.files.rule_files import read_rules
from merian_campaign.files.site_file import read_site
from merian_campaign.files.yaml_value import replace_in_file

BOMB = "\n".join(
    [
        "a0: &a0 [x,x,x,x,x,x,x,x,x,x]",
        *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)),
    ]
)
MERGED = "\n".join(
    ["a0: &a0 {k: v}", *(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9))]
)
VISITS = "group_by: {kind: visit, size: 9, ids: ['1-900000']}"
MANY = "".join(
    f"  - {{name: s{n}, pipeline: pipe.yaml#step1, scope: exposure, {VISITS}}}\n" for n in range(400)
)
HEAD = "campaign: n\nbutler: repo\ninstrument: D\nsite: local\ncollections: {output: r}\n"

# Content, and what is said of it.
CONTENTS: dict[str, tuple[bytes, str]] = {
    "aliases": (BOMB.encode(), f"more than {MOST_VALUES} values, those behind aliases included"),
    "merge keys": (MERGED.encode(), f"more than {MOST_VALUES} values"),
    "an alias in itself": (b"a: &x {b: *x}", "the alias *x is inside what it stands for"),
    "brackets": (b"a: " + b"[" * 30_000, f"more than {DEEPEST} levels"),
    "braces": (b"a: " + b"{a: " * 30_000, f"more than {DEEPEST} levels"),
    "dashes": (b"a:\n " + b"- " * 30_000, f"more than {DEEPEST} levels"),
    "many values": (b"a: [" + b"1," * 300_000 + b"]", f"more than {MOST_VALUES} values"),
    "many bytes": (b"a: " + b"x" * 9_000_000, "more than the 4194304 that it may have"),
    "a long text": (b"a: " + b"x" * 200_000, "a text of 200000 characters"),
    "a long key": (b"k" * 300 + b": 1", "a key of 300 characters"),
    "many complaints": (b"\n".join(b"k%d: 1" % n for n in range(20_000)), "and 19"),
    "a tag of Python": (b"a: !!python/object/apply:os.system [id]", "is not read"),
    "an include": (b"a: !include x.yaml", "the tag '!include' is not read"),
    "no truth value": (b"a: !!bool x", "'x' is no bool"),
    "no number": (b"a: !!int ''", "'' is no int"),
    "no time": (b"a: !!timestamp x", "'x' is no timestamp"),
    "a set": (b"a: !!set {b}", "is not read"),
    "bytes": (b"a: !!binary aGk=", "is not read"),
    "a number of 4,000 digits": (b"tracts: [" + b"9" * 4000 + b"]", "a number of 4000 characters"),
    "a hexadecimal number": (b"tracts: [0x" + b"f" * 4000 + b"]", "a number of 4002 characters"),
    "base 60": (b"a: 1" + b":00" * 4000, "a number of 12001 characters"),
    "a number of 65 bits": (b"tracts: [36893488147419103232]", "tracts.0: a number of more than 63 bits"),
    "no finite number": (b"a: .nan", "a: found nan; write a finite number"),
    "infinity": (b"a: {b: -.inf}", "a.b: found -inf; write a finite number"),
    "NUL": (b'a: "\\0"', "a: it holds a NUL character"),
    "UTF-16": ("a: 1".encode("utf-16"), "not UTF-8 at byte 0"),
    "Latin-1": ("a: é".encode("latin-1"), "not UTF-8 at byte 3"),
    "a key of control characters": (b'"a\\e[2J": 1', "a key holds letters, digits and marks"),
    "a key that is a list": (b"? [a]\n: 1", "found unhashable key"),
    "nights of all time": (
        HEAD.encode()
        + b"steps: [{name: s, pipeline: 'pipe.yaml#s', scope: visit, group_by: {kind: day_obs, nights: "
        b"'00010101-99991231'}}]",
        f"steps[s]: with this step the campaign lists more than {MOST_IDS} ids",
    ),
    "nights of a thousand years": (
        HEAD.encode()
        + b"steps: [{name: s, pipeline: 'pipe.yaml#s', scope: visit, group_by: {kind: day_obs, nights: "
        b"'10000101-20000101'}}]",
        "steps[s].group_by.nights: '10000101-20000101': more than 36525 nights",
    ),
    "millions of ids": (
        f"{HEAD}steps:\n{MANY}".encode(),
        "steps[s1]: with this step the campaign lists more than",
    ),
    "a range beyond 64 bits": (
        HEAD.encode()
        + b"tracts: ['0-99999999999999999999']\nsteps: [{name: s, pipeline: 'pipe.yaml#s', scope: visit}]",
        "more than 1000000",
    ),
    "a tract beyond 32 bits": (
        HEAD.encode() + b"tracts: [2147483648]\nsteps: [{name: s, pipeline: 'pipe.yaml#s', scope: visit}]",
        "tracts: found 2147483648; the largest tract is 2147483647",
    ),
    "groups": (
        HEAD.encode()
        + b"steps: [{name: s, pipeline: 'pipe.yaml#s', scope: visit, group_by: {kind: visit, size: 1, "
        b"ids: '1-900000'}}]",
        "steps[s].group_by: with this step the campaign has 900000 groups, more than 200000",
    ),
    "steps": (
        HEAD.encode() + b"steps:\n" + b"".join(b"  - {name: s%d}\n" % n for n in range(5000)),
        "found 5000 steps; a campaign has at most 500",
    ),
}


def reading(survey: Survey) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        survey.file.write_bytes(data)
        return survey.load()

    return read


@pytest.mark.parametrize("name", CONTENTS)
def test_it_is_refused_at_once_with_words(survey: Survey, name: str) -> None:
    """In a process of its own, which may neither compute for long nor grow by more than 500 MB."""
    content, words = CONTENTS[name]
    target = Target(name=name, kind="text", seeds=(b"a: 1", content), reader=lambda _folder: reading(survey))
    assert run(target, range(2)) == ([], 2)
    survey.file.write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        survey.load()
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(survey.file))
    assert caught.value.exit_code == 2
    assert len(str(caught.value)) < 60_000


@pytest.mark.parametrize("name", ["aliases", "brackets", "no truth value", "UTF-16", "many bytes"])
def test_one_reader_reads_all_yaml(tmp_path: Path, survey: Survey, name: str) -> None:
    content, _ = CONTENTS[name]
    file = tmp_path / "odd.yaml"
    file.write_bytes(content)
    for read in (
        read_site,
        read_rules,
        lambda path: replace_in_file(Path(path), key="a", value="1", shown="x"),
    ):
        with pytest.raises(BadInputError):
            read(str(file))
    with pytest.raises(BadInputError):
        read_data(file)
    spec = survey.load().spec
    (survey.folder / "base.yaml").write_bytes(content)
    with pytest.raises(BadInputError, match=r"base\.yaml"):
        read_requests(spec, spec.step("step1"))


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))


ODD_FILES: dict[str, Callable[[Path], None]] = {
    "a FIFO": fifo,
    "a folder": Path.mkdir,
    "a socket": listening,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a circle of links": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("kind", ODD_FILES)
def test_what_is_no_regular_file_is_not_waited_for(
    survey: Survey, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(survey.folder)  # names of sockets are short
    survey.edit('tracts: ["9813-9814"]', "tracts: {file: ids.txt}")
    (survey.folder / "ids.txt").write_text("9813 9814\n")
    for name in (
        "ids.txt",
        "base.yaml",
        "rules.yaml",
        "site/local.yaml",
        "pipe.yaml",
        "repo/butler.yaml",
        "night.yaml",
    ):
        path = survey.folder / name
        kept = path.rename(path.with_suffix(".kept"))
        ODD_FILES[kind](Path(name))
        with pytest.raises(CampaignError) as caught:
            survey.load()
        # A link to a device is told by what it leads to.
        assert kind == "a device" or name.partition("/")[0].partition(".")[0] in str(caught.value)
        assert caught.value.exit_code == 2
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        kept.rename(path)
    assert survey.load()


def test_includes_that_multiply_are_cut(survey: Survey) -> None:
    for level in range(30):
        (survey.folder / f"i{level}.yaml").write_text(
            f"includeConfigs: [i{level + 1}.yaml, i{level + 1}.yaml]\n"
        )
    (survey.folder / "i30.yaml").write_text("requestMemory: 1\n")
    (survey.folder / "base.yaml").write_text("includeConfigs: i0.yaml\n")
    spec = survey.load().spec
    with pytest.raises(BadInputError, match=r"base\.yaml: includeConfigs: more than 200 files"):
        read_requests(spec, spec.step("step1"))


def test_a_file_of_too_many_ids(survey: Survey) -> None:
    survey.edit('tracts: ["9813-9814"]', "tracts: {file: ids.txt}")
    (survey.folder / "ids.txt").write_text("1\n" * (MOST_IDS + 2))
    (said,) = survey.complaint()
    assert "ids.txt:1000001: more than 1000000 ids in the files of this campaign" in said


# Old text, new text, field, and what is said.
WORDS: list[tuple[str, str, str, str]] = [
    ("butler: repo", 'butler: "re\\npo"', "butler", "letters, digits and _ . / : @ + = , ~ -"),
    ("butler: repo", "butler: a b", "butler", "letters, digits and"),
    ("butler: repo", "butler: 'a;b'", "butler", "use another folder, or a link to it"),
    ("butler: repo", "butler: '{output}'", "butler", "letters, digits and"),
    ("butler: repo", "butler: $HOME/x", "butler", "letters, digits and"),
    ("site: local", 'site: local\nwork_dir: "/a\\nb"', "work_dir", "letters, digits and"),
    ("site: local", "site: local\nwork_dir: /a/%j", "work_dir", "letters, digits and"),
    ("instrument: DECam", "instrument: DE'Cam", "instrument", "write letters, digits and _ . + -"),
    ("instrument: DECam", "instrument: DECam$", "instrument", "write letters, digits"),
    ("skymap: rings", "skymap: <ENV:HOME>", "skymap", "write letters, digits"),
    (
        "output: runs/night",
        "output: runs/night;ls",
        "collections.output",
        "separated by /, each beginning with",
    ),
    ("output: runs/night", "output: '`id`'", "collections.output", "neither blanks nor commas"),
    ("output: runs/night", "output: ../night", "collections.output", "each beginning with a letter"),
    ("output: runs/night", "output: -x", "collections.output", "each beginning with a letter"),
    ("output: runs/night", "output: /runs", "collections.output", "in parts separated by /"),
    ("output: runs/night", f"output: {'x' * 120}", "steps[step1].output", "128 fit into the names of"),
    ("[DECam/defaults]", "['{output}']", "collections.inputs[0]", "neither blanks nor commas"),
    ("after: [step1]", "output: a/<ENV:X>", "steps[step3].output", "neither blanks nor commas"),
    ("after: [step1]", "inputs: ['*']", "steps[step3].inputs[0]", "neither blanks nor commas"),
    ("isr: {", '"is r": {', "steps[step1].resources.is r", "write a task's label"),
    ("isr: {", "requestMemory: {", "steps[step1].resources.requestMemory", "a key of BPS's own"),
    ("detector NOT IN (31, 61)", "a = '$HOME'", "steps[step1].where", "'$': braces, $, <ENV:, backslashes"),
    ("detector NOT IN (31, 61)", "a = '`id`'", "steps[step1].where", "found '`'"),
    ("detector NOT IN (31, 61)", "a = '<ENV:HOME>'", "steps[step1].where", "found '<ENV:'"),
    (
        "detector NOT IN (31, 61)",
        "a = 1) OR (b = 2",
        "steps[step1].where",
        "a parenthesis without its partner",
    ),
    ("detector NOT IN (31, 61)", "a = 'b", "steps[step1].where", "a single quote without its partner"),
    ("where: detector NOT IN (31, 61)", "select: {band: '$x'}", "steps[step1].select.band", "braces, $"),
    (
        "after: [step1]",
        "config: ['isr:a=$HOME']",
        "steps[step3].config",
        "braces, $ and <ENV: are BPS's own marks",
    ),
    ("pipe.yaml#step3", "'pipe.yaml#step3;ls'", "steps[step3].pipeline", "behind # stand labels"),
    ("pipe.yaml#step3", "pipe.yaml:step3", "steps[step3].pipeline", "write # before labels"),
    ("pipe.yaml#step3", "'a:b/pipe.yaml#step3'", "steps[step3].pipeline", "a folder with : needs another"),
    (
        "pipe.yaml#step3",
        "'{output}.yaml#step3'",
        "steps[step3].pipeline",
        "the path of a pipeline holds letters",
    ),
    ("site: local", "site: local\nenvironment: {A=B: c}", "environment.A=B", "write a variable's name"),
    ("site: local", 'site: local\nenvironment: {"A b": c}', "environment.A b", "write a variable's name"),
    ("site: local", 'site: local\nenvironment: {A: "a\\nb"}', "environment", "A: found a line break or NUL"),
    (
        "site: local",
        f"site: local\nenvironment: {{A: {'x' * 40_000}}}",
        "environment",
        "longer than 32000 bytes",
    ),
    (
        "memory: 4096",
        "memory: 9999999999999",
        "steps[step1].resources.isr.memory",
        "less than or equal to 1073741824",
    ),
    ('"10:00:00"', '"99999-10:00:00"', "steps[step1].resources.isr.walltime", 'write a quoted "HH:MM:SS"'),
]


@pytest.mark.parametrize(("old", "new", "field", "words"), WORDS)
def test_a_word_that_would_mean_something_else_is_refused(
    survey: Survey, old: str, new: str, field: str, words: str
) -> None:
    survey.edit(old, new)
    said = survey.complaint()
    assert any(f" {field}: " in f" {entry}" and words in entry for entry in said), said
    assert all(entry.partition(":")[0].isdigit() for entry in said), said


def test_what_the_environment_puts_into_a_word_is_held_to_the_same(survey: Survey) -> None:
    survey.edit("output: runs/night", "output: ${WHERE}")
    assert survey.load({"WHERE": "a/b"}).spec.collections.output == "a/b"
    for odd in ("a;b", "a b", "$(id)", "{x}", "a\nb"):
        (said,) = survey.complaint({"WHERE": odd})
        assert "collections.output" in said


SITE = "computeSite: x\nsite:\n  x:\n    class: a.Slurm\n    cores: 2\n    "


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            SITE + 'partition: "a\\n#SBATCH --uid=0"',
            "site.x.partition: found 'a #SBATCH --uid=0'; write Slurm's own",
        ),
        (SITE + "account: 'a b'", "site.x.account: found 'a b'; write Slurm's own"),
        (SITE + "constraint: '$(id)'", "site.x.constraint"),
        (SITE + "max_blocks: 5000000", "site.x.max_blocks"),
        (SITE + "mem_per_node: 1.0e+300", "site.x.mem_per_node"),
        (SITE.replace("x", "requestMemory"), "computeSite: found 'requestMemory', a key of BPS's own"),
        (SITE.replace(" x", " a.b"), "computeSite: found 'a.b'; write letters"),
        (
            f"driver: slurm\ndriver_options: {{qos: 'a b'}}\n{SITE}",
            "driver_options.qos: found 'a b'; write Slurm's",
        ),
    ],
)
def test_words_of_a_site(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(text.rstrip() + "\n")
    with pytest.raises(BadInputError) as caught:
        read_site(str(file))
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{file}:")


def test_a_byte_order_mark_is_no_part_of_a_file(survey: Survey) -> None:
    survey.file.write_bytes(b"\xef\xbb\xbf" + survey.file.read_bytes())
    assert survey.load().spec.campaign == "night"
