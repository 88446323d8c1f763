"""Where the runs of a sweep are executed. Adding an engine is one file and one entry in `ENGINES`."""

import os
import shlex
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from utils.config.flags import UsageError
from utils.files import naming
from utils.run.interrupts import STOPPING
from utils.run.lock import FolderLock

# Exit code of a run whose worker is gone: that of a killed process.
LOST = -signal.SIGKILL
ENDED_BY_A_SIGNAL = tuple(128 + number for number in STOPPING)


class Ended(NamedTuple):
    """How a run ended.

    Attributes:
        code: its exit code; below 0, the signal that killed it.
        reason: why it was lost, where the engine knows more than that.
    """

    code: int
    reason: str = ""


@dataclass(frozen=True)
class Job:
    """A command to execute; plain data, so that it can travel to another machine.

    Attributes:
        command: the program and its words.
        folder: of the run, which one process at a time may hold.
        log: takes what it prints.
        cores: threads that it may use.
        retries: how often it is started again after a signal ended it.
    """

    command: tuple[str, ...]
    folder: Path
    log: Path
    cores: int
    retries: int


@dataclass(frozen=True)
class Request:
    """What a user asks of an engine.

    Attributes:
        jobs: how many there are to do.
        workers: at most this many at once; None leaves it to the engine.
        cores: per run; None leaves it to the engine.
        gpus: share of a card per run; None for whole cards, where there are any.
        uses_gpus: whether the runs would use a card.
        address: of a Ray cluster.
        slurm: settings of submitit, each `NAME=VALUE`.
        log_dir: a folder that all machines share.
        retries: how often a run that was lost is started again.
    """

    jobs: int
    workers: int | None = None
    cores: int | None = None
    gpus: float | None = None
    uses_gpus: bool = True
    address: str | None = None
    slurm: Sequence[str] = ()
    log_dir: Path = Path("results")
    retries: int = 2


class Engine(ABC):
    """What the driver asks of an engine.

    Attributes:
        summary: what it is, in words for the user.
        cores: threads of a run.
        poll_seconds: time between two looks at what ended.
    """

    summary: str
    cores: int
    poll_seconds = 0.1

    @abstractmethod
    def room(self, running: int) -> int:
        """How many more runs can be started while so many are running."""

    @abstractmethod
    def start(self, jobs: Mapping[int, Job]) -> None:
        """Start these, each under a number of the caller's."""

    @abstractmethod
    def ended(self) -> dict[int, Ended]:
        """Those that ended since the last call, by number."""

    def waiting(self) -> dict[int, str]:
        """What those wait for that were started and do not compute now, by number: `queued`, or `queued again`."""
        return {}

    @abstractmethod
    def stop(self) -> None:
        """End what is running; every run saves its state first where it can."""


# Engine: (module, class, what has to be installed).
ENGINES: Mapping[str, tuple[str, str, str]] = {
    "local": ("utils.sweep.local", "LocalEngine", ""),
    "ray": ("utils.sweep.ray_engine", "RayEngine", "ray"),
    "slurm": ("utils.sweep.slurm", "SlurmEngine", "submitit"),
}


def build_engine(name: str, request: Request) -> Engine:
    """The engine of this name.

    Raises:
        UsageError: its package is not installed, or it cannot give what is asked for.
    """
    module, kind, package = ENGINES[name]
    if package and find_spec(package) is None:
        raise UsageError(
            f"--engine {name}: needs the package {package}; install it with pip install -r requirements-extras.txt"
        )
    return getattr(import_module(module), kind)(request)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spawn(job: Job, card: str | None = None) -> subprocess.Popen[bytes]:
    """Start a job as a process that ends, its state saved, when this one dies.

    Args:
        job: what to start.
        card: the CUDA devices that it may see; None leaves that as it is.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.cores), "PYTHONUNBUFFERED": "1"}
    if card is not None:
        environment["CUDA_VISIBLE_DEVICES"] = card
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open(job.log, "ab", buffering=0) as log:
        with naming(job.log):
            log.write(f"$ {shlex.join(job.command)}\n".encode())
        # A session of its own: Ctrl-C in the terminal is for the sweep, which passes it on once and in good order.
        return subprocess.Popen(
            job.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),
        )


def execute(job: Job) -> int:
    """Run a job to its end in a process of its own, and again where a signal ended it; returns its exit code.

    This is what a worker on another machine does. A predecessor that still saves its state is waited for. A run that
    was asked to stop has left on purpose, for this machine is needed otherwise: it is not started here again.
    """
    attempt = 0
    while True:
        while FolderLock(job.folder).is_held():
            time.sleep(0.2)
        run = spawn(job)
        while (code := run.poll()) is None:  # in steps, so that a signal finds this process outside of the call
            time.sleep(0.2)
        if code >= 0 or attempt == job.retries:
            return code
        attempt += 1


def _die_with(parent: int) -> Callable[[], None] | None:
    """What a new process does first so that the system ends it together with its parent; on Linux only."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl: Any = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it died before it could be asked
            os._exit(128 + signal.SIGTERM)

    return ask
