"""What Slurm says of jobs; its controller is asked once for all of them, and more seldom while nothing changes."""

import re
import subprocess
import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

from submitit.slurm.slurm import SlurmInfoWatcher

# Seconds between two questions, at first and at most; and by how much the time between them grows.
ASK_EVERY, ASK_AT_LEAST = 2.0, 15.0
GROWTH = 1.3

MOST_NODES = 8  # lines about nodes in a message

# The states, in Slurm's own words, that a job does not leave again.
FINAL = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT"),
}


class State(NamedTuple):
    """State of a job.

    Attributes:
        word: Slurm's own; empty if Slurm knows the job no more.
        reason: why it waits, in Slurm's word; "None" if Slurm gives none.
    """

    word: str
    reason: str = "None"


GONE = State("")


class Queue:
    """The states of jobs, by their numbers such as `7` or `7_12` (task 12 of array 7)."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._next = 0.0
        self._pause = ASK_EVERY

    def add(self, jobs: Collection[str]) -> None:
        """Jobs that have just been submitted."""
        self._states |= dict.fromkeys(jobs, State("PENDING"))
        self._pause = ASK_EVERY
        self._next = time.monotonic() + self._pause

    def __getitem__(self, job: str) -> State:
        return self._states.get(job, GONE)

    def update(self, jobs: Collection[str]) -> None:
        """Ask for the states of these jobs, if it is time to; while Slurm does not answer, its last answer counts."""
        if time.monotonic() < self._next:
            return
        asked = time.monotonic()
        found = _states_of(jobs)
        changed = found is not None and found != self._states
        self._pause = ASK_EVERY if changed else min(self._pause * GROWTH, ASK_AT_LEAST)
        self._states = self._states if found is None else found
        # A controller that answers late is asked during a tenth of the time at most.
        self._next = time.monotonic() + max(self._pause, 9 * (time.monotonic() - asked))


def ask_slurm(*command: str) -> tuple[str, str]:
    """What a command of Slurm prints, and why it failed: empty if it did not."""
    try:
        # A session of its own: Ctrl-C in the terminal, or a second one, does not keep scancel from its work.
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    except subprocess.TimeoutExpired:
        return "", f"{command[0]}: no answer within a minute"
    except OSError as error:
        return "", f"{command[0]}: {error.strerror}"
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return done.stdout, lines[-1] if done.returncode else ""


def arrays_of(jobs: Collection[str]) -> list[str]:
    """The numbers of the arrays that jobs belong to, or of single jobs."""
    return sorted({job.partition("_")[0] for job in jobs}, key=int)


def _states_of(jobs: Collection[str]) -> dict[str, State] | None:
    """The states of jobs that Slurm still knows, ended ones too; None if it did not answer."""
    command = ("squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r")
    text, failed = ask_slurm(*command, f"--jobs={','.join(arrays_of(jobs))}")
    if failed:  # Slurm forgets jobs some minutes after their end
        return {} if "Invalid job id" in failed else None
    lines = (line.split("|", 2) for line in text.splitlines() if line.count("|") >= 2)
    wanted = set(jobs)
    return {job: State(word, reason) for job, word, reason in lines if job in wanted}


def recorded_states(jobs: Collection[str]) -> Mapping[str, str]:
    """How jobs ended that only the accounting still knows, as far as there is any."""
    command = ("sacct", "--parsable2", "--allocations", "--format=JobID,State")
    found = SlurmInfoWatcher().read_info(ask_slurm(*command, f"--jobs={','.join(arrays_of(jobs))}")[0])
    return {job: found[job]["State"].split()[0] for job in jobs if found.get(job, {}).get("State")}


def largest_array() -> int:
    """How many tasks an array may have here."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", ask_slurm("scontrol", "show", "config")[0])
    return int(found[1]) if found else 1000


def nodes_here() -> str:
    """What a job can ask for here, by partition, to be added to a message; empty if Slurm does not say."""
    text, _ = ask_slurm("sinfo", "--noheader", "--exact", "--format=%R: %D %T, %c cores, %m MB, %G, time limit %l")
    lines = text.replace("(null)", "no gres").splitlines()
    more = [f"{len(lines) - MOST_NODES} more"] if len(lines) > MOST_NODES else []
    return f"; nodes by partition (sinfo): {'; '.join([*lines[:MOST_NODES], *more])}" if lines else ""
