"""Stopping in good order on SIGTERM and SIGINT."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType


class Interrupted(Exception):
    """The run was asked to stop and everything is saved.

    Args:
        signum: the signal; the exit code is 128 + its number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


class StopRequest:
    """Notes the first SIGTERM or SIGINT for the next step boundary; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            os._exit(128 + signum)
        self.signum = signum

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come."""
        if self.signum is not None:
            raise Interrupted(self.signum)
