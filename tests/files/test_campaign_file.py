"""Reading a campaign file: what it becomes, and what is said about one that cannot be used."""

import os
from pathlib import Path

import pytest
from survey_help import Survey

from merian_campaign.domain.errors import BadFileError, BadInputError
from merian_campaign.domain.spec import BpsStep

TRACT_ADVICE = "found 'tract'; a step of scope exposure must not be constrained by tract or patch"

# Old text, new text, lines below the replaced one at which the complaint stands, field, words.
BAD: list[tuple[str, str, int, str, str]] = [
    ("instrument: DECam", "instrumnet: DECam", 0, "instrumnet", "no such key; did you mean 'instrument'?"),
    ("skymap: rings", "zzz: rings", 0, "zzz", "no such key; `merian-campaign schema` lists the keys"),
    ("    where: ", "    wear: ", 0, "steps[step1].wear", "no such key; did you mean 'where'?"),
    ("{memory:", "{memroy:", 0, "steps[step1].resources.isr.memroy", "did you mean 'memory'?"),
    (
        "group_by: tract",
        "group_by: {kind: day_obs, nights: [20210318], size: 3}",
        0,
        "steps[step3].group_by.size",
        "no such key here, it belongs elsewhere",
    ),
    (
        "group_by: tract",
        "group_by: {kind: healpix3, ids: [1]}",
        0,
        "steps[step3].group_by",
        "kind: found 'healpix3'; write kind: everything, tract, day_obs, exposure, visit or lists; for",
    ),
    (
        "group_by: tract",
        "group_by: {kind: dimension, dimension: healpix3, ids: [a]}",
        0,
        "steps[step3].group_by.ids",
        "found 'a'; write integers",
    ),
    (
        "group_by: tract",
        "group_by: {kind: dimension, dimension: healpix3, ids: [1], sise: 3}",
        0,
        "steps[step3].group_by.sise",
        "no such key; did you mean 'size'?",
    ),
    (
        "group_by: tract",
        "group_by: {kind: dimension, dimension: detector, ids: [1]}",
        0,
        "steps[step3].group_by.dimension",
        "found 'detector', which means nothing without its visit",
    ),
    (
        "group_by: tract",
        "group_by: {kind: lists, dimension: foo, lists: {a: [1]}}",
        0,
        "steps[step3].group_by.dimension",
        "found 'foo'; it should be 'exposure'",
    ),
    (
        "group_by: tract",
        "group_by: {kind: lists, dimension: exposure, lists: {a: [x]}}",
        0,
        "steps[step3].group_by.lists.a",
        "found 'x'; write integers",
    ),
    (
        "memory: 4096",
        "memory: lots",
        0,
        "steps[step1].resources.isr.memory",
        "found 'lots'; write a whole number",
    ),
    (
        '"10:00:00"',
        "10:00:00",
        0,
        "steps[step1].resources.isr.walltime",
        "found the number 36000: YAML 1.1 reads an unquoted time such as 10:00:00 as base-60 digits; put it",
    ),
    ("after: [step1]", "after: [stpe1]", 0, "steps[step3].after", "no step 'stpe1'; did you mean 'step1'?"),
    ("after: [step1]", "after: [step3]", 0, "steps[step3].after", "in a circle: step3 -> step3"),
    ("after: [step1]", "after: step1", 0, "steps[step3].after", "found 'step1'; write a list, e.g. [a, b]"),
    ("after: [step1]", "after:", 0, "steps[step3].after", "nothing is given; write a list"),
    ("after: [step1]", "after: [{step: step1, mach: all}]", 0, "steps[step3].after[0].mach", "'match'?"),
    ("after: [step1]", "inputs: [stpe1]", 0, "steps[step3].inputs", "did you mean 'step1'?"),
    (
        "after: [step1]",
        "config: [isr.x=1]",
        0,
        "steps[step3].config",
        "found 'isr.x=1'; write label:field=value",
    ),
    ("after: [step1]", "loss_budget: 2", 0, "steps[step3].loss_budget", "found 2; it should be less than 1"),
    ('["9813-9814"]', '[9813, "9813-9814"]', 0, "tracts", "duplicate values: 9813; name each once"),
    ('["9813-9814"]', "[9814-9813]", 0, "tracts", "the range '9814-9813' runs backwards"),
    (
        '["9813-9814"]',
        "found",
        0,
        "tracts",
        "found 'found'; write integers and \"first-last\" ranges, or discover",
    ),
    ('["9813-9814"]', "{discover: no}", 0, "tracts.discover", "found False; it should be True"),
    ('["9813-9814"]', "{min_visit: 2}", 0, "tracts.min_visit", "no such key; did you mean 'min_visits'?"),
    (
        '["9813-9814"]',
        "{discover: true, min_visits: 0}",
        0,
        "tracts.min_visits",
        "found 0; it should be greater than or equal to 1",
    ),
    ('["9813-9814"]', "[x]", 0, "tracts", "found 'x'; write integers and \"first-last\" ranges"),
    (
        "group_by: tract",
        "group_by: trakt",
        0,
        "steps[step3].group_by",
        "found 'trakt'; write everything, tract",
    ),
    ("group_by: tract", "group_by: {knd: tract}", 0, "steps[step3].group_by", "kind: missing; write kind:"),
    (
        "group_by: tract",
        "group_by: {kind: visit, ids: [], size: 3}",
        0,
        "steps[step3].group_by.ids",
        "no id; list ids and ranges, or write discover",
    ),
    (
        "group_by: tract",
        "group_by: {kind: lists, dimension: tract, lists: {a: []}}",
        0,
        "steps[step3].group_by.lists",
        "the list 'a' is empty; give it ids or remove it",
    ),
    (
        "group_by: tract",
        "group_by: {kind: day_obs, nights: [2021-03-18]}",
        0,
        "steps[step3].group_by.nights",
        "found '2021-03-18'; write a night as YYYYMMDD",
    ),
    ("detector NOT IN (31, 61)", "tract = 9813", 0, "steps[step1].where", TRACT_ADVICE),
    ("where: detector NOT IN (31, 61)", "group_by: tract", 0, "steps[step1].group_by", TRACT_ADVICE),
    ("    group_by: tract\n", "", -4, "steps[step3].group_by", "needs a tract, otherwise quanta see partial"),
    (
        "    scope: tract\n",
        "",
        -1,
        "steps[step3].scope",
        "global, tract or instrument, by what its tasks",
    ),
    ("    scope: tract\n", "", -1, "steps[step3].scope", "(step3 was tract in DRP-Merian of 2022; that of"),
    ("butler: repo\n", "", -1, "butler", "missing; it must be given"),
    ("butler: repo", "butler: 5", 0, "butler", "found 5; write text; in quotes"),
    ("butler: repo", "butler:", 0, "butler", "nothing is given; write text"),
    ("campaign: night", "campaign: my night", 0, "campaign", "found 'my night'; write a name of letters"),
    ("  - name: step3", "  - name: step1", -6, "steps[step1].name", "two steps are called 'step1'"),
    ("output: runs/night", "output: a b", 0, "collections.output", "neither blanks nor commas"),
    ("site: local", "site: local\nwms: panda", 1, "wms", "found 'panda'; it should be 'stock' or 'campaign'"),
    ("steps:\n", "steps: []\nx:\n", 0, "steps", "empty; give at least one"),
    ("steps:\n", "steps:\n  - just words\n", 1, "steps[0]", "write a mapping of keys to values"),
    (
        "steps:\n",
        "steps:\n  - name: a\n    action: certfy\n",
        2,
        "steps[a].action",
        "found 'certfy'; known actions: certify-calibrations, check-filters, collection-chain, command",
    ),
    (
        "steps:\n",
        "steps:\n  - name: a\n    action: collection-chain\n    arguments: {parent: x, childrn: [a]}\n",
        3,
        "steps[a].arguments.childrn",
        "no such key; did you mean 'children'?",
    ),
    (
        "steps:\n",
        "steps:\n  - name: a\n    action: collection-chain\n",
        1,
        "steps[a].arguments.parent",
        "missing; it must be given",
    ),
    # Files that are not there.
    (
        "pipe.yaml#step3",
        "pipes.yaml#step3",
        0,
        "steps[step3].pipeline",
        "the pipeline file {}/pipes.yaml does not",
    ),
    (
        "butler: repo",
        "butler: nowhere",
        0,
        "butler",
        "there is no butler repository at {}/nowhere; correct the path",
    ),
    ("butler: repo", "butler: repo/no.yaml", 0, "butler", "there is no butler repository at {}/repo/no.yaml"),
    ("site: local", "site: lokal", 0, "site", "; sites that come with merian-campaign: local, slurm, tiger"),
    ("site: local", "site: ./slrum.yaml", 0, "site", "the site file {}/slrum.yaml does not exist"),
    ("[base.yaml]", "[bse.yaml]", 0, "include[0]", "the BPS file {}/bse.yaml does not exist"),
    (
        "rules.yaml",
        "rulez.yaml",
        0,
        "failure_rules",
        "the file of failure rules {}/rulez.yaml does not exist",
    ),
    (
        "after: [step1]",
        "include: [x.yaml]",
        0,
        "steps[step3].include[0]",
        "the BPS file {}/x.yaml does not exist",
    ),
    # Variables.
    ("butler: repo", "butler: ${REPO}/x", 0, "butler", "${REPO} is not set; export it, or give it a default"),
    (
        "pipe.yaml#step3",
        "${PIPES}/x.yaml#step3",
        0,
        "steps[step3].pipeline",
        "${PIPES} is not set; export it, or give it a default under variables:",
    ),
    (
        "site: local",
        "variables: {A: '${B}/x', B: y}\nsite: local",
        0,
        "variables.A",
        "${B} is itself a default: one may use the environment and CAMPAIGN_DIR only",
    ),
    ("skymap: rings", 'skymap: "a\\0b"', 0, "skymap", "NUL character"),
    # YAML.
    (
        "campaign: night",
        "campaign: night\ncampaign: day",
        1,
        "campaign",
        "given twice (first on line 1); keep one",
    ),
    (
        "after: [step1]",
        "after: [step1]\n    after: []",
        1,
        "steps.1.after",
        "the key is given twice (first on line 20); keep one",
    ),
    ("instrument: DECam", "instrument: [DECam", 1, "", "not readable as YAML"),
    (
        "inputs: [DECam/defaults]",
        "inputs: [${X}/raw]",
        0,
        "",
        'within [ ] and { } stands "${NAME}/..." in quotes',
    ),
    (
        "instrument: DECam",
        "instrument:\n\tDECam",
        1,
        "",
        "not readable as YAML: found a tab",
    ),
    ("instrument: DECam", "? [a, b]\n: 1", 0, "", "not readable as YAML: found unhashable key"),
    (
        "instrument: DECam",
        "instrument: !!python/object:os.system x",
        0,
        "",
        "the tag 'tag:yaml.org,2002:python/object:os.system' is not read; leave it out",
    ),
    ("instrument: DECam", "instrument: *a", 0, "", "not readable as YAML: found undefined alias"),
    ("instrument: DECam", "<<: 5", 0, "", "not readable as YAML: expected a mapping"),
]


