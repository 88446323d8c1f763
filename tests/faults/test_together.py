"""Many runs: in one folder, at the same time, one after the other."""

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.faults import processes
from tests.faults.comparing import only_run, outcome
from tests.faults.conftest import words
from tests.faults.test_signals import wait_for

TINY = "-d digits -n normal -z 2 -e 1 -klw 0 -lls 2 -hd 8 -bs 500 -v 0"
ENDLESS = "-d digits -n normal -z 2 -e 100000 -la 100000 -klw 0 -hd 8"


def test_second_process_in_a_folder_leaves_with_2_and_names_the_first(tmp_path, run_models):
    first = processes.start(words(tmp_path, ENDLESS), tmp_path)
    try:
        while not (found := list(tmp_path.glob("results/digits/*/metrics.jsonl"))):
            assert first.process.is_alive()
            time.sleep(0.02)
        for line in (ENDLESS, f"{ENDLESS} --overwrite"):
            second = run_models(line)
            assert second.returncode == 2
            assert f"in use by process {first.pid} on {socket.gethostname()}" in second.stderr
            assert second.stderr.count("\n") == 1
    finally:
        first.send(signal.SIGKILL)
        first.wait()
    # The one that was killed holds the folder no longer, though its note is still there.
    run = found[0].parent
    assert f"process {first.pid} " in (run / "held_by.txt").read_text()
    third = processes.start(words(tmp_path, ENDLESS), tmp_path)
    wait_for_text(run / "held_by.txt", f"process {third.pid} ")
    third.send(signal.SIGTERM)
    assert third.wait().returncode == 143
    assert not (run / "held_by.txt").exists()


def wait_for_text(path, text):
    wait_for(path)
    while text not in path.read_text():
        time.sleep(0.02)


def test_same_command_started_several_times_at_once_runs_once(tmp_path):
    started = [processes.start(words(tmp_path, TINY), tmp_path) for _ in range(4)]
    ended = [process.wait() for process in started]
    codes = [done.returncode for done in ended]
    assert set(codes) <= {0, 2}
    assert 0 in codes
    holders = [f"process {process.pid} " for process in started]
    for done in ended:
        if done.returncode == 2:
            # Another process, where the first one has not written yet which it is.
            assert any(f"in use by {who}" in done.stderr for who in ("another process", *holders)), done.stderr
            assert done.stderr.count("\n") == 1
    run = only_run(tmp_path / "results")
    assert (run / "summary.json").exists()
    assert not list(run.glob("summary_k*.json"))
    assert not (run / "held_by.txt").exists()


@pytest.mark.slow
def test_twenty_runs_started_together_all_finish_apart(tmp_path):
    lines = [f"{TINY} {kind} -rs {seed}" for seed in range(5) for kind in ("-z 3", "-lr 0.01", "-hd 9", "-b 2")]
    ended = [process.wait(500) for process in [processes.start(words(tmp_path, line), tmp_path) for line in lines]]
    assert [done.returncode for done in ended] == [0] * 20, [done.stderr for done in ended]
    runs = sorted((tmp_path / "results" / "digits").iterdir())
    assert len(runs) == 20
    assert not list(tmp_path.rglob("*.tmp"))
    alone = tmp_path / "alone"
    alone.mkdir()
    assert processes.run(words(alone, lines[7]), alone).returncode == 0
    assert outcome(only_run(alone / "results")) == outcome(
        tmp_path / "results" / "digits" / only_run(alone / "results").name
    )


def measure():
    """Memory (KiB), file handles and temporary files of this process."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # free memory that the C library keeps is no leak
        ctypes.CDLL(None).malloc_trim(0)
    resident = int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])
    return {
        "memory": resident,
        "handles": len(os.listdir("/proc/self/fd")),
        "temporary": len(os.listdir(tempfile.gettempdir())),
    }


def soak(scratch, folder, runs, report):
    """Make runs one after the other; report what is measured after half of them and all."""
    import run_models

    tempfile.tempdir = os.environ["TMPDIR"] = str(scratch)
    measured, drawing = [], sys.modules["matplotlib"]
    for number in range(runs):
        # One run in ten draws.
        sys.modules["matplotlib"] = drawing if number % 10 == 0 else None
        code = run_models.main(words(folder, f"{TINY} -rs {number}"))
        assert code == 0
        if number + 1 in (runs // 2, runs):
            measured.append(measure())
    report.write_text(json.dumps(measured))
    sys.exit(0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
def test_many_runs_in_one_process_leave_no_trace_of_each_other(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = processes.Process(soak, (scratch, tmp_path, 80, tmp_path / "report"), tmp_path).wait(1500)
    assert done.returncode == 0, done.stderr
    early, late = json.loads((tmp_path / "report").read_text())
    print(f"soak: {early} after 40 runs, {late} after 80")
    assert len(list((tmp_path / "results" / "digits").iterdir())) == 80
    assert late["handles"] == early["handles"]
    assert late["temporary"] == early["temporary"] == 0
    assert not list(tmp_path.rglob("*.tmp"))
    # KiB; the images of the digits, or the arrays of one figure, lost in every run would be more.
    assert late["memory"] - early["memory"] < 40 * 50


def make_one(scratch, folder, seed, report):
    """Make one run and report what is measured at its end."""
    import run_models

    tempfile.tempdir = os.environ["TMPDIR"] = str(scratch)
    if seed % 10:
        sys.modules["matplotlib"] = None
    code = run_models.main(words(folder, f"{TINY} -rs {seed}"))
    report.write_text(json.dumps(measure()))
    sys.exit(code)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
def test_many_runs_in_processes_of_their_own_leave_nothing_behind(tmp_path):
    scratch, report = tmp_path / "scratch", tmp_path / "report"
    scratch.mkdir()
    shared = set(os.listdir("/dev/shm"))
    measured = []
    for seed in range(30):
        done = processes.Process(make_one, (scratch, tmp_path, seed, report), tmp_path).wait()
        assert done.returncode == 0, done.stderr
        measured.append(json.loads(report.read_text()))
    plain = [found for seed, found in enumerate(measured) if seed % 10]
    print(f"soak: {plain[0]} at the end of the second run, {plain[-1]} of the last")
    assert len(list((tmp_path / "results" / "digits").iterdir())) == 30
    assert not list(tmp_path.rglob("*.tmp"))
    assert not list(tmp_path.rglob("held_by.txt"))
    assert os.listdir(scratch) == []
    assert {name for name in os.listdir("/dev/shm") if name.startswith("torch")} <= shared
    assert len({(found["handles"], found["temporary"]) for found in plain}) == 1
    # KiB; a run does not cost more memory for the runs that are there already.
    assert plain[-1]["memory"] - plain[0]["memory"] < 10_000
