"""Runs as tasks of Ray, on this machine or on a cluster whose machines share the folders of project and results."""

import logging
import os
import re
import socket
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from utils.config.flags import UsageError
from utils.files import native_errors_to
from utils.sweep.engines import LOST, Ended, Engine, Job, Request, available_cores, execute

# These keep Ray from reporting its use and warning of its plans; they count only before it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
import ray


class RayEngine(Engine):
    """Ray Core.

    Args:
        request: each run takes `cores` (one by default) and, where the cluster has cards, a card or a share of one.
            With no address, and none in RAY_ADDRESS, Ray is started on this machine and ends with the sweep.

    Raises:
        UsageError: no cluster answers at the address.
    """

    def __init__(self, request: Request) -> None:
        address = request.address or os.environ.get("RAY_ADDRESS")
        self.cores = request.cores or 1
        if address:
            _knock(address)
        sys.stderr.flush()
        with tempfile.TemporaryFile() as said, native_errors_to(said.fileno()):
            try:
                ray.init(
                    address=address or "local",
                    num_cpus=None if address else available_cores(),
                    include_dashboard=None if address else False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                said.seek(0)
                reason = f"{error}\n{said.read().decode(errors='replace')}"
                raise _unusable(address or "local", reason) from None
        has_cards = ray.cluster_resources().get("GPU", 0) > 0 and request.uses_gpus
        if request.gpus is not None and not has_cards:
            raise UsageError(f"--gpus {request.gpus:g}: the Ray cluster has no card that the runs could use")
        self._gpus = (request.gpus or 1.0) if has_cards else 0.0
        self._workers = request.workers
        self._tasks: dict[Any, int] = {}
        self._submit = ray.remote(execute).options(
            num_cpus=self.cores, num_gpus=self._gpus, max_retries=request.retries, name="run_models"
        )
        nodes = sum(node["Alive"] for node in ray.nodes())
        self.summary = f"{self._capacity()} at a time on Ray ({nodes} node{'s' if nodes > 1 else ''}), " + (
            f"{self.cores} core{'s' if self.cores > 1 else ''} each"
            + (f", {self._gpus:g} card each" if has_cards else "")
        )

    def _capacity(self) -> int:
        # Asked each time, since nodes come and go.
        resources = ray.cluster_resources()
        fits = int(resources.get("CPU", 0)) // self.cores
        if self._gpus:
            fits = min(fits, int(resources.get("GPU", 0) / self._gpus + 1e-9))
        return max(1, min(fits, self._workers or fits))

    def room(self, running: int) -> int:
        return self._capacity() - running

    def start(self, jobs: Mapping[int, Job]) -> None:
        for number, job in jobs.items():
            self._tasks[self._submit.remote(job)] = number

    def ended(self) -> dict[int, Ended]:
        if not self._tasks:
            return {}
        done, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        found = {}
        for task in done:
            number = self._tasks.pop(task)
            try:
                found[number] = Ended(ray.get(task))
            except ray.exceptions.RayError:
                found[number] = Ended(LOST, "its worker or node was lost more often than --retries allows")
        return found

    def stop(self) -> None:
        ray.shutdown()  # ends the workers, and with each worker its run


def _knock(address: str) -> None:
    """Refuse an address where nobody answers; Ray itself would keep trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():  # such as `auto`, which Ray looks up
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise _unusable(address, str(error)) from None


def _unusable(address: str, reason: str) -> UsageError:
    if re.search("AuthToken|authentication token", reason):
        return UsageError(
            f"--address {address}: the cluster asks for a token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH, as on the cluster"
        )
    return UsageError(f"--address {address}: no Ray cluster can be used there ({reason.strip().splitlines()[0]})")