@pytest.mark.parametrize(("old", "new", "below", "field", "words"), BAD)
def test_a_complaint_names_file_line_field_and_what_to_do(
    survey: Survey, old: str, new: str, below: int, field: str, words: str
) -> None:
    line = survey.edit(old, new) + below
    said = survey.complaint()
    expected = words.replace("{}", str(survey.folder)) if "{}" in words else words
    matching = [entry for entry in said if entry.startswith(f"{line}: {field}: " if field else f"{line}: ")]
    assert any(expected in entry for entry in matching), said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "1: the file must be a mapping"),
        (b"- a\n", "1: the file must be a mapping"),
        (b"words", "1: the file must be a mapping"),
        (b"null", "1: the file must be a mapping"),
        (b"a: 1\n---\nb: 2\n", "2: not readable as YAML: but found another document"),
        (b"a: \x00", "not readable as YAML: unacceptable character"),
        (b"\xff\xfe", "cannot be read: not UTF-8 at byte 0"),
        (b"a: 2021-02-30", "not readable as YAML: day"),
        (b"a: !!int b", "not readable as YAML: invalid literal"),
        (b"a: &x [*x]", "not readable as YAML: nested too deeply: the alias *x is inside what it stands for"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "not readable as YAML: nested too deeply"),
        (b"1: 2\n", "[1]: found 1; put the key in quotes"),
    ],
)
def test_files_that_are_no_campaign_at_all(survey: Survey, content: bytes, words: str) -> None:
    survey.file.write_bytes(content)
    assert any(words in entry for entry in survey.complaint())


