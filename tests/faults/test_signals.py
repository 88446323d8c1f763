"""SIGTERM and SIGINT: out within five seconds, everything kept, and the command that goes on."""

import ast
import importlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections import deque
from itertools import islice

import pytest

from tests.faults import processes
from tests.faults.comparing import figures, only_run, outcome
from tests.faults.conftest import LINE, PHASES, words
from tests.test_floors import ROOT
from tests.utils.fake_runs import finished
from utils.run.interrupts import Interrupted, StopRequest

SECONDS = 5


@pytest.mark.parametrize(
    ("phase", "signum"),
    [
        ("step", signal.SIGTERM),
        ("validation", signal.SIGINT),
        ("checkpoint write", signal.SIGTERM),
        ("log p(x)", signal.SIGINT),
        pytest.param("drawing", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_signal_stops_the_run_and_repeating_goes_on(tmp_path, request, phase, signum):
    draws = phase == "drawing"
    undisturbed = request.getfixturevalue("undisturbed_with_figures" if draws else "undisturbed")
    (moment,) = undisturbed.moments(phase, 1, seed=2)
    note = tmp_path / "signalled_at"
    stop = (processes.signal_at, PHASES[phase], moment, signum, note)
    stopped = processes.run(words(tmp_path), tmp_path, stop, draws=draws)
    assert stopped.returncode == processes.SIGNALS[signum], stopped.stderr
    assert stopped.at - float(note.read_text()) < SECONDS
    assert stopped.stderr.count("\n") == 1
    assert f"stopped by {signum.name}; to resume: python run_models.py -ld" in stopped.stderr
    assert LINE in stopped.stderr
    run = only_run(tmp_path / "results")
    assert not list(run.rglob("*.tmp"))
    assert not (run / "held_by.txt").exists()
    assert processes.run(words(tmp_path), tmp_path, draws=draws).returncode == 0
    assert outcome(run) == undisturbed.outcome
    assert figures(run) == figures(undisturbed.folder)


def test_step_that_is_done_is_not_done_again(tmp_path):
    # Stopped after 7 steps of 5 in an epoch: the second epoch goes on with its third step.
    stopped = processes.run(words(tmp_path), tmp_path, (processes.signal_at, "objective", 7, signal.SIGTERM))
    assert stopped.returncode == 143
    counts = tmp_path / "counts"
    assert processes.run(words(tmp_path), tmp_path, (processes.count_calls, ["objective"], counts)).returncode == 0
    assert counts.read_text() == '{"objective": 13}'


def test_signal_while_the_data_are_loaded_leaves_at_once_and_creates_nothing(tmp_path):
    stopped = processes.run(words(tmp_path), tmp_path, (processes.signal_at, "load_digits", 1, signal.SIGINT))
    assert stopped.returncode == 130
    assert stopped.stderr.count("\n") == 1
    assert "stopped by SIGINT; to start again: python run_models.py -ld" in stopped.stderr
    assert not (tmp_path / "results").exists()


def test_interrupted_log_px_goes_on_where_it_stopped(tmp_path, undisturbed):
    blocks = undisturbed.calls["log_weights"] // 3
    stopped = processes.run(words(tmp_path), tmp_path, (processes.signal_at, "log_weights", blocks + 1, signal.SIGTERM))
    assert stopped.returncode == 143
    run = only_run(tmp_path / "results")
    partial = run / "checkpoints" / "log_px.pt"
    assert partial.exists()
    other_k = processes.run(words(tmp_path, f"{LINE} -lls 50"), tmp_path)
    assert other_k.returncode == 0
    shutil.rmtree(run)

    stopped = processes.run(words(tmp_path), tmp_path, (processes.signal_at, "log_weights", blocks + 1, signal.SIGTERM))
    counts = tmp_path / "counts"
    assert processes.run(words(tmp_path), tmp_path, (processes.count_calls, ["log_weights"], counts)).returncode == 0
    assert counts.read_text() == f'{{"log_weights": {2 * blocks}}}'
    assert outcome(run) == undisturbed.outcome
    assert not partial.exists()


def wait_for(path, seconds=60):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.01)


@pytest.mark.parametrize("signum", list(processes.SIGNALS))
def test_step_that_never_ends_is_left_when_patience_is_over(tmp_path, signum):
    process = processes.Process(processes.busy_until_killed, (tmp_path / "ready", 0.3), tmp_path)
    wait_for(tmp_path / "ready")
    process.send(signum)
    assert process.wait(SECONDS).returncode == processes.SIGNALS[signum]


def test_second_signal_ends_the_process_at_once(tmp_path):
    process = processes.Process(processes.busy_until_killed, (tmp_path / "ready", 60), tmp_path)
    wait_for(tmp_path / "ready")
    process.send(signal.SIGINT)
    time.sleep(0.2)
    assert process.process.is_alive()
    process.send(signal.SIGTERM)
    assert process.wait(SECONDS).returncode == -signal.SIGTERM


def test_signal_is_raised_again_where_a_callback_swallows_it(capsys):
    class Thing:
        pass

    def wait(reference):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)

    thing = Thing()
    reference = weakref.ref(thing, wait)
    before = (sys.unraisablehook, signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGTERM))

    def drop_and_go_on():
        nonlocal thing
        with StopRequest():
            del thing
            time.sleep(SECONDS)

    with pytest.raises(Interrupted):
        drop_and_go_on()
    assert reference() is None
    assert capsys.readouterr().err == ""
    assert (sys.unraisablehook, signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGTERM)) == before


