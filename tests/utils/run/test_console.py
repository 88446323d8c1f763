"""What a run says, on a terminal and elsewhere."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios

import pytest

from utils.config.command_line import parse_run
from utils.run import console
from utils.run.checkpoints import Progress


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


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_bar_has_epoch_elbo_and_time_left_at_any_width(monkeypatch, columns):
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    monkeypatch.setenv("COLUMNS", str(columns))
    seconds = iter([0.0, 0.0, 38.5])
    monkeypatch.setattr(console.time, "perf_counter", lambda: next(seconds))
    line = {"epoch": 1, "kl_weight": 1.0, "train": {"elbo": -101.25}, "val": {"elbo": -98.32}}
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(console.sys, "stdout", terminal)
        told = console.Console(parse_run(["-e", "200"]))
        told.begin(0)
        told.epoch(line, Progress(epoch=1, best_elbo=-98.32, best_epoch=1))
        told.end()
    written = b""
    with contextlib.suppress(OSError):  # how the end of a terminal that is closed is told
        while part := os.read(reader, 10_000):
            written += part
    os.close(reader)
    last = [text for text in re.split(r"[\r\n]+", written.decode()) if "val" in text][-1]
    assert len(last) <= columns
    for part in ("1/200", "val -98.32", "2 h 07 min left"):
        assert part in last
    assert ("best -98.32 at 1" in last) == (columns >= 80)
    assert ("train -101.25" in last) == (columns >= 120)