def test_a_file_that_is_not_there_or_is_a_folder(survey: Survey) -> None:
    survey.file.unlink()
    assert survey.complaint() == ["there is no such file"]
    survey.file.mkdir()
    (said,) = survey.complaint()
    assert said.startswith("cannot be read: ")


def test_all_problems_are_listed_at_once_in_the_order_of_the_file(survey: Survey) -> None:
    survey.edit("site: local", "site: 5")
    survey.edit("memory: 4096", "memory: lots")
    survey.edit("skymap: rings", "skynet: rings")
    said = survey.complaint()
    assert [entry.split(":")[0] for entry in said] == ["4", "5", "18"]


def test_the_file_is_named_as_the_person_named_it(survey: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    survey.edit("butler: repo", "butler: nowhere")
    monkeypatch.chdir(survey.folder)
    with pytest.raises(BadFileError) as caught:
        survey.load(file="./night.yaml")
    assert str(caught.value).startswith("./night.yaml:2: butler: ")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.field) == ("./night.yaml", 2, "butler")
    assert caught.value.exit_code == 2


# -- what a good file becomes --------------------------------------------------------------------------


def test_paths_are_absolute_from_the_files_own_folder(survey: Survey) -> None:
    spec = survey.load().spec
    here = survey.folder
    assert spec.butler == f"{here}/repo"
    assert spec.site == f"{here}/site/local.yaml"
    assert spec.include == (f"{here}/base.yaml",)
    assert spec.failure_rules == f"{here}/rules.yaml"
    step = spec.step("step3")
    assert isinstance(step, BpsStep)
    assert step.pipeline == f"{here}/pipe.yaml#step3"
    assert spec.tracts == (9813, 9814)


