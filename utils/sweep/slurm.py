"""Runs as a job array of Slurm, through submitit; project and results must lie on folders that all nodes share."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import submitit

from utils.config.flags import UsageError
from utils.sweep.engines import LOST, Job, Request, execute


class Task:
    """A job as Slurm executes it; one that is preempted or out of time is put back into the queue and resumes."""

    def __call__(self, job: Job) -> int:
        return execute(job)

    def checkpoint(self, job: Job) -> submitit.helpers.DelayedSubmission:
        return submitit.helpers.DelayedSubmission(self, job)


class SlurmEngine:
    """Slurm.

    Args:
        request: `slurm` are settings of `submitit.AutoExecutor.update_parameters`, such as `timeout_min=600`.
        cluster: another executor of submitit.

    Raises:
        UsageError: there is no Slurm here, or submitit does not know a setting.
    """

    def __init__(self, request: Request, cluster: str = "slurm") -> None:
        if cluster == "slurm" and not shutil.which("sbatch"):
            raise UsageError(
                "--engine slurm: there is no sbatch on this machine; start the sweep where jobs are submitted"
            )
        self.cores = request.cores or 1
        self._executor = submitit.AutoExecutor(folder=request.log_dir / "logs" / "slurm", cluster=cluster)
        wanted: dict[str, Any] = {
            "name": "run_models",
            "cpus_per_task": self.cores,
            "timeout_min": 24 * 60,
            **{name: int(value) if value.isdigit() else value for name, value in (request.slurm or {}).items()},
        }
        if request.workers and cluster == "slurm":
            wanted["slurm_array_parallelism"] = request.workers
        if request.gpus is not None:
            if request.gpus != 1:
                raise UsageError(f"--gpus {request.gpus:g}: Slurm gives out whole cards; give 1")
            wanted["gpus_per_node"] = 1
        try:
            self._executor.update_parameters(**wanted)
        except (NameError, ValueError, TypeError) as error:
            raise UsageError(f"--slurm: {str(error).strip().splitlines()[0]}") from None
        self._jobs: dict[int, submitit.Job[int]] = {}
        self.summary = f"a job array of Slurm, {self.cores} core{'s' if self.cores > 1 else ''} each"

    def room(self, running: int) -> int:
        return 10_000  # Slurm has a queue of its own

    def start(self, jobs: Mapping[int, Job]) -> None:
        try:
            submitted = self._executor.map_array(Task(), list(jobs.values()))
        except submitit.core.utils.FailedJobError as error:
            reason = str(error).strip().splitlines()[-1]
            raise UsageError(f"--engine slurm: the jobs were not accepted: {reason}") from None
        self._jobs.update(zip(jobs, submitted, strict=True))

    def ended(self) -> dict[int, int]:
        codes = {}
        for number, job in list(self._jobs.items()):
            if not job.done():
                continue
            del self._jobs[number]
            codes[number] = LOST if job.exception() is not None else job.result()
        return codes

    def stop(self) -> None:
        for job in self._jobs.values():
            job.cancel()
