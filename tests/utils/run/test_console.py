"""What a run says where its output is not a terminal."""

from utils.config.command_line import parse_run
from utils.run import console


def test_long_estimate_says_now_and_then_how_far_it_is(monkeypatch, capsys):
    clock = iter([0.0, 0.0, 10.0, 70.0, 70.0, 80.0])
    monkeypatch.setattr(console.time, "perf_counter", lambda: next(clock))
    told = console.Console(parse_run([]))
    told.say("begun")
    for done in (100, 200, 300):
        told.counting("log p(x)", done, 1000)
    assert capsys.readouterr().out.splitlines() == ["begun", "log p(x): 200 of 1000"]


def test_quiet_run_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr(console, "PATIENCE", 0.0)
    console.Console(parse_run(["-v", "0"])).counting("log p(x)", 100, 1000)
    assert capsys.readouterr().out == ""