def test_a_site_is_found_beside_the_file_or_one_folder_up(survey: Survey) -> None:
    inner = survey.folder / "campaign"
    inner.mkdir()
    text = survey.file.read_text().replace("repo", "../repo").replace("[base", "[../base")
    text = text.replace("rules.yaml", "../rules.yaml").replace("pipe.yaml", "../pipe.yaml")
    (inner / "night.yaml").write_text(text)
    assert survey.load(file=str(inner / "night.yaml")).spec.site == f"{survey.folder}/site/local.yaml"


def test_a_name_means_a_site_of_ones_own_first(survey: Survey) -> None:
    own = survey.folder / "own"
    own.mkdir()
    environment = {"MERIAN_CAMPAIGN_SITE_PATH": f"{survey.folder}/nowhere:{own}"}
    assert survey.load(environment).spec.site == f"{survey.folder}/site/local.yaml"
    (own / "local.yaml").write_text((survey.folder / "site" / "local.yaml").read_text())
    assert survey.load(environment).spec.site == f"{own}/local.yaml"


def test_what_comes_with_the_package_needs_no_path(survey: Survey) -> None:
    shipped = Path(__file__).parents[2]
    survey.edit("[base.yaml]", "[base.yaml, resources.yaml]")
    survey.edit("rules.yaml", "failure-rules.yaml")
    survey.edit("site: local", "site: tiger")
    survey.edit("after: [step1]", "after: [step1]\n    include: [clustering.yaml]")
    spec = survey.load().spec
    # What lies beside the file goes before it.
    assert spec.include == (f"{survey.folder}/base.yaml", f"{shipped}/bps_configs/resources.yaml")
    assert spec.failure_rules == f"{shipped}/campaign/failure-rules.yaml"
    assert spec.site == f"{shipped}/site/tiger.yaml"
    step = spec.steps[1]
    assert isinstance(step, BpsStep)
    assert step.include == (f"{shipped}/bps_configs/clustering.yaml",)
    (survey.folder / "base.yaml").unlink()
    assert survey.load().spec.include[0] == f"{shipped}/bps_configs/base.yaml"


