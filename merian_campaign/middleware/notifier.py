"""Sends notices: through Apprise, or to a program of the user's own; and signs of life."""

from __future__ import annotations

import logging
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Final

from merian_campaign.domain.failures.fault_attribution import words_of
from merian_campaign.domain.safe_text.text import one_line
from merian_campaign.domain.tick.notices import Channel

__all__ = ["ChannelNotifier"]

_COMMAND: Final = "command:"
_PATIENCE_SECONDS: Final = 60
_BEAT_SECONDS: Final = 10

_MISSING: Final = "notices need Apprise, which is not there: pip install 'merian-campaign[notices]'"


class ChannelNotifier:
    """Sends what people are told; whatever goes wrong is an answer in words without secrets, never an error.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`
        Environment of the user's own programs.
    """

    def __init__(self, *, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)

    def send(self, channel: Channel, *, subject: str, body: str) -> str:
        """Send a message; return in words why it did not get there, or nothing."""
        if channel.url.startswith(_COMMAND):
            return self._run(channel.url.removeprefix(_COMMAND), subject=subject, body=body)
        return _send(channel.url, subject=subject, body=body)

    def beat(self, place: str) -> str:
        """Touch a file or get a URL, as a sign of life; return in words why not, or nothing."""
        try:
            if place.startswith(("http://", "https://")):
                with urllib.request.urlopen(place, timeout=_BEAT_SECONDS):  # noqa: S310 - http(s) only
                    return ""
            path = Path(place).expanduser()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except (OSError, ValueError) as error:
            # Of a URL only what went wrong: it may hold a key.
            words = type(error).__name__ if "://" in place else words_of(error)
            return f"the heartbeat did not get out: {words}"
        return ""

    def _run(self, program: str, *, subject: str, body: str) -> str:
        try:
            done = subprocess.run(
                [str(Path(program).expanduser()), subject],
                input=f"{body}\n",
                env=self._environ,
                capture_output=True,
                text=True,
                errors="backslashreplace",
                check=False,
                timeout=_PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"{program} did not end within {_PATIENCE_SECONDS} s"
        except OSError as error:
            return words_of(error)
        return one_line(f"{program} ended with {done.returncode}: {done.stderr}") if done.returncode else ""


def _send(url: str, *, subject: str, body: str) -> str:
    try:
        import apprise  # noqa: PLC0415 - an extra, and slow
    except ModuleNotFoundError:
        return _MISSING
    # Its log names what went wrong, and may name the URL: only its own level says that something did.
    heard = StringIO()
    with redirect_stdout(heard), redirect_stderr(heard):
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        sender = apprise.Apprise()
        if not sender.add(url):
            return "Apprise does not know such a URL; see its documentation (or write command:PROGRAM)"
        try:
            there = sender.notify(title=subject, body=body)
        except Exception as error:  # noqa: BLE001 - of any plug-in; a notice must not end a tick
            return f"Apprise failed: {type(error).__name__}"
    return "" if there else "it was not delivered (the service does not answer, or refuses)"
