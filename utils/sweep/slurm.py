"""Runs as job arrays of Slurm, through submitit; project and results must lie on folders that all nodes share."""

import io
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from utils.config.flags import UsageError
from utils.run.lock import FolderLock
from utils.sweep.engines import ENDED_BY_A_SIGNAL, LOST, Ended, Engine, Job, Request, execute
from utils.sweep.slurm_queue import FINAL, GONE, Queue, arrays_of, ask_slurm, largest_array, nodes_here, recorded_states
from utils.sweep.slurm_settings import DEFAULTS, OPTIONS, parse_settings

# Seconds within which a job that Slurm has ended must have left a result; a shared disk may show it late.
SETTLE, SETTLE_COMPLETED = 5.0, 60.0
# Seconds that a run has for saving its state once Slurm has announced the end of the job, and that a job then waits to
# be ended by Slurm.
SAVE_WITHIN = 60.0
END_WITHIN = 120.0

# What Slurm writes to the log of a job when a step, which a run is, needs more memory than the job may have.
OVER_MEMORY = re.compile(r"^(?:slurmstepd|srun).*(?:oom.kill event|Out Of Memory|memory limit)", re.MULTILINE)


@dataclass
class Task:
    """One run as Slurm executes it.

    Attributes:
        saved: when the run had last saved its state before this job began, in nanoseconds.
    """

    saved: int = 0

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
        if saved <= self.saved:
            return None
        # Slurm ends all processes of a job that is queued again, among them, if it heeds the signal, the `scontrol
        # requeue` that asked for it: submitit would take that for a failure.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return submitit.helpers.DelayedSubmission(Task(saved), job)


