"""Sweeps on a real Slurm of two nodes on this machine."""

import re
import tempfile
import time
from pathlib import Path

import pytest

from tests.utils.sweep.conftest import driver, epochs, kill, starts
from tests.utils.sweep.one_machine_slurm import MISSING, NO_ACCOUNTING, Cluster, wait_until
from utils.config.flags import UsageError
from utils.sweep.engines import Request, build_engine

pytest.importorskip("submitit", reason="Slurm: pip install -r requirements-extras.txt")

from utils.sweep.slurm_queue import recorded_states

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm: {', '.join(MISSING)} not installed"),
]


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of three cores; an array may have four tasks, so that sweeps of more runs submit several."""
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
    assert "[3/3]" in err, out + err
    assert "-3.50 ± 1.00" in out
    assert [len(lines) for lines in starts(tmp_path).values()] == [1, 1, 1]


def test_lost_runs_are_reported_with_the_word_of_slurm(sweep, cluster):
    line = "--slurm slurm_additional_parameters=no-requeue -- -rs 1 2 3 4 5 6 7 -e 8"
    process = sweep(line, nap="1")  # one more than the cluster has cores
    wait_until(lambda: len(jobs(cluster, "RUNNING")) == 6)
    began = time.monotonic()
    waiting, computing = jobs(cluster, "PENDING")[0], jobs(cluster, "RUNNING", node="n1")[0]
    cluster.ask("scancel", waiting)  # first, since it would start in the place of the other
    cluster.ask("scancel", computing)
    cluster.ask("scontrol", "update", "nodename=n2", "state=down", "reason=test")
    out, err = process.communicate(timeout=120)
    cluster.ask("scontrol", "update", "nodename=n2", "state=resume")
    assert process.returncode == 1
    assert len(re.findall(r"FAILED .* Slurm says CANCELLED, before it began", err)) == 1, out + err
    assert len(re.findall(r"FAILED .* Slurm says CANCELLED; its log: \S+\.err", err)) == 1, out + err
    assert len(re.findall(r"FAILED .* Slurm says NODE_FAIL; its log: \S+\.err", err)) == 3, out + err
    assert "[7/7]" in err
    assert time.monotonic() - began < 90  # on a loaded machine; some 10 seconds of it are waiting


def test_runs_resume_or_are_reported_whatever_ends_their_jobs(sweep, cluster, tmp_path):
    line = "--slurm timeout_min=9 mem_gb=0.2 -- -rs 1 2 999 3 1000 -e 20"  # 999 hangs, 1000 takes 0.4 GB
    process = sweep(line, nap="0.3")
    wait_until(lambda: len(epochs(tmp_path)) == 4 and min(epochs(tmp_path)) >= 1 and len(jobs(cluster, "RUNNING")) == 4)
    first, second, deaf = sorted(jobs(cluster, "RUNNING", node="n1"))
    cluster.ask("scontrol", "update", f"jobid={deaf}", "endtime=now")
    cluster.ask("scancel", "--signal=USR2", first)  # what Slurm itself sends before the limit
    cluster.ask("scontrol", "requeue", second)
    cluster.crash("n2")
    time.sleep(12)  # BatchStartTimeout and MessageTimeout: until then Slurm takes a missing job for one that starts
    cluster.start_node("n2")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1, out + err
    assert len(re.findall("FAILED ", err)) == 2, out + err
    assert re.search(r"FAILED +-rs 999  Slurm says TIMEOUT; its log: \S+\.err", err), err
    assert re.search(r"FAILED +-rs 1000  Slurm says OUT_OF_MEMORY; its log: \S+\.err", err), err
    assert re.search(r"queued again \S+  -rs [123]\n", err), err
    assert re.search(r"resumed  -rs [123]\n", err), err
    for name, lines in starts(tmp_path).items():
        assert [int(line[0]) > 0 for line in lines] == ([False] if "s999" in name else [False, True])
    assert sum(count == 20 for count in epochs(tmp_path)) == 3


def test_killed_driver_can_be_repeated(sweep, tmp_path):
    first = sweep("-- -rs 1 2 -e 16", nap="0.2")
    wait_until(lambda: len(epochs(tmp_path)) == 2)
    kill(first.pid)
    again = sweep("-- -rs 1 2 -e 16", nap="0.2")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, out + err
    assert epochs(tmp_path) == [16, 16]
    assert [len(lines) for lines in starts(tmp_path).values()] == [1, 1]


def test_interrupted_sweep_cancels_its_jobs(sweep, cluster, tmp_path):
    process = sweep("-- -rs 1 2 -e 100", nap="1")
    wait_until(lambda: len(epochs(tmp_path)) == 2)
    process.send_signal(2)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "to resume:" in err
    wait_until(lambda: not jobs(cluster, "RUNNING"))


@pytest.mark.parametrize(
    "word",
    [
        *("cpus_per_task=64", "mem_gb=900", "slurm_mem_per_cpu=900G", "gpus_per_node=1", "slurm_gres=gpu:1"),
        *("slurm_partition=nowhere", "slurm_constraint=fast", "slurm_nodelist=n3", "slurm_exclude=n1,n2"),
        *("slurm_dependency=bogus", "slurm_mail_type=bogus", "slurm_additional_parameters=reservation=bogus"),
        "slurm_additional_parameters=bogus=1",
    ],
)
def test_what_slurm_refuses_is_one_line(cluster, monkeypatch, tmp_path, word):
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    message = r"^--engine slurm: Slurm refuses jobs with .*: all: \d \w+, 3 cores, 30000 MB, no gres[^\n]*$"
    with pytest.raises(UsageError, match=message):
        build_engine("slurm", Request(jobs=1, slurm=(word,), log_dir=tmp_path / "results"))
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(bool(NO_ACCOUNTING), reason=f"accounting of Slurm: {', '.join(NO_ACCOUNTING)} not installed")
def test_accounting_knows_how_jobs_ended_and_who_may_submit(monkeypatch, tmp_path):
    with tempfile.TemporaryDirectory(prefix="slurm") as folder, Cluster(Path(folder) / "c", accounting=True) as cluster:
        monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
        for word in ("slurm_account=nobody", "slurm_qos=best"):
            with pytest.raises(UsageError, match=r"Invalid (account|qos)"):
                build_engine("slurm", Request(jobs=1, slurm=(word,), log_dir=tmp_path))
        second_waits = "--wrap=test $SLURM_ARRAY_TASK_ID = 1 && sleep 60"
        job = cluster.ask("sbatch", "--parsable", "--array=0-1", "--output=/dev/null", second_waits).strip()
        wait_until(lambda: jobs(cluster, "RUNNING") == [f"{job}_1"])
        cluster.ask("scancel", f"{job}_1")
        ended = {f"{job}_0": "FAILED", f"{job}_1": "CANCELLED"}
        wait_until(lambda: recorded_states(list(ended)) == ended)
