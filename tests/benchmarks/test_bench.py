"""The command line of the benchmarks; what they measure is no matter of tests."""

import pytest

from benchmarks import revisions
from benchmarks.bench import BENCHMARKS, main


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


def test_revision_that_is_none_is_one_line(capsys):
    assert revisions.main(["no-such-revision"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("benchmarks.revisions: no-such-revision: ")
    assert err.count("\n") == 1


def test_help_names_what_can_be_measured(capsys):
    assert main(["--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert ", ".join(BENCHMARKS) in out
    assert "[]" not in out
