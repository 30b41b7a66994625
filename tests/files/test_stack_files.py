"""The files of a stack: found from where they are named, judged where they can be seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from survey_help import Survey

from merian_campaign.domain.errors import BadFileError
from merian_campaign.domain.resources.site_profile import SiteProfile
from merian_campaign.files.site_file import read_site
from merian_campaign.files.stack_files import check_stack_files

JOBS = "driver: slurm\ndriver_options: {account: merian}\n"


def check(survey: Survey, site: SiteProfile) -> None:
    loaded = survey.load()
    check_stack_files(loaded.spec, path=loaded.path, shown="night.yaml", site=site)


def site_with(survey: Survey, text: str) -> SiteProfile:
    file = survey.folder / "local.yaml"
    file = file if file.exists() else Path(survey.load().spec.site)
    file.write_text(text + file.read_text())
    return read_site(str(file))


def test_paths_are_those_beside_the_file_that_names_them(survey: Survey) -> None:
    (survey.folder / "load.sh").touch()
    (survey.folder / "obs_decam" / "ups").mkdir(parents=True)
    survey.edit("site: local", "site: local\nstack: {load: load.sh, packages: [obs_decam]}")
    site = site_with(survey, "stack: {load: ../load.sh, setup: lsst_distrib}\n")
    spec = survey.load().spec
    assert spec.stack is not None
    assert spec.stack.load == str(survey.folder / "load.sh")
    assert spec.stack.packages == (str(survey.folder / "obs_decam"),)
    assert site.stack is not None
    assert site.stack.load == str((Path(site.file).parent / ".." / "load.sh").resolve())
    check(survey, site)


def test_what_is_missing_is_named_with_the_file_that_names_it(survey: Survey) -> None:
    line = survey.edit("site: local", "site: local\nstack: {packages: [obs_decam, /no/such]}") + 1
    (survey.folder / "obs_decam").mkdir()
    site = site_with(survey, "stack: {load: /opt/loadLSST.sh, packages: [/other]}\n")
    with pytest.raises(BadFileError) as caught:
        check(survey, site)
    no_package = f"{survey.folder}/obs_decam is no package of the stack: it has no folder ups"
    assert str(caught.value).splitlines() == [
        f"{site.file}: stack.load: there is no /opt/loadLSST.sh on this host, where drivers would start",
        f"night.yaml:{line}: stack.packages: {no_package}, by which eups sets it up",
        f"night.yaml:{line}: stack.packages: there is no folder /no/such on this host",
    ]


def test_of_slurm_jobs_only_what_can_be_seen_is_judged(survey: Survey) -> None:
    survey.edit("site: local", "site: local\nstack: {load: /projects/HSC/loadLSST.sh}")
    site = site_with(survey, JOBS)
    check(survey, site)
    survey.edit("/projects/HSC/loadLSST.sh", str(survey.folder / "loadLSST.sh"))
    with pytest.raises(BadFileError, match=r"loadLSST\.sh on this host"):
        check(survey, site)
