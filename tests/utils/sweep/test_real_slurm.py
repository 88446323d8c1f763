"""Sweeps on a real Slurm of two nodes on this machine."""

import re
import tempfile
import time
from pathlib import Path

import pytest

from tests.utils.sweep.conftest import driver, epochs, kill, starts
from tests.utils.sweep.one_machine_slurm import MISSING, Cluster, wait_until

pytest.importorskip("submitit", reason="Slurm: pip install -r requirements-extras.txt")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm: {', '.join(MISSING)} not installed"),
]


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of two cores; an array may have four tasks, so that sweeps of more runs submit several."""
    with tempfile.TemporaryDirectory(prefix="slurm") as folder, Cluster(Path(folder) / "c", array=4) as found:
        yield found


@pytest.fixture
def sweep(cluster, tmp_path):
    """Start a sweep over the fake program; it is ended with the test."""
    started = []

    def start(line, nap="0.1"):
        started.append(driver(tmp_path, f"--engine slurm {line}", nap=nap, **cluster.environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
    for job in cluster.ask("squeue", "--noheader", "--format=%A").split():
        cluster.ask("scancel", job)


def jobs(cluster, state, node=""):
    lines = cluster.ask("squeue", "--noheader", "--array", "--format=%i %T %N").splitlines()
    return [line.split()[0] for line in lines if line.split()[1] == state and line.endswith(node)]


def test_sweep_ends_in_its_table(sweep, tmp_path):
    out, err = sweep("-- -rs 1 2 3 -e 2").communicate(timeout=120)
    assert "[3/3]" in out, out + err
    assert "-3.50 ± 1.00" in out
    assert [len(lines) for lines in starts(tmp_path).values()] == [1, 1, 1]


def test_lost_runs_are_reported_with_the_word_of_slurm(sweep, cluster):
    line = "--slurm slurm_additional_parameters=no-requeue -- -rs 1 2 3 4 5 -e 8"
    process = sweep(line, nap="1")  # one more than the cluster has cores
    wait_until(lambda: len(jobs(cluster, "RUNNING")) == 4)
    began = time.monotonic()
    waiting, computing = jobs(cluster, "PENDING")[0], jobs(cluster, "RUNNING", node="n1")[0]
    cluster.ask("scancel", waiting)  # first, since it would start in the place of the other
    cluster.ask("scancel", computing)
    cluster.ask("scontrol", "update", "nodename=n2", "state=down", "reason=test")
    out, err = process.communicate(timeout=120)
    cluster.ask("scontrol", "update", "nodename=n2", "state=resume")
    assert process.returncode == 1
    assert len(re.findall(r"FAILED .* Slurm says CANCELLED, before it began", out)) == 1, out + err
    assert len(re.findall(r"FAILED .* Slurm says CANCELLED; its log: \S+\.err", out)) == 1, out + err
    assert len(re.findall(r"FAILED .* Slurm says NODE_FAIL; its log: \S+\.err", out)) == 2, out + err
    assert "[5/5]" in out
    assert time.monotonic() - began < 90  # on a loaded machine; some 10 seconds of it are waiting


def test_run_resumes_after_its_time_limit_and_when_it_is_queued_again(sweep, cluster, tmp_path):
    process = sweep("--slurm timeout_min=9 -- -rs 1 2 -e 8", nap="1")
    wait_until(lambda: len(epochs(tmp_path)) == 2 and min(epochs(tmp_path)) >= 1)
    first, second = jobs(cluster, "RUNNING")
    cluster.ask("scancel", "--signal=USR2", first)  # what Slurm itself sends before the limit
    cluster.ask("scontrol", "requeue", second)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert len(re.findall(r"queued again \S+  -rs [12]", out)) == 2, out
    assert out.count("resumed  -rs") == 2
    for lines in starts(tmp_path).values():
        assert [int(line[0]) > 0 for line in lines] == [False, True]
    assert epochs(tmp_path) == [8, 8]


def test_killed_driver_can_be_repeated(sweep, tmp_path):
    first = sweep("-- -rs 1 2 -e 8", nap="0.5")
    wait_until(lambda: len(epochs(tmp_path)) == 2)
    kill(first.pid)
    again = sweep("-- -rs 1 2 -e 8", nap="0.5")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, out + err
    assert all(count == 8 for count in epochs(tmp_path))


def test_interrupted_sweep_cancels_its_jobs(sweep, cluster, tmp_path):
    process = sweep("-- -rs 1 2 -e 100", nap="1")
    wait_until(lambda: len(epochs(tmp_path)) == 2)
    process.send_signal(2)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "to resume:" in err
    wait_until(lambda: not jobs(cluster, "RUNNING"))


def test_unknown_partition_is_one_line(sweep):
    process = sweep("--slurm slurm_partition=nowhere -- -rs 1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.count("\n") == 1
    assert "Invalid partition" in err
