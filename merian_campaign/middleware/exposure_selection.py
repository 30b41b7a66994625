"""Asks a repository which exposures a data query selects."""

from __future__ import annotations

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.middleware.actions.runner import ActionError, reading


def select(*, repository: str, where: str) -> list[tuple[int, int]]:
    """Return the exposures of a repository that a data query selects, each with its night.

    Raises
    ------
    UnavailableError
        Raised if the repository cannot be opened, or refuses the query.
    """
    try:
        with reading(repository) as butler, butler.query() as query:
            ids = query.where(where).data_ids(["exposure"]).with_dimension_records()
            return sorted({(int(row["exposure"]), int(row["day_obs"])) for row in ids})
    except ActionError as error:
        raise UnavailableError(str(error)) from None
    except Exception as error:
        raise UnavailableError(f"{repository} refuses the query {where!r}: {error}") from error
