"""The loop of a sweep: it starts what is missing, notes what ended, and continues when a run fails."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from utils.config.flags import UsageError
from utils.run.lock import FolderLock
from utils.run.stamped import RunFileError
from utils.sweep.display import Display
from utils.sweep.engines import Ended, Engine, Job
from utils.sweep.units import Unit

USAGE, DIVERGED = 2, 3


@dataclass(frozen=True)
class Failure:
    """A run that came to nothing.

    Attributes:
        unit: which.
        reason: in one line.
    """

    unit: Unit
    reason: str


def drive(
    units: Sequence[Unit],
    engine: Engine,
    program: Sequence[str],
    retries: int,
    display: Display,
    check_stop: Callable[[], None],
) -> list[Failure]:
    """Run what is not complete.

    Two of the runs that share a folder, as those that differ in K do, never run at once; nor does one that another
    sweep has in hand, which is waited for.

    Args:
        units: those that are not complete.
        engine: executes them.
        program: the words before those of a run, such as `python run_models.py`.
        retries: how often a run that was lost is started again.
        display: shows how far the sweep is.
        check_stop: raises when the sweep is to end.

    Returns:
        The runs that failed.
    """
    pending = list(enumerate(units))
    running: dict[int, Unit] = {}
    failures: list[Failure] = []
    while pending or running:
        check_stop()
        for number, end in engine.ended().items():
            unit = running.pop(number)
            if end.code == USAGE and (FolderLock(unit.run.path).is_held() or _is_complete(unit)):
                pending.append((number, unit))  # another sweep was faster by a moment
                continue
            failure = judge(unit, end)
            failures += [failure] if failure else []
            display.ended(unit, failure.reason if failure else None)
        chosen = _choose(pending, running, engine.room(len(running)), display, failures)
        if chosen:
            engine.start(
                {
                    number: Job(
                        (*program, *unit.words), unit.run.path.absolute(), unit.log.absolute(), engine.cores, retries
                    )
                    for number, unit in chosen.items()
                }
            )
            running.update(chosen)
        waiting = engine.waiting()
        states = {unit: waiting.get(number, "") for number, unit in running.items()}
        display.refresh(states, waiting=bool(pending) and not running)
        if pending or running:
            time.sleep(engine.poll_seconds)
    return failures


def _choose(
    pending: list[tuple[int, Unit]],
    running: dict[int, Unit],
    room: int,
    display: Display,
    failures: list[Failure],
) -> dict[int, Unit]:
    """Take what can be started now out of `pending`, and what is complete meanwhile or refused."""
    busy = {unit.run.path for unit in running.values()}
    chosen: dict[int, Unit] = {}
    for item in list(pending):
        if len(chosen) >= room:
            break
        number, unit = item
        path = unit.run.path
        if path in busy or FolderLock(path).is_held():
            continue
        pending.remove(item)
        try:
            complete = unit.run.result() is not None
        except (UsageError, RunFileError) as error:
            failures.append(Failure(unit, str(error)))
            display.ended(unit, str(error))
            continue
        if complete:  # another sweep did it
            failure = judge(unit, Ended(0))
            failures += [failure] if failure else []
            display.ended(unit, failure.reason if failure else None)
        else:
            busy.add(path)
            chosen[number] = unit
    return chosen


def _is_complete(unit: Unit) -> bool:
    try:
        return unit.run.result() is not None
    except (UsageError, RunFileError):
        return False


def judge(unit: Unit, end: Ended) -> Failure | None:
    """Whether a run that ended so failed, and why."""
    if end.reason:
        return Failure(unit, end.reason)
    if end.code < 0:
        return Failure(
            unit, f"was ended by {_signal_name(-end.code)} at every start; its log ends: {message_of(unit.log)}"
        )
    if end.code not in (0, DIVERGED):
        return Failure(unit, f"exit code {end.code}: {message_of(unit.log)}")
    summary = unit.run.result()
    if summary is None:
        return Failure(
            unit, f"ended, but there is no result in {unit.run.path}; is that folder shared by all machines?"
        )
    if summary["status"] == "diverged":
        return Failure(unit, "diverged: a loss or gradient was not finite, again and again")
    return None


def _signal_name(number: int) -> str:
    return Signals(number).name if number in {known.value for known in Signals} else f"signal {number}"


def message_of(log: Path) -> str:
    """The first line of the message with which a program ended, which names it; else the last line of the log."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return f"there is no log {log}"
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    named = (line for line in reversed(lines) if re.match(r"\w+\.py: ", line))
    return next(named, lines[-1] if lines else "it is empty")


def default_program() -> tuple[str, ...]:
    """The words that start `run_models.py` with this interpreter."""
    return (sys.executable, str(Path(__file__).parents[2] / "run_models.py"))


def repeat_command(words: Sequence[str]) -> str:
    """The command that continues a sweep."""
    return shlex.join(["python", "-m", "utils.sweep", *words])
