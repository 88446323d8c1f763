"""The loop of a sweep: it starts what is missing, notes what ended, and continues when a run fails."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import Signals

from utils.config.flags import UsageError, printable
from utils.run.failures import DIVERGED, USAGE, explain
from utils.run.lock import FolderLock
from utils.run.stamped import RunFileError
from utils.sweep.display import Display
from utils.sweep.engines import Ended, Engine, Job
from utils.sweep.units import Unit


def drive(
    units: Sequence[Unit],
    engine: Engine,
    program: Sequence[str],
    retries: int,
    display: Display,
    check_stop: Callable[[], None],
) -> dict[Unit, str]:
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
        The runs that failed, each with the reason in one line.
    """
    pending = dict(enumerate(units))
    running: dict[int, Unit] = {}
    failures: dict[Unit, str] = {}

    def note_end(unit: Unit, failure: str) -> None:
        if failure:
            failures[unit] = failure
        display.ended(unit, failure)

    while pending or running:
        check_stop()
        for number, end in engine.ended().items():
            unit = running.pop(number)
            if end.code == USAGE and (FolderLock(unit.run.path).is_held() or _is_complete(unit)):
                pending[number] = unit  # another sweep was faster by a moment
            else:
                note_end(unit, failure_of(unit, end))
        chosen = _choose(pending, running, engine.room(len(running)), note_end)
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
        waits = engine.waiting()
        display.refresh(
            {unit: waits.get(number, "") for number, unit in running.items()}, waiting=bool(pending) and not running
        )
        if pending or running:
            time.sleep(engine.poll_seconds)
    return failures


def _choose(
    pending: dict[int, Unit], running: Mapping[int, Unit], room: int, note_end: Callable[[Unit, str], None]
) -> dict[int, Unit]:
    """Take what can be started now out of `pending`, and what is complete meanwhile or refused."""
    busy = {unit.run.path for unit in running.values()}
    chosen: dict[int, Unit] = {}
    for number, unit in list(pending.items()):
        if len(chosen) >= room:
            break
        path = unit.run.path
        if path in busy or FolderLock(path).is_held():
            continue
        del pending[number]
        try:
            complete = unit.run.result() is not None
        except (UsageError, RunFileError, OSError) as error:
            note_end(unit, str(error) if isinstance(error, UsageError) else explain(error) or str(error))
            continue
        if complete:  # another sweep did it
            note_end(unit, failure_of(unit, Ended(0)))
        else:
            busy.add(path)
            chosen[number] = unit
    return chosen


def _is_complete(unit: Unit) -> bool:
    try:
        return unit.run.result() is not None
    except (UsageError, RunFileError, OSError):
        return False


def failure_of(unit: Unit, end: Ended) -> str:
    """Why a run that ended so failed, in one line; empty if it did not."""
    if end.reason:
        return end.reason
    if end.code < 0:
        return f"was ended by {_signal_name(-end.code)} at every start; its log ends: {message_of(unit.log)}"
    if end.code not in (0, DIVERGED):
        return f"exit code {end.code}: {message_of(unit.log)}"
    summary = unit.run.result()
    if summary is None:
        return f"ended, but there is no result in {unit.run.path}; is that folder shared by all machines?"
    return "diverged: a loss or gradient was not finite, again and again" if summary["status"] == "diverged" else ""


def _signal_name(number: int) -> str:
    return Signals(number).name if number in {known.value for known in Signals} else f"signal {number}"


def message_of(log: Path) -> str:
    """The first line of the message with which a program ended, which names it; else the last line of the log."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return f"there is no log {log}"
    lines = [printable(line.strip()) for line in text.replace("\r", "\n").splitlines() if line.strip()]
    named = (line for line in reversed(lines) if re.match(r"\w+\.py: ", line))
    return next(named, lines[-1] if lines else "it is empty")
