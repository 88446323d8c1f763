"""One small run that nothing disturbed, to hold the disturbed ones against."""

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import processes
from tests.faults.comparing import only_run, outcome

# The function that is called in each phase of a run.
PHASES = {
    "step": "objective",
    "validation": "statistics",
    "checkpoint write": "posix.fsync",
    "checkpoint rename": "posix.replace",
    "log p(x)": "log_weights",
    "drawing": "savefig",
}
LINE = "-d digits -n vmf -z 2 -e 4 -klw 2 -lls 100 -hd 8 -bs 300"


@dataclass
class Undisturbed:
    """The run's outcome, its folder, and how often each function of `PHASES` was called."""

    outcome: dict
    calls: dict
    folder: Path

    def moments(self, phase, count, seed):
        """Numbers of calls, drawn evenly from all there are."""
        return random.Random(f"{phase} {seed}").choices(range(1, self.calls[PHASES[phase]] + 1), k=count)


def words(folder, line=LINE):
    """The command line of a run with its results below `folder`."""
    return ["-ld", str(folder / "results"), *line.split()]


def make_undisturbed(folder, draws):
    counting = (processes.count_calls, list(PHASES.values()), folder / "calls.json")
    done = processes.run(words(folder), folder, counting, draws=draws)
    assert done.returncode == 0, done.stderr
    run = only_run(folder / "results")
    return Undisturbed(outcome(run), json.loads((folder / "calls.json").read_text()), run)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Without figures."""
    return make_undisturbed(tmp_path_factory.mktemp("undisturbed"), draws=False)


@pytest.fixture(scope="session")
def undisturbed_with_figures(tmp_path_factory):
    return make_undisturbed(tmp_path_factory.mktemp("drawn"), draws=True)


@pytest.fixture
def run_models(run_models, monkeypatch):
    """The program in this process, as if matplotlib were not installed, since drawing would take most of the time.

    `monkeypatch.undo()` gives the figures back.
    """
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    return run_models
