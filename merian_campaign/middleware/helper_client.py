"""The parent's end of `butler_helper`: ask it, and turn its refusals into errors."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from merian_campaign.domain.errors import UnavailableError
from merian_campaign.domain.safe_text import json_values
from merian_campaign.host import termination
from merian_campaign.host.atomic_files import appending


class HelperError(UnavailableError):
    """The butler refused a request, or the helper process died.

    Parameters
    ----------
    message : `str`
        Why.
    needs_person : `bool`
        Whether another try gives the same.
    """

    def __init__(self, message: str, *, needs_person: bool = False) -> None:
        super().__init__(message)
        self.needs_person = needs_person


class ButlerHelper:
    """A child process with the LSST middleware in it, started when it is first asked.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`
        Its environment.
    log : `str`
        File for what it prints.
    """

    def __init__(self, *, environ: Mapping[str, str], log: str) -> None:
        self._environ = dict(environ)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the process without waiting for it, so that its imports run beside other work."""
        if self._process is not None:
            return
        with appending(self._log) as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "merian_campaign.middleware.butler_helper"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environ,
                preexec_fn=termination.die_with_parent,  # noqa: PLW1509 - see bps_run
            )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
        """Send one request and return its answer.

        Raises
        ------
        HelperError
            Raised if it was refused.
        """
        self.send(do, **arguments)
        return self.answer()

    def send(self, do: str, **arguments: Any) -> None:  # noqa: ANN401 - JSON values
        """Send one request; its answer is fetched by `answer`."""
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write((json.dumps({"do": do, **arguments}) + "\n").encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise HelperError(f"the butler helper died; see {self._log}") from None

    def answer(self) -> dict[str, Any]:
        """Return the answer to the oldest request that has none yet."""
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise HelperError(f"the butler helper died; see {self._log}")
        try:
            answer = json_values.loads(line)
        except json_values.WrongValueError as error:
            raise HelperError(f"the butler helper gave no answer that can be read: {error}") from None
        if not isinstance(answer, dict):
            raise HelperError("the butler helper gave no answer that can be read: no object")
        if not answer.pop("ok", False):
            raise HelperError(str(answer.get("error")), needs_person=bool(answer.get("needs_person")))
        return answer

    def has_answered(self, *, within: float) -> bool:
        """Say whether the answer to the only request under way is there; wait for it so many seconds."""
        assert self._process is not None
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], within)[0])

    def stop(self, *, patience: float) -> None:
        """End the process in the middle of a request, with all that it has started.

        What it has started is asked to end and given ``patience`` seconds for that, then killed.
        """
        if self._process is not None:
            termination.stop_tree(self._process.pid, patience=patience)
            self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        termination.stop_child(self._process, patience=5.0)
        self._process = None
