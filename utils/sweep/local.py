"""Runs as processes on this machine, its cores and cards divided among them."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from utils.config.flags import UsageError
from utils.sweep.engines import ENDED_BY_A_SIGNAL, Ended, Engine, Job, Request, available_cores, spawn


@dataclass
class _Running:
    job: Job
    process: Popen[bytes]
    card: str | None
    attempt: int = 0


class LocalEngine(Engine):
    """Processes on this machine.

    Args:
        request: by default there are as many workers as cores (or, with cards, as fit on them), and no more than runs;
            each gets its share of the cores and one card, or a share of one.

    Raises:
        UsageError: a share of a card is asked for and there is none.
    """

    def __init__(self, request: Request) -> None:
        cores, cards = available_cores(), cuda_cards() if request.uses_gpus else []
        if request.gpus is not None and not cards:
            raise UsageError(f"--gpus {request.gpus:g}: no card was found that the runs could use")
        at_most = cores // request.cores if request.cores else cores
        if cards:
            at_most = len(cards) * int(1 / (request.gpus or 1.0) + 1e-9)
        workers = max(1, min(request.workers or at_most, request.jobs))
        self.cores = request.cores or max(1, cores // workers)
        self._free = [cards[number % len(cards)] if cards else None for number in range(workers)]
        self._running: dict[int, _Running] = {}
        self.summary = f"{workers} at a time on this machine, {self.cores} of {cores} cores each" + (
            f", {len(cards)} cards" if cards else ""
        )

    def room(self, running: int) -> int:
        return len(self._free)

    def start(self, jobs: Mapping[int, Job]) -> None:
        for number, job in jobs.items():
            card = self._free.pop(0)
            self._running[number] = _Running(job, spawn(job, card), card)

    def ended(self) -> dict[int, Ended]:
        found = {}
        for number, running in list(self._running.items()):
            code = running.process.poll()
            if code is None:
                continue
            if (code < 0 or code in ENDED_BY_A_SIGNAL) and running.attempt < running.job.retries:
                running.process = spawn(running.job, running.card)
                running.attempt += 1
                continue
            found[number] = Ended(code)
            self._free.append(self._running.pop(number).card)
        return found

    def stop(self) -> None:
        processes = [running.process for running in self._running.values() if running.process.poll() is None]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()
        self._running.clear()


def cuda_cards() -> list[str]:
    """The CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them; found without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [card for card in visible.split(",") if card and card != "-1"]
    found = Path("/dev").glob("nvidia[0-9]*")
    return [path.name.removeprefix("nvidia") for path in sorted(found, key=lambda path: (len(path.name), path.name))]
