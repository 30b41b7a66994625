"""The bash text that sets up a stack, and what its failure is called."""

from __future__ import annotations

import shlex

from merian_campaign.domain.safe_text.shell import quoted, shown
from merian_campaign.domain.spec.stack import Stack, setup_words

FILE_VARIABLE = "MERIAN_CAMPAIGN_STACK"
"""Environment variable: the file by which the stack of this process was set up."""

_HEAD = """\
# The LSST environment of this submission, from `stack:` of its campaign and site.
# Drivers begin with it; to work in the same environment by hand:  source {file}
"""

_STRICT = """\
# From here on, a line that fails ends the driver (not the shell of a person who sources this).
case $- in *i*) ;; *) set -e ;; esac
{text}
set +e
"""


def prelude(stack: Stack, *, file: str) -> str:
    """Return the text of a submission's ``stack.sh``.

    Parameters
    ----------
    stack : `Stack`
        What to set up.
    file : `str`
        Where the text will lie.
    """
    quoted = shlex.quote(file)
    lines = [_HEAD.format(file=quoted), *(_checked(command) for command in commands(stack))]
    if stack.prelude.strip():
        lines.append(_STRICT.format(text=stack.prelude.rstrip("\n")).rstrip("\n"))
    lines.append(f"export {FILE_VARIABLE}={quoted}")
    return "\n".join(lines) + "\n"


def commands(stack: Stack) -> tuple[str, ...]:
    """Return what a person would type to set a stack up, free text left out."""
    lines = []
    if stack.environment is not None:
        lines.append(f"export LSST_CONDA_ENV_NAME={quoted(stack.environment)}")
    elif stack.load is not None:
        lines.append("unset LSST_CONDA_ENV_NAME")
    if stack.load is not None:
        lines.append(shown(("source", stack.load)))
    lines += [shown(("setup", *setup_words(line))) for line in stack.setup]
    lines += [shown(("setup", "-j", "-r", folder)) for folder in stack.packages]
    return tuple(lines)


def _checked(command: str) -> str:
    """Return a line that ends the file with its reason when the command fails."""
    if not command.startswith(("source ", "setup ")):
        return command
    said = shlex.quote(f"this failed: {command}")
    return f"{command} || {{ echo {said} >&2; return 1; }}"


def failure(last_words: str) -> str:
    """Return the reason of a submission whose stack could not be set up."""
    return f"the stack could not be set up: {last_words.strip() or 'no word of why'}; see driver.log"
