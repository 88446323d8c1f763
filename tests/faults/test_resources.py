"""Full disks, read-only folders, little memory, closed output, missing packages: one line, and nothing truncated."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from tests.faults import processes
from tests.faults.comparing import metrics, only_run, outcome, state_of
from tests.faults.conftest import LINE, words

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own, 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("only the superuser may mount the small file system that this fills")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def assert_one_line(done, *parts):
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def assert_whole(run, capfd):
    """Every file of an unfinished run can be read."""
    assert not list(run.rglob("*.tmp"))
    for name in ("last", "best"):
        if (run / "checkpoints" / f"{name}.pt").exists():
            state_of(run, name)
    assert capfd.readouterr().err == ""
    if (run / "metrics.jsonl").exists():
        metrics(run)


@pytest.mark.parametrize("left", [1024, 45_000, 90_000])
def test_full_disk_is_one_line_and_with_room_the_run_goes_on(disk, undisturbed, left, tmp_path, capfd):
    filler = disk / "filler"
    with open(filler, "wb") as file:
        file.write(b"x" * (shutil.disk_usage(disk).free - left - left % 4096))
    assert_one_line(processes.run(words(disk), tmp_path), str(disk), "No space left", "bytes are free", "-ld")
    assert_whole(only_run(disk / "results"), capfd)
    filler.unlink()
    assert processes.run(words(disk), tmp_path).returncode == 0
    assert outcome(only_run(disk / "results")) == undisturbed.outcome


def test_limit_on_file_size_is_one_line_and_without_it_the_run_goes_on(tmp_path, undisturbed, capfd):
    # Room for the JSON files and the best model, not for the state of training.
    limited = processes.run(words(tmp_path), tmp_path, (processes.limit_file_size, 12_000))
    assert_one_line(limited, "last.pt: File too large", "bytes are free", "-ld")
    run = only_run(tmp_path / "results")
    assert_whole(run, capfd)
    assert processes.run(words(tmp_path), tmp_path).returncode == 0
    assert outcome(run) == undisturbed.outcome


def test_read_only_folder_is_one_line_but_a_finished_run_is_printed(disk, tmp_path):
    assert processes.run(words(disk), tmp_path).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    again = processes.run(words(disk), tmp_path)
    assert again.returncode == 0
    assert "nats per image" in again.stdout
    assert_one_line(processes.run(words(disk, f"{LINE} -rs 2"), tmp_path), str(disk), "Read-only", "-ld")
    assert_one_line(processes.run(words(disk, f"{LINE} -e 5"), tmp_path), str(disk), "Read-only", "-ld")


def test_forbidden_folder_is_one_line(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir(mode=0o555)
    prepare = [(processes.become_nobody,)] if os.getuid() == 0 else []
    assert_one_line(processes.run(words(tmp_path), tmp_path, *prepare), str(folder), "Permission denied", "-ld")


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
def test_too_little_memory_is_one_line_and_creates_nothing(tmp_path):
    line = f"{LINE} -hd 20000,20000"
    done = processes.run(words(tmp_path, line), tmp_path, (processes.limit_memory, 200 * MIB))
    assert_one_line(done, "memory is full", "-hd")
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_too_little_gpu_memory_is_one_line_and_creates_nothing(run_models, tmp_path):
    torch.cuda.set_per_process_memory_fraction(0.001)
    try:
        done = run_models(f"{LINE} -hd 20000,20000 --device cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert_one_line(done, "GPU's memory is full", "--device cpu")
    assert not (tmp_path / "results").exists()


def test_closed_output_is_one_line_and_repeating_goes_on(tmp_path, undisturbed):
    assert_one_line(processes.run(words(tmp_path), tmp_path, (processes.close_output,)), "has closed it; to")
    assert processes.run(words(tmp_path), tmp_path).returncode == 0
    assert outcome(only_run(tmp_path / "results")) == undisturbed.outcome


def test_missing_package_is_one_line_that_says_how_to_get_it(tmp_path):
    # -S leaves out the folder of installed packages.
    command = [sys.executable, "-S", str(processes.ROOT / "run_models.py"), *words(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert_one_line(done, "is not installed", "pip install")
    assert not (tmp_path / "results").exists()