def test_a_path_is_never_taken_for_a_name(survey: Survey) -> None:
    survey.edit("[base.yaml]", "[./resources.yaml]")
    assert "resources.yaml does not exist" in survey.complaint()[0]


def test_a_campaign_file_knows_where_the_package_lies(survey: Survey) -> None:
    package = Path(__file__).parents[2] / "merian_campaign"
    survey.edit("pipe.yaml#step1", "${MERIAN_CAMPAIGN_PACKAGE}/demo/pipelines/DRP-Merian.yaml#step1")
    step = survey.load({"MERIAN_CAMPAIGN_PACKAGE": "/nowhere"}).spec.steps[0]
    assert isinstance(step, BpsStep)
    assert step.pipeline == f"{package}/demo/pipelines/DRP-Merian.yaml#step1"


def test_a_file_is_the_same_however_it_is_named(survey: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    (survey.folder / "other").mkdir()
    monkeypatch.chdir(survey.folder / "other")
    there = survey.load(file="../night.yaml")
    assert there.path == survey.file
    assert there.resolved == survey.load().resolved


def test_variables_come_from_the_environment_then_from_the_file(survey: Survey) -> None:
    survey.edit("butler: repo", "butler: ${WHERE}/repo\nvariables: {WHERE: '${CAMPAIGN_DIR}'}")
    other = survey.folder / "elsewhere"
    (other / "repo").mkdir(parents=True)
    (other / "repo" / "butler.yaml").touch()
    assert survey.load().spec.butler == f"{survey.folder}/repo"
    assert survey.load({"WHERE": str(other)}).spec.butler == f"{other}/repo"
    # The folder of the file is no setting.
    assert survey.load({"CAMPAIGN_DIR": "/nowhere"}).spec.butler == f"{survey.folder}/repo"


def test_what_the_environment_gives_is_not_looked_into_again(survey: Survey) -> None:
    survey.edit("skymap: rings", "skymap: rings\ndescription: ${MAP}")
    assert survey.load({"MAP": "${HOME}"}).spec.description == "${HOME}"


def test_dates_become_text(survey: Survey) -> None:
    survey.edit(
        "steps:\n",
        "steps:\n  - name: certify\n    action: certify-calibrations\n    arguments: "
        "{input: a, output: b, dataset_type: bias, begin: 2021-01-01T00:00:00, end: 2022-06-30}\n",
    )
    loaded = survey.load()
    arguments = loaded.resolved["steps"][0]["arguments"]
    assert (arguments["begin"], arguments["end"]) == ("2021-01-01T00:00:00", "2022-06-30")


def test_a_butler_configuration_file_or_a_remote_one_is_taken(survey: Survey) -> None:
    survey.edit("butler: repo", "butler: repo/butler.yaml")
    assert survey.load().spec.butler == f"{survey.folder}/repo/butler.yaml"
    survey.edit("butler: repo/butler.yaml", "butler: https://server/repo")
    assert survey.load().spec.butler == "https://server/repo"


def test_options_override_the_file_and_are_checked_alike(survey: Survey) -> None:
    (survey.folder / "other.yaml").write_text("x: 1\n")
    from merian_campaign.files.campaign_file import load_campaign  # noqa: PLC0415

    loaded = load_campaign(str(survey.file), environment={}, wms="stock", site="./other.yaml")
    assert (loaded.spec.wms, loaded.spec.site) == ("stock", f"{survey.folder}/other.yaml")
    with pytest.raises(BadInputError, match="wms: found 'panda'; it should be 'stock' or 'campaign'"):
        load_campaign(str(survey.file), environment={}, wms="panda")


def test_a_home_that_nobody_has_is_not_found(survey: Survey) -> None:
    survey.edit("butler: repo", "butler: ~nobody-of-this-name/repo")
    assert "there is no butler repository" in survey.complaint()[0]


def test_the_repositorys_own_campaign_file_is_fine(tmp_path: Path) -> None:
    from merian_campaign.files.campaign_file import load_campaign  # noqa: PLC0415

    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "butler.yaml").touch()
    file = Path(__file__).parents[2] / "campaign" / "demo.yaml"
    loaded = load_campaign(str(file), environment={**os.environ, "DEMO_DIR": str(tmp_path)})
    assert loaded.spec.campaign == "demo"
    assert loaded.spec.butler == f"{tmp_path}/repo"


