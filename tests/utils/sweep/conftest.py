"""A sweep over a program that trains nothing, and what it left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FAKE = (sys.executable, str(Path(__file__).with_name("fake_program.py")))


@pytest.fixture
def fake_sweep(tmp_path, capfd):
    """Run a sweep in this process: `fake_sweep("--workers 2 -- -z 2 5")` is (exit code, stdout, stderr)."""
    from utils.sweep.__main__ import main

    def run(line, program=FAKE):
        capfd.readouterr()
        before, _, after = f" {line} ".partition(" -- ")
        words = [*before.split(), "--", "-d", "digits", "-ld", str(tmp_path / "results"), *after.split()]
        code = main(words, program)
        return code, *capfd.readouterr()

    return run


def starts(tmp_path):
    """Each start of the fake program: folder's name to (epochs done before, cores, card, pid, parent)."""
    return {
        path.parent.name: [line.split() for line in path.read_text().splitlines()]
        for path in sorted((tmp_path / "results").rglob("starts.txt"))
    }


def epochs(tmp_path):
    """How many epochs each run has behind it."""
    started = (path.with_name("metrics.jsonl") for path in sorted((tmp_path / "results").rglob("starts.txt")))
    return [len(path.read_text().splitlines()) if path.exists() else 0 for path in started]


def wait_until(condition, seconds=60.0):
    """Wait for a condition that has to come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def driver(tmp_path, line, nap="0.1", **environment):
    """A sweep over the fake program as a process of its own."""
    script = f"import sys; from utils.sweep.__main__ import main; sys.exit(main(sys.argv[1:], {FAKE!r}))"
    before, _, after = f" {line} ".partition(" -- ")
    return subprocess.Popen(
        [sys.executable, "-c", script, *before.split(), "--", "-d", "digits", "-ld", str(tmp_path / "results"),
         *after.split()],
        cwd=ROOT, env={**os.environ, "NAP": nap, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def is_gone(pid):
    """Whether a process has ended, be it that nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def kill(pid):
    os.kill(int(pid), signal.SIGKILL)
