"""Sweeps on a real Slurm of two nodes on this machine."""

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
    with tempfile.TemporaryDirectory(prefix="slurm") as folder, Cluster(Path(folder) / "c") as found:
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


def jobs(cluster, state):
    lines = cluster.ask("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
    return [line.split()[0] for line in lines if line.split()[1] == state]


def test_sweep_ends_in_its_table(sweep, tmp_path):
    out, err = sweep("-- -rs 1 2 3 -e 2").communicate(timeout=120)
    assert "[3/3]" in out, out + err
    assert "-3.50 ± 1.00" in out
    assert [len(lines) for lines in starts(tmp_path).values()] == [1, 1, 1]


def test_cancelled_runs_are_reported_with_the_word_of_slurm(sweep, cluster):
    process = sweep("-- -rs 1 2 3 4 5 -e 6", nap="1")  # one more than the cluster has cores
    wait_until(lambda: len(jobs(cluster, "RUNNING")) == 4)
    began = time.monotonic()
    waiting, computing = jobs(cluster, "PENDING")[0], jobs(cluster, "RUNNING")[0]
    cluster.ask("scancel", waiting)  # first, since it would start in the place of the other
    cluster.ask("scancel", computing)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out.count("Slurm says CANCELLED; its log: ") == 2, out + err
    assert "[5/5]" in out
    assert time.monotonic() - began < 40


def test_run_that_is_queued_again_resumes(sweep, cluster, tmp_path):
    process = sweep("-- -rs 1 -e 8", nap="1")
    wait_until(lambda: epochs(tmp_path) and epochs(tmp_path)[0] >= 2)
    cluster.ask("scontrol", "requeue", jobs(cluster, "RUNNING")[0])
    wait_until(lambda: jobs(cluster, "PENDING"))
    cluster.ask("scontrol", "update", f"jobid={jobs(cluster, 'PENDING')[0]}", "StartTime=now")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    (lines,) = starts(tmp_path).values()
    assert len(lines) == 2
    assert int(lines[1][0]) >= 2


def test_killed_driver_can_be_repeated(sweep, tmp_path):
    first = sweep("-- -rs 1 2 -e 8", nap="0.5")
    wait_until(lambda: len(epochs(tmp_path)) == 2)
    kill(first.pid)
    out, err = sweep("-- -rs 1 2 -e 8", nap="0.5").communicate(timeout=120)
    assert "[2/2]" in out, out + err
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
