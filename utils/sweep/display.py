"""What a sweep says while it runs: a line per worker and an overall bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

from utils.run.console import duration
from utils.run.metrics import headline, number
from utils.run.records import values_of
from utils.sweep.units import Unit

REFRESH_SECONDS = 0.5
HEARTBEAT_SECONDS = 60.0
TAIL_BYTES = 16_384


class Display(Protocol):
    """What the driver tells."""

    def started(self, unit: Unit) -> None:
        """A run starts or resumes."""

    def ended(self, unit: Unit, failure: str | None) -> None:
        """A run is over."""

    def refresh(self, running: Mapping[Unit, str], waiting: bool) -> None:
        """Time has passed.

        Args:
            running: the runs that were started, each with what it waits for, or an empty text if it computes.
            waiting: whether another sweep has all that is left in hand.
        """

    def close(self) -> None:
        """The sweep is over."""


def build_display(total: int, done: int) -> Display:
    """The display that fits standard output.

    Args:
        total: runs of the sweep.
        done: how many of them are complete already.
    """
    return Bars(total, done) if sys.stdout.isatty() else Lines(total, done)


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


def result_of(unit: Unit) -> str:
    """The result of a run in a few words."""
    summary = unit.run.result()
    return headline(values_of(summary)) if summary and summary["test"] else "done"


class _Clock:
    """Counts runs, and guesses the time that is left from the pace so far."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self._began_with = total, done, done
        self.started = time.monotonic()

    def left(self, running: float) -> str:
        """Time left in words, where runs that are under way make up `running` whole ones."""
        work = self.done - self._began_with + running
        if work <= 0:
            return "?"
        return duration((time.monotonic() - self.started) / work * (self.total - self.done - running))


class Lines:
    """One line when a run begins or ends, and one a minute in between."""

    def __init__(self, total: int, done: int) -> None:
        self._clock = _Clock(total, done)
        self._width = len(str(total))
        self._spoke = time.monotonic()
        self._began: dict[Unit, float] = {}

    def _say(self, text: str) -> None:
        print(text, flush=True)
        self._spoke = time.monotonic()

    def started(self, unit: Unit) -> None:
        self._began[unit] = time.monotonic()
        self._say(f"{'':{2 * self._width + 3}}started  {unit.label}")

    def ended(self, unit: Unit, failure: str | None) -> None:
        self._clock.done += 1
        took = duration(time.monotonic() - self._began.pop(unit)) if unit in self._began else "elsewhere"
        left = f"{self._clock.left(0.0)} left" if self._clock.done < self._clock.total else "all done"
        verdict = f"FAILED   {unit.label}  {failure}" if failure else f"done     {unit.label}  {result_of(unit)}"
        self._say(f"[{self._clock.done:{self._width}}/{self._clock.total}] {verdict}  ({took}; {left})")

    def refresh(self, running: Mapping[Unit, str], waiting: bool) -> None:
        if time.monotonic() - self._spoke < HEARTBEAT_SECONDS:
            return
        if waiting:
            self._say("waiting for runs that another process has in hand")
            return
        progress = [progress_of(unit, waits) for unit, waits in running.items()]
        for unit, (_, text) in zip(running, progress, strict=True):
            self._say(f"{'':{2 * self._width + 3}}{'waiting' if running[unit] else 'running'}  {unit.label}  {text}")
        left = self._clock.left(sum(part for part, _ in progress))
        self._say(f"[{self._clock.done:{self._width}}/{self._clock.total}] {left} left")

    def close(self) -> None:
        pass


class Bars:
    """A line per worker that is rewritten, above an overall bar with the time left."""

    def __init__(self, total: int, done: int) -> None:
        from tqdm import tqdm

        self._tqdm: Any = tqdm
        self._clock = _Clock(total, done)
        self._failed = 0
        self._seen = 0.0
        self._workers: list[Any] = []
        self._rows: list[Unit | None] = []
        self._bar: Any = tqdm(
            total=total,
            initial=done,
            file=sys.stdout,
            position=0,
            dynamic_ncols=True,
            unit="run",
            bar_format="{desc}{percentage:3.0f}%|{bar}| {n:.1f}/{total} runs [{elapsed}{postfix}]",
        )

    def started(self, unit: Unit) -> None:
        self._seen = 0.0

    def ended(self, unit: Unit, failure: str | None) -> None:
        self._clock.done += 1
        self._seen = 0.0
        if failure:
            self._failed += 1
            self._tqdm.write(f"FAILED  {unit.label}  {failure}", file=sys.stdout)

    def refresh(self, running: Mapping[Unit, str], waiting: bool) -> None:
        if time.monotonic() - self._seen < REFRESH_SECONDS:
            return
        self._seen = time.monotonic()
        self._rows = [unit if unit in running else None for unit in self._rows]
        for unit in running:  # a run keeps its line
            if unit not in self._rows:
                if None not in self._rows:
                    self._rows.append(None)
                self._rows[self._rows.index(None)] = unit
        columns, height = shutil.get_terminal_size()
        progress = {unit: progress_of(unit, waits) for unit, waits in running.items()}
        for row, shown in enumerate(self._rows[: max(height - 3, 1)]):
            if row == len(self._workers):
                self._workers.append(
                    self._tqdm(total=0, file=sys.stdout, position=row + 1, bar_format="{desc}", leave=False)
                )
            text = f"{row + 1:3}  " + (f"{shown.label}  {progress[shown][1]}" if shown else "")
            self._workers[row].set_description_str(text[: columns - 1])
        part = sum(fraction for fraction, _ in progress.values())
        self._bar.n = self._clock.done + part
        self._bar.set_postfix_str(
            "waiting for runs that another process has in hand"
            if waiting
            else f"{self._clock.left(part)} left" + (f", {self._failed} failed" if self._failed else "")
        )

    def close(self) -> None:
        for line in self._workers:
            line.close()
        self._bar.close()