class SlurmEngine(Engine):
    """Slurm.

    Args:
        request: `slurm` are settings of `submitit.AutoExecutor.update_parameters`, such as `timeout_min=600`.

    Raises:
        UsageError: there is no Slurm here, a setting is not allowed, or Slurm would not take a job with them.
    """

    poll_seconds = 1.0

    def __init__(self, request: Request) -> None:
        if not shutil.which("sbatch"):
            raise UsageError(
                "--engine slurm: there is no sbatch on this machine; start the sweep where jobs are submitted"
            )
        if request.gpus not in (None, 1):
            raise UsageError(f"--gpus {request.gpus:g}: Slurm gives out whole cards; give 1")
        wanted = {**DEFAULTS, **parse_settings(request.slurm)}
        for flag, given, name in (
            ("--cores", request.cores, "cpus_per_task"),
            ("--workers", request.workers, "slurm_array_parallelism"),
            ("--gpus", None if request.gpus is None else 1, "gpus_per_node"),
        ):
            if given is not None and wanted.setdefault(name, given) != given:
                raise UsageError(f"{flag} {given}: contradicts --slurm {name}={wanted[name]}; give one of the two")
        self.cores: int = wanted.setdefault("cpus_per_task", 1)
        self._at_once: int | None = wanted.get("slurm_array_parallelism")
        # A run that makes progress is queued again as often as it needs: `Task.checkpoint` sees to it.
        self._timeouts = wanted.pop("slurm_max_num_timeout", 10**6)
        self._wanted, self._folder = wanted, request.log_dir / "logs" / "slurm"
        self._jobs: dict[int, submitit.Job[int]] = {}
        self._began: set[int] = set()
        self._left: dict[int, float] = {}  # when a job was first seen to have left the queue
        self._queue = Queue()
        self.summary = f"job arrays of Slurm, {self.cores} core{'s' if self.cores > 1 else ''} each"
        self._check()

    def room(self, running: int) -> int:
        # Slurm has a queue of its own. It keeps an array to --workers, but not what is added while the array is there.
        return 10_000 if self._at_once is None or not running else self._at_once - running

    def start(self, jobs: Mapping[int, Job]) -> None:
        left, before = iter(jobs.items()), ""
        largest = largest_array()
        while part := dict(islice(left, largest)):
            submitted = self._submit(list(part.values()), before)
            self._jobs.update(zip(part, submitted, strict=True))
            ids = [job.job_id for job in submitted]
            self._queue.add(ids)
            before = arrays_of(ids)[0]

    def _submit(self, jobs: Sequence[Job], before: str) -> list[submitit.Job[int]]:
        """Submit one array; with --workers it waits for the end of the array `before`, if there is one."""
        settings = dict(self._wanted)
        if before and self._at_once:
            own = settings.get("slurm_dependency")
            settings["slurm_dependency"] = f"{own + ',' if own else ''}afterany:{before}"
        return self._ask_sbatch(self._folder, settings, lambda executor: executor.map_array(Task(), list(jobs)))

    def _check(self) -> None:
        """Let Slurm judge the settings without a job: without this, it takes jobs that can never begin, too."""
        options = {**self._wanted.get(OPTIONS, {}), "test-only": True}
        with TemporaryDirectory() as folder, suppress(FailedSubmissionError):  # submitit finds no number of a job
            self._ask_sbatch(Path(folder), {**self._wanted, OPTIONS: options}, lambda executor: executor.submit(Task))

    def _ask_sbatch(
        self, folder: Path, settings: Mapping[str, Any], submit: Callable[[submitit.AutoExecutor], Any]
    ) -> Any:
        """Submit something with these settings; what Slurm says against it is raised as a `UsageError`."""
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=self._timeouts)
        executor.update_parameters(**settings)
        try:
            with redirect_stderr(io.StringIO()):  # what sbatch says there is in the error, too
                return submit(executor)
        except FailedJobError as error:
            said = re.findall(r"^(?:sbatch: (?:error: )?|allocation failure: )(.+)$", str(error), flags=re.MULTILINE)
            reason = "; ".join(said) or str(error).strip().splitlines()[-1]
            given = " ".join(f"{name}={value}" for name, value in self._wanted.items())
            raise UsageError(f"--engine slurm: Slurm refuses jobs with {given}: {reason}{nodes_here()}") from None

    def ended(self) -> dict[int, Ended]:
        if not self._jobs:
            return {}
        self._queue.update([job.job_id for job in self._jobs.values()])
        found: dict[int, Ended] = {}
        lost: dict[int, submitit.Job[int]] = {}
        for number, job in self._jobs.items():
            word = self._queue[job.job_id].word
            if word == "RUNNING":
                self._began.add(number)
            if word == "PENDING" and number not in self._began:
                continue  # its result is not looked for: the disk is shared
            if job.paths.result_pickle.exists():
                end = _result_of(job, word)
                found |= {number: end} if end else {}
            elif self._is_lost(number, word):
                lost[number] = job
        found |= self._describe(lost)
        for number in found:
            del self._jobs[number]
        return found

    def _is_lost(self, number: int, word: str) -> bool:
        """Whether a job without a result has left the queue for long enough."""
        if word not in FINAL | {GONE.word}:
            self._left.pop(number, None)
            return False
        within = SETTLE_COMPLETED if word in ("COMPLETED", GONE.word) else SETTLE
        return time.monotonic() - self._left.setdefault(number, time.monotonic()) > within

    def _describe(self, lost: Mapping[int, submitit.Job[int]]) -> dict[int, Ended]:
        """What became of jobs, in Slurm's words, and where to read on."""
        words = {job.job_id: self._queue[job.job_id].word for job in lost.values()}
        forgotten = [job_id for job_id, word in words.items() if not word]
        words |= recorded_states(forgotten) if forgotten else {}
        found = {}
        for number, job in lost.items():
            word = _word_of(job, words[job.job_id])
            said = f"Slurm says {word}" if word else "Slurm does not know any more how its job ended"
            began = number in self._began or word == "COMPLETED" or job.paths.stderr.exists()
            found[number] = Ended(LOST, f"{said}; its log: {job.paths.stderr}" if began else f"{said}, before it began")
        return found

    def waiting(self) -> dict[int, str]:
        return {
            number: text for number, job in self._jobs.items() if (text := self._waits_for(number, job.job_id))
        }

    def _waits_for(self, number: int, job_id: str) -> str:
        """What a job waits for, or nothing if it is computing or ended."""
        state = self._queue[job_id]
        if state.word in FINAL | {GONE.word, "RUNNING", "COMPLETING"}:
            return ""
        if state.word != "PENDING":
            return state.word.lower()
        text = "queued again" if number in self._began else "queued"
        return text if state.reason == "None" else f"{text} ({state.reason})"

    def stop(self) -> None:
        """Cancel what is not over, and say which jobs could not be cancelled."""
        if not self._jobs:
            return
        arrays = arrays_of([job.job_id for job in self._jobs.values()])
        failed = ask_slurm("scancel", *arrays)[1]
        if failed:
            print(f"Slurm did not cancel its jobs ({failed}); do so with: scancel {' '.join(arrays)}", file=sys.stderr)


def _result_of(job: submitit.Job[int], word: str) -> Ended | None:
    """How a job ended that left a result; None while Slurm is to say why it was killed.

    Args:
        job: the job.
        word: its state.
    """
    error = job.exception()
    if error is not None:
        return Ended(LOST, _reason(str(error), f"its log: {job.paths.stderr}"))
    code = job.result()
    if code >= 0 or word in ("COMPLETED", GONE.word):
        return Ended(code)
    if word not in FINAL:
        return None
    return Ended(code, f"was killed; Slurm says {_word_of(job, word)}; its log: {job.paths.stderr}")


def _word_of(job: submitit.Job[int], word: str) -> str:
    """Slurm's word for the end of a job; that of the step where the job is only said to have failed from it."""
    is_step = word in ("FAILED", GONE.word) and OVER_MEMORY.search(job.stderr() or "")
    return "OUT_OF_MEMORY" if is_step else word


def _reason(text: str, log: str) -> str:
    """Why submitit gave up a job, in words of a user."""
    if "checkpoint function returned None" in text:
        return (
            "the time limit came before the run had saved anything new: its start, a step or the evaluation takes "
            f"longer; give a longer --slurm timeout_min; {log}"
        )
    if "timed-out too many times" in text:
        return f"reached the time limit more often than --slurm slurm_max_num_timeout allows; {log}"
    trace = re.split(r"^-{5,}$", text, flags=re.MULTILINE)[1:2] or [text]  # submitit puts advice of its own behind it
    return f"the job failed: {trace[0].strip().splitlines()[-1]}; {log}"
