"""What a sweep says while it runs: a line per worker and an overall bar on a terminal, plain lines elsewhere.

All of it goes to standard error: standard output has the table alone.
"""

import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from tqdm import tqdm

from utils.run.console import duration
from utils.run.metrics import headline, number
from utils.run.records import values_of
from utils.sweep.units import Unit

REFRESH_SECONDS = 0.5
HEARTBEAT_SECONDS = 60.0
LINES = 20  # of runs at most, each time
TAIL_BYTES = 16_384


class Display:
    """What the driver tells; it counts runs, and guesses the time that is left from the pace so far.

    Args:
        total: runs of the sweep.
        done: how many of them are complete already.
    """

    def __init__(self, total: int, done: int) -> None:
        self._total, self._done, self._began_with = total, done, done
        self._started = time.monotonic()

    def _left(self, running: float) -> str:
        """Time left in words, where runs that are under way make up `running` whole ones."""
        work = self._done - self._began_with + running
        if work <= 0:
            return "?"
        return duration((time.monotonic() - self._started) / work * (self._total - self._done - running))

    def ended(self, unit: Unit, failure: str) -> None:
        """A run is over; `failure` says why it failed, and is empty if it did not."""
        self._done += 1

    def refresh(self, running: Mapping[Unit, str], waiting: bool) -> None:
        """Time has passed.

        Args:
            running: the runs in hand, each with what it waits for, or an empty text if it computes.
            waiting: whether another sweep has all that is left in hand.
        """

    def close(self) -> None:
        """The sweep is over."""


def progress_of(unit: Unit, waits: str) -> tuple[float, str]:
    """How far a run is, between 0 and 1, and in words; read from the end of its metrics.

    Args:
        unit: the run.
        waits: what it waits for; empty if it computes.
    """
    try:
        with open(unit.run.metrics_path, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - TAIL_BYTES, 0))
            lines = file.read().splitlines()
        line = json.loads(lines[-1])
        epoch, validated = line["epoch"], line["val"]
    except (OSError, ValueError, IndexError, KeyError, TypeError):  # not there yet, or being written just now
        return 0.0, waits or "starting"
    text = f"{waits + ', ' if waits else ''}epoch {epoch}/{unit.config.epochs}"
    return epoch / unit.config.epochs, text + (f"  val {number(validated['elbo'])}" if validated else "")


def counts_of(running: Mapping[Unit, str]) -> str:
    """How many runs compute and how many wait, such as `2 running, 5 queued (Priority)`."""
    counts = Counter(waits or "running" for waits in running.values())
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items(), key=lambda item: item[0] != "running"))


class Lines(Display):
    """A line when a run begins, waits again or ends, and once a minute how far those are that compute."""

    def __init__(self, total: int, done: int) -> None:
        super().__init__(total, done)
        self._width = len(str(total))
        self._spoke = time.monotonic()
        self._waits: dict[Unit, str] = {}
        self._began: dict[Unit, float] = {}
        self._reasons: set[str] = set()  # why runs wait that have not begun, as far as it was told

    def _say(self, text: str, counted: bool = False) -> None:
        start = f"[{self._done:{self._width}}/{self._total}]" if counted else " " * (2 * self._width + 3)
        print(f"{start} {text}", file=sys.stderr, flush=True)
        self._spoke = time.monotonic()

    def ended(self, unit: Unit, failure: str) -> None:
        super().ended(unit, failure)
        began = self._began.pop(unit, None)
        took = "a moment" if unit in self._waits else "elsewhere"
        took = took if began is None else duration(time.monotonic() - began)
        left = f"{self._left(0.0)} left" if self._done < self._total else "all done"
        summary = unit.run.result()
        result = headline(values_of(summary)) if summary and summary["test"] else "done"
        verdict = f"FAILED   {unit.label}  {failure}" if failure else f"done     {unit.label}  {result}"
        self._say(f"{verdict}  ({took}; {left})", counted=True)

    def refresh(self, running: Mapping[Unit, str], waiting: bool) -> None:
        reasons = {waits for unit, waits in running.items() if waits and unit not in self._began}
        is_new = not reasons <= self._reasons
        self._reasons |= reasons
        for unit, waits in running.items():
            self._note(unit, waits)
        if time.monotonic() - self._spoke < HEARTBEAT_SECONDS and not is_new:
            return
        if waiting:
            self._say("waiting for runs that another process has in hand", counted=True)
            return
        progress = {unit: progress_of(unit, waits) for unit, waits in running.items() if not waits}
        for unit, (_, text) in islice(progress.items(), LINES):
            self._say(f"running  {unit.label}  {text}")
        left = self._left(sum(part for part, _ in progress.values()))
        self._say(f"{counts_of(running)}; {left} left", counted=True)

    def _note(self, unit: Unit, waits: str) -> None:
        before = self._waits.get(unit, "queued")
        self._waits[unit] = waits
        if before and not waits:
            self._say(f"{'resumed' if unit in self._began else 'started'}  {unit.label}")
            self._began.setdefault(unit, time.monotonic())
        elif waits and not before:
            self._say(f"{waits}  {unit.label}")


