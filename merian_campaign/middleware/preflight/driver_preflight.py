"""The preflight of one group, in the process of its driver that has lsst loaded, before its graph is built.

An error that a person must mend ends the submission. That something could not be looked at never does:
building the graph will show what is the matter, and is tried again.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import NoReturn

from merian_campaign.domain.preflight.facts import Finding, PipelineFacts
from merian_campaign.domain.preflight.group_check import GroupCheck, group_findings, refusal
from merian_campaign.domain.preflight.scope import wants_skymap
from merian_campaign.domain.rendering.naming import SubmissionPaths
from merian_campaign.domain.rendering.render import with_skymap
from merian_campaign.host.atomic_files import write_if_changed, write_json
from merian_campaign.host.regular_files import read_json_object, read_text


def check(paths: SubmissionPaths) -> str:
    """Look at what a submission reads and writes; tell it in its log and in ``findings.json``.

    Parameters
    ----------
    paths : `SubmissionPaths`
        The submission's files.

    Returns
    -------
    why : `str`
        The first error with what to do; empty when the graph may be built.
    """
    try:
        content = read_json_object(Path(paths.preflight))
        if content is None:
            return ""
        found = _look(GroupCheck.from_json(content), paths)
    except Exception as error:  # noqa: BLE001 - see the module
        traceback.print_exc()
        found = (
            Finding(place="preflight", message=f"it failed: {type(error).__name__}: {error}", fatal=False),
        )
    for finding in found:
        sys.stderr.write(f"preflight: {'error' if finding.fatal else 'note'}: {finding.text}\n")
    sys.stderr.flush()
    why = refusal(found)
    told = [{"place": each.place, "fatal": each.fatal, "text": each.text} for each in found]
    write_json(Path(paths.findings), {"version": 1, "refused": why, "findings": told})
    return why


def _look(asked: GroupCheck, paths: SubmissionPaths) -> tuple[Finding, ...]:
    from merian_campaign.middleware.preflight.butler_queries import ButlerQueries  # noqa: PLC0415 - used with lsst only

    look = asked.look
    with ButlerQueries.of(asked.repository) as inquiry:
        pipeline = inquiry.pipeline(look)
        added = _add_skymap(asked, pipeline, Path(paths.yaml))
        if not asked.first:
            return added
        repository = inquiry.facts(
            [look],
            pipelines={look.place: pipeline},
            instrument=asked.instrument,
            skymap=asked.skymap,
            made=None,
            names=(*look.inputs, *asked.chains, asked.run),
        )
    if repository.problem or not repository.there:
        words = repository.problem or f"{asked.repository} is not there"
        return (*added, Finding(place="butler", message=words, fatal=False))
    return added + group_findings(asked, pipeline=pipeline, repository=repository)


def _add_skymap(asked: GroupCheck, pipeline: PipelineFacts, file: Path) -> tuple[Finding, ...]:
    """Write the sky map into the data query of a submission that needs it and has none; say so."""
    if asked.skymap is None or pipeline.problem or not wants_skymap(asked.look, pipeline):
        return ()
    write_if_changed(file, with_skymap(read_text(file), asked.skymap))
    message = f"its tasks work by sky map: skymap = '{asked.skymap}' was added to its data query"
    return (Finding(place=asked.look.place, message=message, fatal=False),)


def check_apart(paths: SubmissionPaths) -> str:
    """Do `check` in a forked child: what it imports and opens does not stay in this process."""
    if not Path(paths.preflight).exists():
        return ""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Threads that Python warns of are those of numerical libraries, which sleep.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _become_check(paths)
    os.waitpid(pid, 0)
    return refusal_in(paths)


def _become_check(paths: SubmissionPaths) -> NoReturn:
    from merian_campaign.host import termination  # noqa: PLC0415

    code = 70
    try:
        termination.die_with_parent()
        check(paths)
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may go back into the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def refusal_in(paths: SubmissionPaths) -> str:
    """Return why a submission's preflight refused it; empty when it did not."""
    content = read_json_object(Path(paths.findings))
    return "" if content is None else str(content.get("refused", ""))
