"""What a run prints."""

import math
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.config.config import Config
from utils.config.flags import printable
from utils.run.checkpoints import Progress
from utils.run.metrics import number

# Seconds between lines on how far something is that takes long.
PATIENCE = 60.0


class Console:
    """Prints the head of a run, a progress bar or plain lines, and warnings.

    A terminal gets a bar with epoch, validation ELBO and time left, and as it has room for them the best validation
    ELBO and that of training; anything else gets a line every `-pf` epochs.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.started = self.said = time.perf_counter()
        self.first_epoch = 0
        self._bar: Any = None

    def say(self, text: str) -> None:
        """A line that `-v 0` leaves out."""
        self.said = time.perf_counter()
        if self.config.verbosity:
            print(printable(text), flush=True)

    def warn(self, text: str) -> None:
        """A line on standard error, whatever the verbosity."""
        if self._bar is not None:
            self._bar.clear()
        print(printable(text), file=sys.stderr, flush=True)

    def head(self, facts: dict[str, str]) -> None:
        """What is about to run, a line each."""
        for name, value in facts.items():
            self.say(f"{name.ljust(10)}  {value}")

    def begin(self, first_epoch: int) -> None:
        """Training starts after `first_epoch` epochs."""
        self.started, self.first_epoch = time.perf_counter(), first_epoch
        if self.config.verbosity and sys.stdout.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self.config.epochs, initial=first_epoch, dynamic_ncols=True, file=sys.stdout,
                bar_format="{desc} {bar}",
            )  # fmt: skip

    def end(self) -> None:
        """Training is over."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def epoch(self, line: dict[str, Any], progress: Progress) -> None:
        """An epoch is done."""
        compared = progress.best_elbo > -math.inf
        best = f"best {progress.best_elbo:.2f} at {progress.best_epoch}" if compared else "no best yet"
        validated = f"val {number(line['val']['elbo'])}" if line["val"] else "val -"
        if line["val"] and "log_px" in line["val"]:
            validated += f" log p(x) {number(line['val']['log_px'])}"
        trained, count = f"train {number(line['train']['elbo'])}", f"{progress.epoch}/{self.config.epochs}"
        per_epoch = (time.perf_counter() - self.started) / max(progress.epoch - self.first_epoch, 1)
        left = f"{duration(per_epoch * (self.config.epochs - progress.epoch))} left"
        if self._bar is not None:
            self._bar.set_description_str(_in_a_line(count, [validated, left], [best, trained]), refresh=False)
            self._bar.update(1)
        elif progress.epoch % self.config.pf == 0 or progress.epoch == self.config.epochs:
            self.say(f"epoch {count}  {trained}  {validated}  {best}  KL weight {line['kl_weight']:.2f}  {left}")
        if self.config.verbosity > 1 and "kl_factors" in line["train"]:
            self.say("    KL per factor " + " ".join(number(kl) for kl in line["train"]["kl_factors"]))

    def diverged(self, progress: Progress, report: Path) -> None:
        """Training was given up."""
        self.warn(
            f"the run diverged: a loss or gradient was not finite, and came back after {self.config.max_restarts} "
            f"restarts. The model of epoch {progress.epoch} is saved in last.pt; try a smaller -lr or a longer -klw. "
            f"For a report of a fault, what failed is in {report}"
        )

    def restart(self, progress: Progress) -> None:
        """A non-finite loss or gradient sent the run back to its last good state."""
        self.warn(
            f"a loss or gradient was not finite: back to epoch {progress.epoch} with fresh noise "
            f"(restart {progress.restarts} of {self.config.max_restarts})"
        )

    def counting(self, what: str, done: int, total: int) -> None:
        """Progress of something other than training: one line that changes on a terminal, else one now and then."""
        if self.config.verbosity and sys.stdout.isatty():
            print(f"\r{what}: {done} of {total}", end="\n" if done == total else "", flush=True)
        elif time.perf_counter() - self.said >= PATIENCE:
            self.say(f"{what}: {done} of {total}")


def _in_a_line(count: str, always: Sequence[str], where_room: Sequence[str]) -> str:
    """What a bar says of an epoch: as much as leaves a fifth of the terminal's line to the bar itself."""
    width = shutil.get_terminal_size().columns
    parts = [f"epoch {count}" if width >= 60 else count, *always]
    for part in where_room:
        if len("  ".join([*parts, part])) < 0.8 * width:
            parts.append(part)
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
