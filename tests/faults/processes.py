"""Runs in processes of their own, to be starved, signalled and killed.

They are forked from one process that has imported everything, since starting Python and torch takes far longer than a
small run.
"""

import json
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.preloaded"])
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@dataclass
class Ended:
    """What the shell would see of a run; `at` is when it ended."""

    returncode: int
    stdout: str
    stderr: str
    at: float


class Process:
    """A function running in another process, its output going to files in `folder`.

    Args:
        target: a function of a module.
        arguments: for it.
        folder: where the output goes.
    """

    def __init__(self, target, arguments, folder):
        self.out, self.err = (folder / f"{time.monotonic_ns()}.{kind}" for kind in ("out", "err"))
        self.process = CONTEXT.Process(target=_with_output, args=(target, arguments, self.out, self.err))
        self.process.start()
        self.pid = self.process.pid

    def send(self, signum):
        os.kill(self.pid, signum)

    def wait(self, timeout=120):
        self.process.join(timeout)
        at = time.monotonic()
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise TimeoutError(f"still running after {timeout} s\n{self.err.read_text()}")
        return Ended(self.process.exitcode, self.out.read_text(), self.err.read_text(), at)


def start(words, folder, *prepare, draws=False):
    """Start the program.

    Args:
        words: the command line.
        folder: where the output goes.
        prepare: functions to call before, in its process, each a tuple with its arguments.
        draws: whether it draws; most of the time of a small run would go there.
    """
    return Process(_program, (words, prepare, draws), folder)


def run(words, folder, *prepare, draws=False):
    """Run the program to its end; see `start`."""
    return start(words, folder, *prepare, draws=draws).wait()


def _with_output(target, arguments, out, err):
    for path, stream in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    target(*arguments)


def _program(words, prepare, draws):
    import run_models

    if not draws:
        sys.modules["matplotlib"] = None  # as if it were not installed
    sys.argv = ["run_models.py", *words]
    for function, *arguments in prepare:
        function(*arguments)
    sys.exit(run_models.main(words))


def signal_at(name, count, signum, note=None):
    """Have the process send itself a signal at the `count`-th call of a function.

    Args:
        name: of a function in Python, such as `savefig`, or of a native one with its module, such as `posix.fsync`.
        note: file that gets the time of the signal.
    """
    left = count

    def watch(frame, event, called):
        nonlocal left
        if _called(frame, event, called) == name:
            left -= 1
            if left == 0:
                sys.setprofile(None)
                if note:
                    note.write_text(str(time.monotonic()))
                os.kill(os.getpid(), signum)

    sys.setprofile(watch)


def count_calls(names, path):
    """Count the calls of functions by name, and write the counts as JSON in the end."""
    from multiprocessing import util

    counts = dict.fromkeys(names, 0)

    def watch(frame, event, called):
        name = _called(frame, event, called)
        if name in counts:
            counts[name] += 1

    util.Finalize(None, lambda: path.write_text(json.dumps(counts)), exitpriority=0)
    sys.setprofile(watch)


def _called(frame, event, called):
    if event == "call":
        return frame.f_code.co_name
    return f"{called.__module__}.{called.__name__}" if event == "c_call" and hasattr(called, "__module__") else None


def limit_file_size(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def limit_memory(more):
    """Allow the process `more` bytes of address space than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def become_nobody():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def close_output():
    """Give the process a standard output that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  (Python made the old one for a file)


def busy_until_killed(ready, patience):
    """Stands in for a step that takes for ever: it never asks whether a signal has come."""
    from utils.run import interrupts

    interrupts.PATIENCE = patience
    try:
        with interrupts.StopRequest() as stop, stop.deferred():
            ready.touch()
            while True:
                time.sleep(0.01)
    except interrupts.Interrupted as interrupted:
        sys.exit(interrupted.exit_code)


SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130}
