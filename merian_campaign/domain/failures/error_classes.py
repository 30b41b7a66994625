"""Which errors of butler actions pass by themselves, and which only a person can mend."""

from __future__ import annotations

import re
from datetime import timedelta

from merian_campaign.domain.safe_text.text import clean

_PASSING = re.compile(
    r"database is locked|OperationalError|connection (was )?(reset|refused|timed out|closed)"
    r"|could not connect|could not (receive|send) data|server closed the connection"
    r"|too many (clients|connections)|deadlock|could not serialize|time-?d? ?out|stale file handle"
    r"|input/output error|disk i/o error|no space left|disk quota exceeded|temporar(y|ily)|try again"
    r"|BlockingIOError|helper died|cannot allocate memory|too many open files|network is unreachable"
    r"|no route to host|broken pipe|killed by SIG(KILL|TERM|HUP|BUS)",
    re.IGNORECASE,
)
_CERTAIN = re.compile(
    r"password authentication failed|no pg_hba.conf entry|(database|role|relation) \S+ does not exist"
    r"|no such (table|column)",
    re.IGNORECASE,
)
_HOPELESS = re.compile(
    r"FOREIGN KEY constraint|UNIQUE constraint|no such file or directory|does not exist|not found in registry"
    r"|no module named|could not be imported|ImportError|ModuleNotFoundError|SyntaxError|NameError"
    r"|(Value|Type|Key|Attribute|Index|Assertion|NotImplemented)Error"
    r"|No such (option|command)|Invalid value|Missing (argument|option)|Got unexpected"
    r"|Missing(DatasetType|Collection)\w*Error|CollectionTypeError|Conflicting\w*Error|Conflict\b"
    r"|FieldValidationError|ValidationError|OrphanedRecord|DataIdValueError|DimensionNameError"
    r"|permission denied|read-only file system|No inputs found|cannot be started|UserExpressionError"
    r"|InvalidQueryError|UnknownComponentError|RegistryConsistencyError",
    re.IGNORECASE,
)

FIRST_PAUSE = timedelta(seconds=30)
"""Before the second try of an action."""

LONGEST_PAUSE = timedelta(hours=1)
_GROWTH = 4


def needs_person(text: str, *, checked: bool) -> bool:
    """Say whether an error stays until a person changes something.

    Parameters
    ----------
    text : `str`
        The error with what else is known of it, e.g. a command's last output.
    checked : `bool`
        Whether a check of ours refused it, rather than a command that failed: what a check finds wrong stays
        wrong, unless it could not look.
    """
    text = clean(text)  # not all that a command may have printed on one line
    if _CERTAIN.search(text):
        return True
    if _PASSING.search(text):
        return False
    return checked or _HOPELESS.search(text) is not None


def passes(text: str) -> bool:
    """Say whether an error is one that passes by itself, whatever else it says."""
    text = clean(text)
    return _CERTAIN.search(text) is None and _PASSING.search(text) is not None


def pause_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures: 30 s, 2 min, 8 min, 32 min, 1 h ..."""
    pause = FIRST_PAUSE
    for _ in range(1, failures):
        pause = min(LONGEST_PAUSE, pause * _GROWTH)
    return pause
