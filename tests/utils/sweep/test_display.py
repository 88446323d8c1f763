"""What a sweep says of runs that wait, compute and are queued again."""

from types import SimpleNamespace

import pytest

from utils.sweep import display
from utils.sweep.display import Lines, counts_of


@pytest.fixture
def runs(tmp_path):
    """Three runs of which nothing is there yet."""
    return [
        Run(f"-rs {seed}", SimpleNamespace(metrics_path=tmp_path / f"{seed}.jsonl", result=lambda: None))
        for seed in (1, 2, 3)
    ]


class Run:
    """As much of a run as the display asks for."""

    def __init__(self, label, run):
        self.label, self.run, self.config = label, run, SimpleNamespace(epochs=8)


def test_queued_running_and_queued_again_are_told_apart(runs, capsys):
    shown, (first, second, third) = Lines(3, 0), runs
    shown.refresh({first: "queued", second: "queued", third: "queued (Priority)"}, waiting=False)
    assert capsys.readouterr().err == "[0/3] 2 queued, 1 queued (Priority); ? left\n"
    shown.refresh({first: "", second: "queued", third: "queued (Priority)"}, waiting=False)
    assert capsys.readouterr().err == "      started  -rs 1\n"
    shown.refresh({first: "queued again (BeginTime)", second: "queued", third: "queued"}, waiting=False)
    assert capsys.readouterr().err == "      queued again (BeginTime)  -rs 1\n"
    shown.refresh({first: "", second: "queued", third: "queued"}, waiting=False)
    assert capsys.readouterr().err == "      resumed  -rs 1\n"
    shown.ended(third, "")
    assert "[1/3] done     -rs 3  done  (a moment; " in capsys.readouterr().err


def test_runs_that_wait_are_counted_and_those_that_compute_listed(runs, capsys, monkeypatch):
    monkeypatch.setattr(display, "HEARTBEAT_SECONDS", -1.0)
    shown, (first, second, third) = Lines(3, 0), runs
    shown.refresh({first: "", second: "queued", third: "queued"}, waiting=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2:] == ["      running  -rs 1  starting", "[0/3] 1 running, 2 queued; ? left"]


def test_running_ones_are_counted_first(runs):
    first, second, third = runs
    assert counts_of({first: "queued", second: "", third: "queued"}) == "1 running, 2 queued"
