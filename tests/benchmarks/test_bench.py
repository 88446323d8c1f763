"""The command line of the benchmarks; what they measure is no matter of tests."""

import pytest

from benchmarks import broken_samples, card, code_confusions, revisions
from benchmarks.bench import BENCHMARKS, HIGHEST, LARGE, in_process, main
from tests.utils.fake_runs import finished
from utils.config.flags import UsageError


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["nonsense"], ["'nonsense' is not one of", *BENCHMARKS]),
        (["traning"], ["did you mean training?"]),
        (["--threads", "x"], ["--threads: 'x' is not a whole number"]),
        (["--thread", "1"], ["--thread: unknown flag", "did you mean --threads?"]),
    ],
)
def test_mistake_is_one_line(words, parts, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


def test_mistake_in_another_process_is_told_without_its_traceback():
    with pytest.raises(UsageError, match=r"^-n/--name: 'x' is not one of "):
        in_process("from utils.config.command_line import parse_run\nparse_run(['-n', 'x'])")


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["bce", "logistic"])
def test_memory_is_measured(likelihood):
    before, highest = map(int, in_process(HIGHEST + LARGE, "8", likelihood).split())
    assert 0 < before <= highest


@pytest.mark.slow
def test_epochs_on_a_card_can_be_rehearsed(monkeypatch):
    monkeypatch.setattr(card, "STEPS", 2)
    card.epoch(*card.prepared("normal", "cpu"))()


@pytest.mark.parametrize(
    ("program", "words", "line"),
    [
        (revisions, "no-such-revision", "benchmarks.revisions: no-such-revision: "),
        (code_confusions, "", "benchmarks.code_confusions: no run is named; "),
        (code_confusions, "nowhere", "benchmarks.code_confusions: nowhere: "),
        (broken_samples, "-d freyfaces", "benchmarks.broken_samples: -d/--dataset: "),
        (broken_samples, "-d digits -n 0", "benchmarks.broken_samples: -n: 0 is out of range"),
    ],
)
def test_mistake_at_another_program_is_one_line(capsys, program, words, line):
    assert program.main(words.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_run_without_scores_is_told_how_to_get_them(tmp_path, capsys):
    run = finished(tmp_path, "-n vq -d digits")
    assert code_confusions.main([str(run)]) == 2
    assert f"--from {run} --score" in capsys.readouterr().err


def test_help_names_what_can_be_measured(capsys):
    assert main(["--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert ", ".join(BENCHMARKS) in out
    assert "[]" not in out
