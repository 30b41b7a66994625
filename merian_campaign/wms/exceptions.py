"""What the exceptions of a quantum's task are, by class: names of their bases, noted where they are caught.

The middleware writes the name of an exception's type and no more; what it is (an ``AlgorithmError``?) only
the process that has its class can tell.
"""

from collections.abc import Callable
from typing import Any, Final

from merian_campaign.wms.upstream import replace_type_names

__all__ = ["MOST_BASES", "MOST_TYPES", "bases_of", "watch_exceptions"]

MOST_TYPES: Final = 5
"""Types of exceptions noted for one process; one job holds few quanta."""

MOST_BASES: Final = 20
"""Bases noted for one type."""

_LONGEST: Final = 200
_EVERYBODYS: Final = (BaseException, object)


def bases_of(kind: type) -> list[str]:
    """Return the full names of a class and its bases, nearest first, spelled as provenance spells types.

    Parameters
    ----------
    kind : `type`
        A class of exceptions.
    """
    from lsst.utils.introspection import get_full_type_name  # noqa: PLC0415 - heavy; loaded already in workers

    classes = [base for base in kind.__mro__ if base not in _EVERYBODYS]
    return [str(get_full_type_name(base))[:_LONGEST] for base in classes[:MOST_BASES]]


def watch_exceptions() -> dict[str, list[str]]:
    """Note the bases of every exception that a task raises in this process from now on.

    The middleware asks for the name of an exception's type when it has caught one, and there it is looked at:
    a function around the task would appear in the tracebacks of logs.

    Returns
    -------
    noted : `dict` [`str`, `list` [`str`]]
        Filled as they are caught: names of bases by the type's name. Nothing is noted where a release of the
        middleware does this in another way.
    """
    noted: dict[str, list[str]] = {}

    def noting(name_of: Callable[[Any], Any], item: Any) -> str:  # noqa: ANN401 - as upstream's
        name = str(name_of(item))
        if isinstance(item, BaseException) and len(noted) < MOST_TYPES:
            noted.setdefault(name[:_LONGEST], bases_of(type(item)))
        return name

    replace_type_names(noting)
    return noted
