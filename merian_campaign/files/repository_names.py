"""What a person calls a butler repository: a label, a path or a URI; as the butler itself reads it.

Labels are those of ``DAF_BUTLER_REPOSITORY_INDEX``, a file, or ``DAF_BUTLER_REPOSITORIES``, its content
(``lsst.daf.butler.ButlerRepoIndex``). They are replaced when a file is read: locks, ownership and all else go
by one name of a repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from merian_campaign.domain.errors import BadInputError
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.files.bounded_yaml import WrongYamlError, compose, construct, read_data
from merian_campaign.files.paths import absolute

INDEX = "DAF_BUTLER_REPOSITORY_INDEX"
LISTED = "DAF_BUTLER_REPOSITORIES"


class RepositoryNames:
    """The labels of an environment.

    Parameters
    ----------
    environment : `~collections.abc.Mapping`
        Its variables.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._uris: Mapping[str, str] = {}
        self._problem = ""
        try:
            self._uris = _read(environment)
        except BadInputError as error:
            self._problem = str(error)

    def place(self, name: str, base: Path) -> str:
        """Return where a repository is: an absolute path, or a URI that is no file's.

        Parameters
        ----------
        name : `str`
            Label, path or URI.
        base : `~pathlib.Path`
            Folder that relative paths are taken from.
        """
        found = self._uris.get(name, name)
        parts = urlsplit(found) if found.startswith("file:") else None
        if parts is not None and parts.netloc in {"", "localhost"}:
            found = unquote(parts.path)
        return found if "://" in found or not found else absolute(found, base)

    def hint(self) -> str:
        """Return in words which labels there are, or why none is known; empty for an index without any."""
        if self._problem:
            return f"no label is known: {self._problem}"
        return f"known labels: {one_line(', '.join(sorted(self._uris)), limit=300)}" if self._uris else ""


def _read(environment: Mapping[str, str]) -> Mapping[str, str]:
    place, listed = environment.get(INDEX, ""), environment.get(LISTED, "")
    if place and listed:
        raise BadInputError(f"both {INDEX} and {LISTED} are set, and the butler takes one of them")
    if not place and not listed:
        raise BadInputError(f"{INDEX} is not set")
    content: object = {}
    if listed:
        try:
            root = compose(listed)
            content = None if root is None else construct(root)
        except WrongYamlError as error:
            raise BadInputError(f"{LISTED}: {error.message}") from None
    else:
        file = urlsplit(place)
        if file.scheme not in {"", "file"}:
            raise BadInputError(
                f"{INDEX}: {one_line(place)} is no local file; write the repository's URI, not its label"
            )
        content = read_data(Path(unquote(file.path) if file.scheme else place))
    if not isinstance(content, dict) or not all(isinstance(entry, str) for entry in content.values()):
        raise BadInputError(f"{INDEX if place else LISTED}: it is no mapping of labels to URIs")
    return {str(label): uri for label, uri in content.items()}
