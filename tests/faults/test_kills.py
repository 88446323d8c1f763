"""A run that is killed, and repeated, ends as if nothing had happened: bit for bit, on the CPU."""

import os
import shutil
import signal

import pytest

from tests.faults import processes
from tests.faults.comparing import figures, only_run, outcome
from tests.faults.conftest import PHASES, words


def kill_and_repeat(folder, phase, moment, draws=False):
    """Kill a run with SIGKILL at one moment and repeat it until it is done; returns its folder."""
    deadly = (processes.signal_at, PHASES[phase], moment, signal.SIGKILL)
    killed = processes.run(words(folder), folder, deadly, draws=draws)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run = only_run(folder / "results")
    assert not (run / "summary.json").exists()
    repeated = processes.run(words(folder), folder, draws=draws)
    assert repeated.returncode == 0, repeated.stderr
    assert repeated.stderr == ""
    return run


@pytest.mark.parametrize("phase", ["checkpoint rename", "log p(x)"])
def test_run_killed_once_ends_the_same(tmp_path, undisturbed, phase):
    (moment,) = undisturbed.moments(phase, 1, seed=0)
    assert outcome(kill_and_repeat(tmp_path, phase, moment)) == undisturbed.outcome


@pytest.mark.slow
def test_run_killed_at_twenty_random_moments_ends_the_same(tmp_path, undisturbed, undisturbed_with_figures):
    kills = differences = 0
    for phase, count in zip(PHASES, (4, 4, 4, 3, 3, 2), strict=True):
        draws = phase == "drawing"
        whole = undisturbed_with_figures if draws else undisturbed
        for moment in whole.moments(phase, count, seed=1):
            run = kill_and_repeat(tmp_path, phase, moment, draws)
            same = outcome(run) == whole.outcome and figures(run) == figures(whole.folder)
            kills, differences = kills + 1, differences + (not same)
            shutil.rmtree(run)
    print(f"kill test: {kills} kills, {kills} resumes, {differences} differences")
    assert (kills, differences) == (20, 0)


def test_run_killed_again_and_again_ends_the_same(tmp_path, undisturbed):
    # Each attempt gets a little further: the first writes, a step of the second epoch, and so on.
    for phase, moment in (("checkpoint write", 2), ("step", 7), ("validation", 2), ("checkpoint rename", 6)):
        killed = processes.run(words(tmp_path), tmp_path, (processes.signal_at, PHASES[phase], moment, signal.SIGKILL))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert processes.run(words(tmp_path), tmp_path).returncode == 0
    assert outcome(only_run(tmp_path / "results")) == undisturbed.outcome


def test_killed_process_leaves_nothing_that_stays(tmp_path, undisturbed):
    killed = processes.run(words(tmp_path), tmp_path, (processes.signal_at, "posix.fsync", 7, signal.SIGKILL))
    assert killed.returncode == -signal.SIGKILL
    run = only_run(tmp_path / "results")
    assert list(run.rglob(".*.tmp")), "the kill was meant to come in the middle of a write"
    holder = (run / "held_by.txt").read_text()
    assert processes.run(words(tmp_path), tmp_path).returncode == 0
    assert not list(run.rglob("*.tmp"))
    assert not (run / "held_by.txt").exists()
    assert holder.startswith("process ")
    assert sorted(os.listdir(tmp_path / "results" / "digits")) == [run.name]