def test_import_is_finished_before_a_signal_is_raised(tmp_path, monkeypatch):
    # Loading torch, an exception in its C++ code aborts the process.
    lines = "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(0.3)\nfinished = True\n"
    (tmp_path / "module_that_is_signalled.py").write_text(lines)
    monkeypatch.syspath_prepend(tmp_path)

    def import_and_go_on():
        with StopRequest():
            importlib.import_module("module_that_is_signalled")
            time.sleep(SECONDS)

    started = time.monotonic()
    with pytest.raises(Interrupted):
        import_and_go_on()
    assert sys.modules.pop("module_that_is_signalled").finished
    assert time.monotonic() - started < SECONDS


def test_programs_see_to_ctrl_c_before_imports_that_take_time():
    places = ("*.py", "benchmarks/*.py", "docs/*.py", "utils/**/*.py")
    texts = {path: path.read_text() for place in places for path in ROOT.glob(place)}
    programs = {path: text for path, text in texts.items() if re.search(r"(return |exit\()guarded\(", text)}
    assert len(programs) == 12
    for path, text in programs.items():
        before, call, _ = text.partition("\n    end_on_ctrl_c()\n")
        assert call, path
        imports = [node for node in ast.parse(before).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {getattr(node, "module", None) or node.names[0].name for node in imports}
        assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names, path


@pytest.mark.slow
def test_ctrl_c_while_a_program_starts_is_at_most_one_line(tmp_path):
    finished(tmp_path, "-n normal -z 2 -d digits")
    programs = (
        ["run_models.py", *words(tmp_path), "-v", "0", "-e", "500"],
        ["-m", "utils.sweep", "--dry_run", "--", *words(tmp_path), "-e", "500"],
        ["-m", "utils.results", str(tmp_path)],
        ["-m", "utils.report", str(tmp_path)],
    )
    generator, ends = random.Random(0), []
    for number in range(12):
        # Python says what it imports: a moment is a number of imports, however slow the machine is.
        command = [sys.executable, "-X", "importtime", *programs[number % len(programs)]]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
            said = iter(started.stderr.readline, "")
            assert any("utils.run.interrupts" in text for text in said)
            deque(islice(said, generator.randrange(1500 if "run_models.py" in command else 300)), 0)
            started.send_signal(signal.SIGINT)
            said = [text for text in said if not text.startswith("import time:")]
        ends.append(started.returncode)
        assert ends[-1] in (0, -signal.SIGINT, 130), said
        assert len(said) <= 1, said
    assert {-signal.SIGINT, 130} & set(ends)
