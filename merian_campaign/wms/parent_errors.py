"""What a job is told of the jobs before it: that one did not succeed, and nothing of why.

Parsl hands on the whole error of every parent, each with the errors of its own parents inside, and writes all
of it out once a job: as many words as there are paths to the job that failed.  The driver keeps each job's
own error; a short one is enough here.
"""

from concurrent.futures import Future

from parsl.dataflow.dependency_resolvers import SHALLOW_DEPENDENCY_RESOLVER, DependencyResolver

__all__ = ["RESOLVER", "ParentFailedError"]


class ParentFailedError(Exception):
    """A job before this one did not succeed.

    Parameters
    ----------
    kind : `str`
        Name of that job's exception.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)


def _unwrap(value: object) -> object:
    """Return a future's result, any other value as it is.

    Raises
    ------
    ParentFailedError
        The future holds an exception.
    """
    if not isinstance(value, Future):
        return value
    error = value.exception()
    if error is not None:
        raise ParentFailedError(type(error).__name__)
    return value.result()


RESOLVER = DependencyResolver(
    traverse_to_gather=SHALLOW_DEPENDENCY_RESOLVER.traverse_to_gather, traverse_to_unwrap=_unwrap
)
"""How Parsl finds and reads the futures among a job's arguments."""
