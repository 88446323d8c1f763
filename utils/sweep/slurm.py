"""Runs as job arrays of Slurm, through submitit; project and results must lie on folders that all nodes share."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from itertools import islice
from pathlib import Path
from typing import Any

import submitit

from utils.config.flags import UsageError
from utils.run.lock import FolderLock
from utils.sweep.engines import ENDED_BY_A_SIGNAL, LOST, Ended, Job, Request, execute

# Seconds between two questions to Slurm, and until a job that has left the queue must have left a result, too.
ASK_EVERY = 2.0
SETTLE = 10.0
# Seconds that a run has for saving its state once Slurm has announced the end of the job, and that a job then waits to
# be ended by Slurm.
SAVE_WITHIN = 60.0
END_WITHIN = 120.0

# Settings of submitit whose values are whole numbers, and those that are lists of shell commands or words.
WHOLE = {
    *("timeout_min", "cpus_per_task", "gpus_per_node", "nodes", "tasks_per_node", "slurm_gpus_per_task"),
    *("slurm_array_parallelism", "slurm_signal_delay_s", "slurm_cpus_per_gpu", "slurm_max_num_timeout"),
}
LISTS = {"slurm_setup", "slurm_teardown", "slurm_srun_args"}
# What begins another setting behind a comma; any other comma belongs to a value.
_NEXT = re.compile(r",(?=(?:slurm_\w+|timeout_min|name|mem_gb|nodes|tasks_per_node|\w+_per_(?:task|node))=)")


class Task:
    """One run as Slurm executes it.

    Args:
        saved: when the run had last saved its state before this job began, in nanoseconds.
    """

    def __init__(self, saved: int = 0) -> None:
        self.saved = saved

    def __call__(self, job: Job) -> int:
        code = execute(job)
        if code in ENDED_BY_A_SIGNAL:
            # Slurm is ending this job, perhaps to queue it again: a result written now would be taken for the last one.
            time.sleep(END_WITHIN)
        return code

    def checkpoint(self, job: Job) -> submitit.helpers.DelayedSubmission | None:
        """Called before the time limit: submit the run again if it has saved anything new in this job."""
        deadline = time.monotonic() + SAVE_WITHIN
        while FolderLock(job.folder).is_held() and time.monotonic() < deadline:
            time.sleep(0.1)
        saved = max((path.stat().st_mtime_ns for path in (job.folder / "checkpoints").glob("*.pt")), default=0)
        return submitit.helpers.DelayedSubmission(Task(saved), job) if saved > self.saved else None


class SlurmEngine:
    """Slurm.

    Args:
        request: `slurm` are settings of `submitit.AutoExecutor.update_parameters`, such as `timeout_min=600`.
        cluster: another executor of submitit.

    Raises:
        UsageError: there is no Slurm here, or a setting is not allowed.
    """

    def __init__(self, request: Request, cluster: str = "slurm") -> None:
        if cluster == "slurm" and not shutil.which("sbatch"):
            raise UsageError(
                "--engine slurm: there is no sbatch on this machine; start the sweep where jobs are submitted"
            )
        wanted = parse_settings(request.slurm)
        self.cores = wanted.setdefault("cpus_per_task", request.cores or 1)
        if request.cores and request.cores != self.cores:
            raise UsageError(
                f"--cores {request.cores}: contradicts --slurm cpus_per_task={self.cores}; give one of the two"
            )
        wanted = {"name": "run_models", "timeout_min": 24 * 60, **wanted}
        if request.workers:
            wanted["slurm_array_parallelism"] = request.workers
        if request.gpus is not None:
            if request.gpus != 1:
                raise UsageError(f"--gpus {request.gpus:g}: Slurm gives out whole cards; give 1")
            wanted["gpus_per_node"] = 1
        # A run that makes progress is queued again as often as it needs: `Task.checkpoint` sees to it.
        timeouts = wanted.pop("slurm_max_num_timeout", 10**6)
        folder = request.log_dir / "logs" / "slurm"
        self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster, slurm_max_num_timeout=timeouts)
        try:
            self._executor.update_parameters(**wanted)
        except (NameError, ValueError, TypeError, AssertionError) as error:
            raise UsageError(f"--slurm: {str(error).strip().splitlines()[0]}") from None
        self._jobs: dict[int, submitit.Job[int]] = {}
        self._began: set[int] = set()
        self._left: dict[int, float] = {}  # when a job was first seen to have left the queue
        self._states: dict[str, str] | None = {}
        self._asked = 0.0
        self.summary = f"a job array of Slurm, {self.cores} core{'s' if self.cores > 1 else ''} each"

    def room(self, running: int) -> int:
        return 10_000  # Slurm has a queue of its own

    def start(self, jobs: Mapping[int, Job]) -> None:
        left = iter(jobs.items())
        while part := dict(islice(left, _largest_array())):
            try:
                with redirect_stderr(io.StringIO()):  # what sbatch says there is in the error, too
                    submitted = self._executor.map_array(Task(), list(part.values()))
            except submitit.core.utils.FailedJobError as error:
                reason = str(error).strip().splitlines()[-1]
                raise UsageError(f"--engine slurm: the jobs were not accepted: {reason}") from None
            self._jobs.update(zip(part, submitted, strict=True))
        self._asked = time.monotonic()

    def ended(self) -> dict[int, Ended]:
        self._ask()
        found = {}
        for number, job in list(self._jobs.items()):
            if (end := self._end_of(number, job)) is not None:
                del self._jobs[number]
                found[number] = end
        return found

    def waiting(self) -> dict[int, str]:
        states = self._states or {}
        words = {True: "queued again", False: "queued"}
        queued = {number for number, job in self._jobs.items() if states.get(job.job_id) == "PENDING"}
        return {number: words[number in self._began] for number in queued}

    def stop(self) -> None:
        """Cancel what is not over, and say which jobs could not be cancelled."""
        ids = [job.job_id for job in self._jobs.values()]
        if not ids:
            return
        failed = _ask_slurm("scancel", *ids)[1]
        if failed:
            print(f"Slurm did not cancel its jobs ({failed}); do so with: scancel {' '.join(ids)}", file=sys.stderr)

    def _ask(self) -> None:
        """Look at the queue, but not all the time; while Slurm does not answer, what it said last counts."""
        if time.monotonic() - self._asked < ASK_EVERY:
            return
        self._asked = time.monotonic()
        text, failed = _ask_slurm("squeue", "--me", "--noheader", "--array", "--format=%i|%T")
        self._states = None if failed else dict(line.split("|", 1) for line in text.splitlines() if "|" in line)
        running = self._states or {}
        self._began |= {number for number, job in self._jobs.items() if running.get(job.job_id) == "RUNNING"}

    def _end_of(self, number: int, job: submitit.Job[int]) -> Ended | None:
        """How a job ended, or None while it has not."""
        if job.paths.result_pickle.exists():
            error = job.exception()
            return Ended(job.result()) if error is None else Ended(LOST, _reason(str(error), job.paths.stderr))
        if self._states is None or job.job_id in self._states:
            self._left.pop(number, None)
            return None
        if time.monotonic() - self._left.setdefault(number, time.monotonic()) < SETTLE:
            return None
        return Ended(LOST, f"Slurm says {_last_state(job.job_id)}; its log: {job.paths.stderr}")


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """The settings of `--slurm` by name, checked as far as submitit does not.

    Args:
        words: `NAME=VALUE`, or several of them with commas between; a comma within a value belongs to it.

    Raises:
        UsageError: a word is no setting, or its value is not allowed.
    """
    found: dict[str, Any] = {}
    for word in words:
        for text in [word] if word.partition("=")[0] in LISTS else _NEXT.split(word):
            name, equals, value = text.partition("=")
            if not (name and equals and value):
                raise UsageError(f"--slurm: {text!r} must be NAME=VALUE, such as timeout_min=600")
            if name in LISTS:
                found.setdefault(name, []).append(value)
            elif name in WHOLE:
                if not re.fullmatch("[0-9]{1,9}", value) or int(value) == 0:
                    raise UsageError(f"--slurm {name}: {value!r} is not a whole number from 1 on")
                found[name] = int(value)
            elif name == "mem_gb":
                if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", value) or float(value) == 0:
                    raise UsageError(f"--slurm mem_gb: {value!r} is not a number of gigabytes above 0")
                found[name] = float(value)
            else:
                found[name] = {"true": True, "false": False}.get(value.lower(), value)
    for name in ("nodes", "tasks_per_node"):
        if found.get(name, 1) != 1:
            raise UsageError(f"--slurm {name}={found[name]}: a run is one process on one node; leave it out")
    return found


def _ask_slurm(*command: str) -> tuple[str, str]:
    """What a command of Slurm prints, and why it failed: empty if it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"{command[0]}: {type(error).__name__}"
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return done.stdout, lines[0] if done.returncode else ""


def _largest_array() -> int:
    """How many tasks an array may have here."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", _ask_slurm("scontrol", "show", "config")[0])
    return int(found[1]) if found else 1000


def _last_state(job_id: str) -> str:
    """What became of a job in Slurm's word, such as CANCELLED or OUT_OF_MEMORY."""
    found = re.search(r"JobState=(\w+)", _ask_slurm("scontrol", "show", "job", job_id, "--oneliner")[0])
    if found:
        return found[1]
    recorded = _ask_slurm("sacct", "--noheader", "--parsable2", "--allocations", "--format=State", "--jobs", job_id)[0]
    return recorded.split()[0] if recorded.split() else "nothing of it any more"


def _reason(text: str, log: Path) -> str:
    """Why submitit gave up a job, in words of a user."""
    if "checkpoint function returned None" in text:
        return (
            "nothing was saved between two time limits: one step takes longer than the limit; give a longer "
            f"--slurm timeout_min, or a smaller -bs; its log: {log}"
        )
    if "timed-out too many times" in text:
        return f"reached the time limit as often as --slurm slurm_max_num_timeout allows; its log: {log}"
    return f"the job failed: {text.strip().splitlines()[-1]}; its log: {log}"