def test_complaints_are_short_and_inert_whatever_the_file_holds(survey: Survey) -> None:
    survey.edit("skymap: rings", 'skymap: {"\\e[2J": "\\u202e"}')
    survey.edit("instrument: DECam", f'instrument: [{", ".join(["[/x]"] * 100)}]\n"{"k" * 100_000}\\e[2J": 1')
    survey.edit("detector NOT IN (31, 61)", f'{{"\\e]52;c;x\\a": "{"v" * 100_000}"}}')
    survey.edit("memory: 4096", f'memory: "{"m" * 100_000}\\e[2J"')
    said = "\n".join(survey.complaint())
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert len(said) < 10_000


def test_a_file_with_thousands_of_problems_lists_the_first(survey: Survey) -> None:
    keys = "\n".join(f"key{number}: 1" for number in range(5000))
    survey.edit("skymap: rings", f"skymap: rings\n{keys}")
    said = survey.complaint()
    assert len(said) == 51
    assert said[-1] == "and 4950 more problems"


def test_a_file_of_overrides_lies_beside_the_campaign_file(survey: Survey) -> None:
    survey.edit("    resources:\n", '    config_files: ["isr:config/isr.py"]\n    resources:\n')
    assert f"the file of overrides {survey.folder}/config/isr.py does not exist" in survey.complaint()[0]
    (survey.folder / "config").mkdir()
    (survey.folder / "config" / "isr.py").touch()
    step = survey.load().spec.steps[0]
    assert isinstance(step, BpsStep)
    assert step.config_files == (f"isr:{survey.folder}/config/isr.py",)


@pytest.mark.parametrize(
    ("old", "new", "here"),
    [
        ("butler: repo", "butler: repo\ncomputeSite: local", "site"),
        ("    where: ", "    dataQuery: ", "where"),
        ("{memory: 4096,", "{requestMemory: 4096,", "memory, under resources: and a task"),
    ],
)
def test_words_of_bps_are_answered_with_what_they_are_called(
    survey: Survey, old: str, new: str, here: str
) -> None:
    survey.edit(old, new)
    assert any(line.endswith(f"; here this is called {here}") for line in survey.complaint())
