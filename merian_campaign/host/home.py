"""The home directory of merian-campaign, and the passwords that are kept there for what it starts."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.domain.safe_text.credentials import WrongUrlError, read_url
from merian_campaign.host.atomic_files import write_atomically
from merian_campaign.host.ownership import private_folder
from merian_campaign.host.regular_files import DamagedFileError, read_text

__all__ = [
    "DEFAULT_HOME",
    "HOME_VARIABLE",
    "URL_VARIABLE",
    "expanded",
    "give_account",
    "hide_passwords",
    "home_directory",
]

URL_VARIABLE: Final = "MERIAN_CAMPAIGN_DATABASE_URL"
HOME_VARIABLE: Final = "MERIAN_CAMPAIGN_HOME"
DEFAULT_HOME: Final = "~/.merian-campaign"

_FOLDER = "passfiles"


def home_directory(environ: Mapping[str, str] | None = None) -> Path:
    """Return the home directory, in which the embedded server lives, absolute.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`, optional
        Environment to read; the process's own by default.

    Raises
    ------
    UnavailableError
        Raised if it is not said where, and the account has no home directory.
    """
    environ = os.environ if environ is None else environ
    found = expanded(environ.get(HOME_VARIABLE) or DEFAULT_HOME)
    if str(found).startswith("~"):
        raise UnavailableError(
            f"this account has no home directory, and {found} is to lie there: set {HOME_VARIABLE}"
        )
    # Resolved: the server's socket is found by the path, which must be the same in every process.
    return found.resolve()


def expanded(path: str) -> Path:
    """Return a path with ``~`` replaced; one that names nobody's home stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def give_account(environ: MutableMapping[str, str]) -> None:
    """Give an account a name and a home directory where it has none: BPS and other libraries stop there."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        environ["LOGNAME"] = f"user{os.getuid()}"
    if environ.get(HOME_VARIABLE) and expanded("~") == Path("~"):
        environ["HOME"] = str(home_directory(environ))


def hide_passwords(environ: MutableMapping[str, str]) -> None:
    """Put the database's password into a file that this user alone can read, out of the environment.

    What is started with the environment connects as before: the URL, or ``PGPASSFILE`` in place of
    ``PGPASSWORD``, names the file.

    Parameters
    ----------
    environ : `~collections.abc.MutableMapping`
        An environment; changed.

    Raises
    ------
    OSError
        Raised if the file cannot be written.
    UntrustedError
        Raised if somebody else owns its folder, or may write it.
    """
    url = environ.get(URL_VARIABLE, "")
    try:
        found = read_url(url) if url else None
    except WrongUrlError:
        found = None  # said where it is used
    if found is not None and found.password is not None:
        file = _keep(found.password, of=found.url, home=home_directory(environ))
        joint = "&" if "?" in found.url else "?"
        environ[URL_VARIABLE] = f"{found.url}{joint}passfile={quote(str(file), safe='/')}"
    password = environ.get("PGPASSWORD")
    if password:
        # libpq prefers it to any passfile, so that no other is needed beside it.
        environ["PGPASSFILE"] = str(_keep(password, of="PGPASSWORD", home=home_directory(environ)))
        del environ["PGPASSWORD"]


def _keep(password: str, *, of: str, home: Path) -> Path:
    """Write a password file of libpq for any server, for it is named for one only; return its path."""
    from hashlib import sha256  # noqa: PLC0415 - few commands write one

    home.parent.mkdir(parents=True, exist_ok=True)
    if not home.exists():
        private_folder(home)
    private_folder(home / _FOLDER)

    file = home / _FOLDER / sha256(of.encode()).hexdigest()[:16]
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    text = f"*:*:*:*:{escaped}\n"
    try:
        same = read_text(file, follow=False) == text
    except (FileNotFoundError, DamagedFileError):
        same = False
    if not same:
        write_atomically(file, text, mode=0o600)
    return file
