"""Whole sweeps on this machine, over a program that trains nothing."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest

from tests.utils.sweep.conftest import ROOT, driver, epochs, is_gone, kill, starts, wait_until
from tests.utils.sweep.fake_program import DIVERGES, FAILS, KILLS_ITSELF


def test_runs_all_prints_the_table_and_does_nothing_twice(fake_sweep, tmp_path):
    line = "--workers 2 -- -n vmf normal -z 2 5 -e 2 -rs 1 2"
    code, out, err = fake_sweep(line)
    assert code == 0, err
    assert "8 runs: 0 complete, 8 to do" in err
    assert len(starts(tmp_path)) == 8
    assert re.search(r"\[8/8\] done +-n \w+ -z \d -rs \d  log p\(x\) -[23]\.50", err)
    assert out.startswith("all: data digits")  # nothing but the table
    assert "-3.00 ± 0.71" in out
    before = starts(tmp_path)
    again = fake_sweep(line)
    assert again == (0, out, "8 runs: 8 complete, 0 to do\n")
    assert starts(tmp_path) == before
    more = fake_sweep(line.replace("-rs 1 2", "-rs 1 2 3"))
    assert "12 runs: 8 complete, 4 to do" in more[2]
    assert {name: lines for name, lines in starts(tmp_path).items() if name in before} == before


def test_failures_are_listed_with_the_last_line_of_their_log_and_the_rest_goes_on(fake_sweep, tmp_path):
    code, out, err = fake_sweep(f"--workers 2 -- -z 2 5 -e 2 -rs {FAILS} 1 {DIVERGES}")
    assert code == 1
    err = err[err.index("4 of 6 runs failed") :]  # after the progress
    assert err.count("exit code 1: fake_program.py: the data are missing") == 2
    assert err.count("diverged: ") == 2
    assert f"python run_models.py -d digits -ld {tmp_path / 'results'} -z 2 -e 2 -rs {FAILS}" in err
    assert "Traceback" not in err
    assert "2, 1 diverged" in out  # the table of the others
    logs = re.findall(r"log: (\S+)", err)
    assert len(logs) == 4
    # What diverged is told again, what failed is tried again.
    code, out, err = fake_sweep(f"-- -z 2 5 -e 2 -rs {FAILS} 1 {DIVERGES}")
    assert "6 runs: 4 complete, 2 to do" in err
    assert code == 1
    assert "4 of 6 runs failed" in err


def test_killed_run_is_started_again_and_goes_on(fake_sweep, tmp_path):
    code, _, err = fake_sweep(f"-- -e 3 -rs {KILLS_ITSELF}")
    assert code == 0, err
    ((first, second),) = starts(tmp_path).values()
    assert (first[0], second[0]) == ("0", "1")


def test_run_that_is_killed_again_and_again_is_given_up(fake_sweep):
    code, _, err = fake_sweep(f"--retries 0 -- -e 3 -rs {KILLS_ITSELF}")
    assert code == 1
    assert "SIGKILL" in err


def test_cores_are_divided(fake_sweep, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.sweep.local.available_cores", lambda: 8)
    monkeypatch.setattr("utils.sweep.local.cuda_cards", lambda: [])
    assert "3 at a time on this machine, 2 of 8 cores each" in fake_sweep("--workers 3 -- -rs 1 2 3 4 -e 1")[2]
    assert {lines[0][1] for lines in starts(tmp_path).values()} == {"2"}
    assert "2 at a time on this machine, 4 of 8" in fake_sweep("-- -rs 5 6 -e 1")[2]
    assert "2 at a time on this machine, 3 of 8" in fake_sweep("--cores 3 -- -rs 7 8 9 -e 1")[2]


def test_cards_are_divided(fake_sweep, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.sweep.local.available_cores", lambda: 8)
    monkeypatch.setattr("utils.sweep.local.cuda_cards", lambda: ["0", "3"])
    assert "2 at a time" in fake_sweep("-- -rs 1 2 3 -e 1")[2]
    assert {lines[0][2] for lines in starts(tmp_path).values()} == {"0", "3"}
    assert "4 at a time" in fake_sweep("--gpus 0.5 -- -rs 11 12 13 14 15 -e 1")[2]
    assert "8 at a time" in fake_sweep(f"-- -rs {' '.join(str(seed) for seed in range(20, 28))} -e 1 --device cpu")[2]


def test_dry_run_lists_and_touches_nothing(fake_sweep, tmp_path):
    assert fake_sweep("-- -z 2 -rs 1 -e 2")[0] == 0
    before = sorted(tmp_path.rglob("*"))
    code, out, err = fake_sweep("--dry_run -- -z 2 5 -rs 1 -e 2")
    assert (code, err) == (0, "")
    lines = [line.split("  # ") for line in out.splitlines()]
    assert [state for _, state in lines] == ["complete", "new"]
    assert all(command.startswith("python run_models.py -d digits") for command, _ in lines)
    assert sorted(tmp_path.rglob("*")) == before


def test_dry_run_is_a_batch_file(fake_sweep, tmp_path):
    (tmp_path / "batch.sh").write_text(fake_sweep("--dry_run -- -z 2 5 -e 1")[1])
    code, _, err = fake_sweep(f"{tmp_path / 'batch.sh'} -- -rs 4")
    assert code == 0
    assert {name.split("__")[1] for name in starts(tmp_path)} == {"s4"}
    assert "2 runs: 0 complete" in err


def test_two_numbers_of_samples_in_one_folder_do_not_meet(fake_sweep):
    code, out, err = fake_sweep("--workers 2 -- -z 2 -e 2 -lls 5 50")
    assert code == 0, err
    assert re.search(r"\bK\b", out)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("-- -z x", ["-z", "'x'"]),
        ("--worker 2 -- -z 2", ["--worker", "did you mean --workers"]),
        ("-n vmf -z 2 5", ["-n: is a flag of the runs", "come after --"]),
        ("--workers 2 --epochs=3", ["--epochs: is a flag of the runs", "come after --"]),
        ("--engine cloud -- -z 2", ["--engine", "local, ray, slurm"]),
        ("--workers 0 -- -z 2", ["--workers", "from 1"]),
        ("--address auto -- -z 2", ["--address", "ray"]),
        ("--slurm a=1 -- -z 2", ["--slurm", "slurm"]),
        ("nowhere.sh -- -z 2", ["nowhere.sh"]),
    ],
)
def test_mistake_exits_with_2_in_one_line_and_creates_nothing(fake_sweep, tmp_path, line, parts):
    code, out, err = fake_sweep(line)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_missing_extra_says_what_to_install(fake_sweep, tmp_path, monkeypatch, engine, package):
    monkeypatch.setattr("utils.sweep.engines.find_spec", lambda name: None)
    code, _, err = fake_sweep(f"--engine {engine} -- -z 2")
    assert code == 2
    assert f"needs the package {package}; install it with pip install -r requirements-extras.txt" in err
    assert not list(tmp_path.iterdir())


def test_unwritable_results_are_one_line(fake_sweep, tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    code, _, err = fake_sweep("-- -z 2")
    assert code == 1
    assert str(tmp_path / "results") in err.splitlines()[-1]
    assert "Traceback" not in err


def test_nothing_to_run_is_said():
    words = [sys.executable, "-m", "utils.sweep"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "nothing to run" in done.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_driver_that_ends_takes_its_runs_along_and_only_what_is_missing_runs_again(fake_sweep, tmp_path, signum):
    line = "--workers 2 -- -z 2 5 -rs 1 2 3 -e 8 -n vmf"
    process = driver(tmp_path, line)
    wait_until(lambda: len(starts(tmp_path)) >= 4 and all(count >= 2 for count in epochs(tmp_path)))
    finished = {path.parent.name for path in (tmp_path / "results").rglob("summary.json")}
    process.send_signal(signum)
    out, err = process.communicate(timeout=30)
    assert len(finished) >= 2, out
    assert process.returncode == (-9 if signum == signal.SIGKILL else 128 + signum)
    if signum != signal.SIGKILL:
        assert "to resume: python -m utils.sweep --workers 2 -- " in err
    pids = [lines[-1][3] for lines in starts(tmp_path).values()]
    wait_until(lambda: all(is_gone(pid) for pid in pids), 10)
    code, _, err = fake_sweep(line)
    assert code == 0, err
    assert all(len(lines) == 1 for name, lines in starts(tmp_path).items() if name in finished)
    again = [lines for lines in starts(tmp_path).values() if len(lines) > 1]
    assert 1 <= len(again) <= 2
    assert all(int(lines[1][0]) > 0 for lines in again)  # went on, and did not begin anew


def test_worker_that_is_killed_is_replaced(fake_sweep, tmp_path):
    process = driver(tmp_path, "--workers 2 -- -rs 1 2 3 -e 30")
    wait_until(lambda: len(starts(tmp_path)) == 2)
    kill(next(iter(starts(tmp_path).values()))[0][3])
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert sorted(len(lines) for lines in starts(tmp_path).values()) == [1, 1, 2]
    assert "[3/3]" in err


def test_two_sweeps_side_by_side_share_the_work(tmp_path):
    line = "--workers 1 -- -rs 1 2 3 4 -e 4"
    sweeps = [driver(tmp_path, line) for _ in range(2)]
    outputs = [sweep.communicate(timeout=60) for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], outputs
    assert [len(lines) for lines in starts(tmp_path).values()] == [1, 1, 1, 1]
    assert outputs[0][0] == outputs[1][0]


def test_terminal_gets_a_line_per_worker_and_an_overall_bar(tmp_path):
    terminal, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    script = "import sys; from tests.utils.sweep.conftest import FAKE; from utils.sweep.__main__ import main; "
    script += "sys.exit(main(sys.argv[1:], FAKE))"
    words = ["--workers", "2", "--", "-d", "digits", "-ld", str(tmp_path), "-rs", "1", "2", "-e", "10"]
    environment = {**os.environ, "NAP": "0.1", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words], cwd=ROOT, env=environment, stdout=other, stderr=other
    )
    os.close(other)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        shown += part
    assert process.wait() == 0
    text = shown.decode()
    assert re.search(r"  1  -rs 1  epoch \d+/10  val -\d", text)
    assert re.search(r"  2  -rs 2  epoch \d+/10", text)
    assert re.search(r"\d+%\|.*\| \d\.\d/2 runs \[.*left", text)
    assert text.rstrip().endswith("nats per image")
