"""Steps and log p(x) of an earlier revision against those of this one, on the same PyTorch.

    python -m benchmarks.revisions [REVISION] [--threads 1] [--repetitions 15] [--data_dir DIR]

The other revision, 502e484 unless given, is checked out into a temporary folder. A process of each works in turn.
"""

if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

import contextlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from utils.config.command_line import parse_options
from utils.config.flags import UsageError, flag
from utils.run.failures import guarded

ROOT = Path(__file__).resolve().parents[1]
JOBS = {"Normal": "ms a step", "vMF": "ms a step", "log p(x)": "us a latent"}

# Runs with the code of either revision. `training` and `Setting` are the same in all of them.
WORKER = """
import os, sys
folder, threads, data_dir, shared = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
sys.path.insert(0, folder)
import torch
torch.set_num_threads(threads)
from benchmarks import bench
setting = bench.Setting(repetitions=1, threads=threads, data_dir=data_dir)
jobs = {name: bench.training(f"-n {name.lower()} -z 10", setting)[1] for name in ("Normal", "vMF")}
config = setting.config("-n vmf -z 10")
if hasattr(bench, "Experiment"):
    experiment = bench.Experiment.prepare(config, bench.StopRequest())
    model, test, how = experiment.model, experiment.test_images[:100], bench.Conditions(1)
else:  # up to 502e484
    data, model, how = bench.prepare(config, bench.build_model)
    test, how = bench.fixed_images(data.test, purpose="test", **how)[:100], 1
if os.path.exists(shared):  # the weights and the images of the other revision
    weights, test = torch.load(shared)
    model.load_state_dict(weights)
else:
    torch.save((model.state_dict(), test), shared)
jobs["log p(x)"] = lambda: bench.estimate_log_px(model, test, 500, how)
print(*jobs["log p(x)"]().values.tolist(), flush=True)
for line in sys.stdin:
    started = setting.clock()
    jobs[line.strip()]()
    print(setting.clock() - started, flush=True)
"""


@dataclass(frozen=True)
class Options:
    """The flags of `python -m benchmarks.revisions`."""

    data_dir: str = flag("--data_dir", str, "how", "data", "folder with MNIST")
    threads: int = flag(
        "--threads", int, "how", 1, "one is timed in processor time, more on the wall", low=1, high=1000
    )
    repetitions: int = flag("--repetitions", int, "how", 15, "turns of the comparison", low=1, high=10**6)


class Worker:
    """A process with the code of one revision, which does a job when told and says how long it took.

    The first one leaves its weights and images in the file `shared`, where the second one finds them.
    """

    def __init__(self, folder: Path, given: Options, shared: Path) -> None:
        data_dir = Path(given.data_dir).resolve()
        command = [sys.executable, "-c", WORKER, *map(str, (folder, given.threads, data_dir, shared))]
        # A session of its own: Ctrl-C in the terminal is for this program, which ends the workers without a traceback.
        self._process: Any = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            start_new_session=True,
        )  # fmt: skip
        self.log_px = [float(word) for word in self._answer().split()]

    def _answer(self) -> str:
        answer = self._process.stdout.readline()
        if not answer:
            raise UsageError("a process ended; its message is above")
        return answer

    def seconds(self, job: str) -> float:
        """Do a job and return how long it took."""
        self._process.stdin.write(f"{job}\n")
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def compare(workers: Sequence[Worker], repetitions: int) -> list[str]:
    """A line for each job: the medians of both, and of their ratio; then how far their log p(x) lie apart."""
    lines = []
    for job, unit in JOBS.items():
        scale = 1e6 / (100 * 500) if unit.startswith("us") else 1e3 / 100
        turns = [[worker.seconds(job) * scale for worker in workers] for _ in range(repetitions + 1)][1:]
        before, after = (statistics.median(column) for column in zip(*turns, strict=True))
        ratio = statistics.median(old / new for old, new in turns)
        lines.append(f"{job}: {before:.2f} before, {after:.2f} now, {unit}: {ratio:.2f} x as fast")
    apart = [abs(old - new) for old, new in zip(*(worker.log_px for worker in workers), strict=True)]
    return [*lines, f"log p(x) of {len(apart)} images with the same weights: at most {max(apart):.0e} nats apart"]


def check_out(revision: str, folder: Path) -> None:
    """Put the files of a revision into a folder.

    Raises:
        UsageError: git knows no such revision.
    """
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", revision], capture_output=True, check=False)
    if archive.returncode:
        raise UsageError(f"{revision}: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


def main(arguments: Sequence[str]) -> int:
    """Compare, and print the lines; returns the exit code."""
    return guarded("benchmarks.revisions", lambda stop: _compare(arguments))


def _compare(arguments: Sequence[str]) -> int:
    given, names = parse_options(
        arguments, Options,
        usage="python -m benchmarks.revisions [REVISION] [FLAGS]",
        description="Measure steps and log p(x) of an earlier revision against those of this one.",
        epilog="REVISION is 502e484 unless given.\nExit codes: 0 done, 1 failed, 2 usage.",
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        check_out(names[0] if names else "502e484", Path(folder))
        shared = Path(folder, "weights.pt")
        workers = [
            stack.enter_context(contextlib.closing(Worker(place, given, shared))) for place in (Path(folder), ROOT)
        ]
        lines = compare(workers, given.repetitions)
    print(f"torch {torch.__version__}, {given.threads} threads", *lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
