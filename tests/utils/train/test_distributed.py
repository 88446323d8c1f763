"""One run in two processes: the same sums, gradients and evaluation as in one, and no hang when one of them dies."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.utils.shared_training import train
from utils.config.command_line import parse_run
from utils.config.flags import UsageError
from utils.run.processes import processes
from utils.train import join
from utils.train.peers import ALONE

ROOT = Path(__file__).parents[3]


def torchrun(*words, **environment):
    """A program in two processes on this machine."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *map(str, words)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def two_processes(monkeypatch):
    """The environment of the second of two processes."""
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)


def test_process_without_torchrun_is_alone():
    assert processes() == 0
    assert join() is ALONE
    assert ALONE.gather(3) == [3]
    assert ALONE.gather(None) == []


def test_share_is_every_other_image_and_counts_by_its_size(two_processes):
    group = join()
    assert group.share(torch.arange(7)).tolist() == [1, 3, 5]
    assert group.weight == pytest.approx(3 / 7)


@pytest.mark.parametrize(
    ("line", "images"),
    [
        ("-n vq", 100),
        ("-klt 5", 100),
        ("--labels 50 --classifier", 100),
        ("--compile", 100),
        ("-bs 50", 101),
        ("-bs 1", 100),
    ],
)
def test_what_cannot_be_shared_is_refused(two_processes, line, images):
    with pytest.raises(UsageError, match=line.split()[0]):
        join().check(parse_run(line.split()), images)


def test_what_can_be_shared_is_not_refused(two_processes):
    for line, images in (("-bs 50", 100), ("-bs 50", 102), ("--classifier", 100)):
        join().check(parse_run(line.split()), images)


@pytest.mark.slow
def test_training_in_two_processes_is_that_in_one(tmp_path):
    process = torchrun("tests/utils/shared_training.py", tmp_path / "found.pt")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found = torch.load(tmp_path / "found.pt")
    assert len(found) == 2
    sums, weights = train(ALONE)
    assert sums[0] == 24
    for others, other_weights in found:
        torch.testing.assert_close(others, sums, rtol=1e-12, atol=0)
        for name, value in weights.items():
            torch.testing.assert_close(other_weights[name], value, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_run_in_two_processes_is_evaluated_as_by_one_and_can_be_resumed_by_one(run_models, tmp_path):
    line = "-d digits -n vmf -z 3 -klw 2 -hd 16 -lls 20 -vll"
    words = ["run_models.py", *line.split(), "-ld", tmp_path / "results"]
    process = torchrun(*words, "-e", "2")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.count("nats per image") == 1
    assert "one of 2 processes" in out
    (run,) = (tmp_path / "results" / "digits").iterdir()
    shared = json.loads((run / "summary.json").read_text())
    (run / "summary.json").unlink()
    assert run_models(f"{line} -e 2").returncode == 0
    alone = json.loads((run / "summary.json").read_text())
    assert alone["test"] == shared["test"]
    assert alone["test"]["n"] == 300
    assert run_models(f"{line} -e 3").returncode == 0
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in lines] == [1, 2, 3]


@pytest.mark.slow
def test_dead_process_ends_the_run_with_a_message(run_models, tmp_path):
    line = "-d digits -n normal -z 2 -klw 0 -hd 8 -lls 5"
    words = ["run_models.py", *line.split(), "-ld", tmp_path / "results", "-e", "100000", "-la", "100000"]
    process = torchrun(*words)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("results/digits/*/metrics.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    ranks = {}
    for child in children:
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranks.update({text: int(child) for text in variables if text.startswith(b"RANK=")})
    os.kill(ranks[b"RANK=1"], signal.SIGKILL)
    died = time.monotonic()
    _, err = process.communicate(timeout=100)
    assert time.monotonic() - died < 60
    assert process.returncode != 0
    assert re.search(r"run_models\.py: (process 0 of 2: another process of this run is gone|stopped by SIGTERM)", err)
    assert "rank      : 1" in err
    (run,) = (tmp_path / "results" / "digits").iterdir()
    done = len((run / "metrics.jsonl").read_text().splitlines())
    resumed = run_models(f"{line} -e {done + 1} -la 100000")
    assert resumed.returncode == 2  # more epochs were asked for before; only as many or more go on
    assert "epochs was 100000" in resumed.stderr
