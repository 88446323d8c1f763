"""Stopping in good order on the signals that ask for it."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# The signals that ask a run to save its state and leave, as far as the system has them. A terminal that closes sends
# HUP, and Slurm USR2 before the time limit.
STOPPING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2") if hasattr(signal, name)
)

# Seconds that a signal waits for a step boundary; together with leaving, it stays below five.
PATIENCE = 4.0
# Seconds after which it is tried again where nothing could be raised.
AGAIN = 0.05


class Interrupted(BaseException):
    """The run was asked to stop, and what it had is saved.

    Like KeyboardInterrupt it is no Exception, so that nothing on its way takes it for an error of its own.

    Args:
        signum: the signal; the exit code is 128 + its number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


def end_on_ctrl_c() -> None:
    """Let Ctrl-C end the process at once and without a word, where Python would print a traceback.

    A program calls it first of all; once its imports are done, `StopRequest` heeds the signal.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _is_importing(frame: FrameType | None) -> bool:
    calls = traceback.walk_stack(frame)
    return any(call.f_code.co_filename.startswith("<frozen importlib._bootstrap") for call, _ in calls)


class StopRequest:
    """Turns the first of the signals `STOPPING` into `Interrupted`; a second one ends the process at once.

    Use it as a context manager, in the main thread. `Interrupted` is raised where the signal finds the program, or
    after an import that is on its way; but within `deferred()` only by `check()`, so that training stops between two
    steps.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._deferring = False
        self._alarm_before: signal._HANDLER = None

    def __enter__(self) -> StopRequest:
        # What is ignored already, as HUP is under nohup, stays so.
        heeded = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in heeded}
        self._hook_before, sys.unraisablehook = sys.unraisablehook, self._raise_again
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._set_alarm(0)
        sys.unraisablehook = self._hook_before
        for number, handler in self._before.items():
            signal.signal(number, handler)
        # Native code that a signal interrupts may report an error of its own; a disk that is full while the state is
        # saved is worth more than the news that a signal came.
        if self.signum is not None and isinstance(error, Exception) and not isinstance(error, OSError):
            raise Interrupted(self.signum) from error

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within it a signal waits for `check()`, but not for ever: a step may take longer than a user waits."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
            self._set_alarm(0)
        self.check()

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come."""
        if self.signum is not None:
            raise Interrupted(self.signum)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        # The system's own reaction to the next one does not wait for the interpreter.
        for number in self._before:
            signal.signal(number, signal.SIG_DFL)
        self._deadline = time.monotonic() + PATIENCE
        if self._deferring:
            self._set_alarm(PATIENCE)
        else:
            self._leave(frame)

    def _leave(self, frame: FrameType | None) -> None:
        """Raise `Interrupted`, within an import only when it is over: native code that is being loaded may abort."""
        if hasattr(signal, "setitimer") and _is_importing(frame) and time.monotonic() < self._deadline:
            self._set_alarm(AGAIN)
        else:
            self.check()

    def _raise_again(self, lost: sys.UnraisableHookArgs) -> None:
        """Raise `Interrupted` a little later where the signal found Python in a callback, as of a weak reference.

        Nothing that is raised there reaches the program: Python prints it and goes on.
        """
        if isinstance(lost.exc_value, Interrupted):
            self._set_alarm(AGAIN)
        else:
            self._hook_before(lost)

    def _set_alarm(self, seconds: float) -> None:
        if not hasattr(signal, "setitimer"):  # on Windows
            return
        if seconds:
            if self._alarm_before is None:
                self._alarm_before = signal.signal(signal.SIGALRM, lambda signum, frame: self._leave(frame))
            signal.setitimer(signal.ITIMER_REAL, seconds)
        elif self._alarm_before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._alarm_before)
            self._alarm_before = None