class Bars(Display):
    """A line per run that computes, rewritten, above an overall bar with the time left."""

    def __init__(self, total: int, done: int) -> None:
        super().__init__(total, done)
        self._failed = 0
        self._next = 0.0
        self._workers: list[Any] = []
        self._rows: list[Unit | None] = []
        self._parts: dict[Unit, float] = {}  # how far each run was when it was last read
        self._bar: Any = tqdm(
            total=total,
            initial=done,
            position=0,
            dynamic_ncols=True,
            unit="run",
            bar_format="{desc}{percentage:3.0f}%|{bar}| {n:.1f}/{total} runs [{elapsed}{postfix}]",
        )

    def ended(self, unit: Unit, failure: str) -> None:
        super().ended(unit, failure)
        self._next = 0.0
        self._parts.pop(unit, None)
        if failure:
            self._failed += 1
            tqdm.write(f"FAILED  {unit.label}  {failure}", file=sys.stderr)

    def refresh(self, running: Mapping[Unit, str], waiting: bool) -> None:
        if time.monotonic() < self._next:
            return
        columns, height = shutil.get_terminal_size()
        shown = sorted(running, key=lambda unit: running[unit] != "")[: max(height - 3, 1)]
        self._place(shown)
        progress = {unit: progress_of(unit, waits) for unit, waits in running.items() if not waits or unit in shown}
        self._parts |= {unit: part for unit, (part, _) in progress.items()}
        # A hundred files a second are enough to ask of a shared disk.
        self._next = time.monotonic() + max(REFRESH_SECONDS, len(progress) / 100)
        for row, unit in enumerate(self._rows):
            if row == len(self._workers):
                self._workers.append(tqdm(total=0, position=row + 1, bar_format="{desc}", leave=False))
            text = f"{row + 1:3}  " + (f"{unit.label}  {progress[unit][1]}" if unit else "")
            self._workers[row].set_description_str(text[: columns - 1])
        part = sum(self._parts.values())
        self._bar.n = self._done + part
        waits = counts_of({unit: text for unit, text in running.items() if text})
        told = [f"{self._left(part)} left", waits, f"{self._failed} failed" if self._failed else ""]
        self._bar.set_postfix_str(
            "waiting for runs that another process has in hand" if waiting else ", ".join(filter(None, told))
        )

    def _place(self, shown: Sequence[Unit]) -> None:
        """Give each of these runs a line, and let those keep theirs that have one."""
        self._rows = [unit if unit in shown else None for unit in self._rows]
        for unit in shown:
            if unit not in self._rows:
                if None not in self._rows:
                    self._rows.append(None)
                self._rows[self._rows.index(None)] = unit

    def close(self) -> None:
        for line in self._workers:
            line.close()
        self._bar.close()
