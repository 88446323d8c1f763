"""`python -m utils.results`, and the table of one run."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.utils.fake_runs import finished
from utils.results import main
from utils.tables.result import result_table

ROOT = Path(__file__).parents[2]


def test_folders_of_runs_and_of_folders_are_compared(tmp_path, capsys):
    runs = [finished(tmp_path, f"-n {name} -z 5 -d digits") for name in ("normal", "vmf")]
    assert main([str(run) for run in runs]) == 0
    apart = capsys.readouterr().out
    assert "R^5" in apart
    assert "S^5 in R^6" in apart
    assert main([f"{tmp_path}/"]) == 0
    assert capsys.readouterr().out == apart


def test_lists_may_be_written_with_blanks_or_commas(tmp_path, capsys):
    finished(tmp_path, "-n vmf -z 5 -d digits")
    assert main([str(tmp_path), "--metric", "elbo", "kl", "--by", "name,z"]) == 0
    blanks = capsys.readouterr().out
    assert blanks.split()[:5] == ["model", "z", "runs", "ELBO", "KL"]
    assert main([str(tmp_path), "--metric=elbo,kl", "--by", "name", "z"]) == 0
    assert capsys.readouterr().out == blanks


def test_each_run_has_a_row_with_its_folder(tmp_path, capsys):
    runs = [finished(tmp_path, f"-n vmf -z 5 -d digits -rs {seed}", elbo=-float(seed)) for seed in (1, 2)]
    assert main([str(tmp_path), "--each", "--metric", "elbo"]) == 0
    facts, head, _, *rows = capsys.readouterr().out.splitlines()
    assert facts == f"all: data digits, model vmf, space S^5 in R^6, in {tmp_path / 'digits'}, runs 1"
    assert head.split() == ["seed", "folder", "ELBO"]
    assert rows[0].split() == ["1", runs[0].name, "*", "-1.00"]
    assert rows[1].split() == ["2", runs[1].name, "-2.00"]


def test_models_can_be_columns(tmp_path, capsys):
    for name in ("normal", "vmf"):
        finished(tmp_path, f"-n {name} -z 5 -d digits")
    assert main([str(tmp_path), "--across", "name", "--metric", "elbo"]) == 0
    assert "ELBO normal  ELBO vmf" in capsys.readouterr().out
    assert main([str(tmp_path), "--across", "modle"]) == 2
    assert "--across: 'modle' is no column" in capsys.readouterr().err


def test_csv_is_nothing_but_csv(tmp_path, capsys):
    finished(tmp_path, "-n vmf -z 10 -d mnist")
    assert main([str(tmp_path), "--format", "csv"]) == 0
    done = capsys.readouterr()
    assert len(done.out.splitlines()) == 2
    assert "published" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        ([], 2, "no run folder"),
        (["nowhere"], 2, "nowhere"),
        (["RUNS", "--metrics", "elbo"], 2, "did you mean --metric"),
        (["RUNS", "--format", "html"], 2, "latex"),
        (["RUNS", "--against", "name=gumbel"], 2, "name=gumbel"),
    ],
)
def test_mistake_is_one_line(tmp_path, capsys, arguments, code, part):
    finished(tmp_path, "-n vmf -z 5 -d digits")
    assert main([str(tmp_path) if word == "RUNS" else word for word in arguments]) == code
    done = capsys.readouterr()
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert part in done.err


def test_closed_pipe_is_no_traceback(tmp_path):
    finished(tmp_path, "-n vmf -z 5 -d digits")
    command = f"{sys.executable} -m utils.results {tmp_path} | true"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""


def test_broken_run_is_named_and_the_rest_is_shown(tmp_path, capsys):
    run = finished(tmp_path, "-n vmf -z 5 -d digits")
    (run / "config.json").write_text('{"name": "vmf", "bogus": 1}')
    assert main([str(tmp_path)]) == 1
    assert f"left out: {run / 'config.json'}" in capsys.readouterr().err
    finished(tmp_path, "-n normal -z 5 -d digits")
    assert main([str(tmp_path)]) == 0
    done = capsys.readouterr()
    assert "R^5" in done.out
    assert done.err.count("\n") == 1


def test_comparing_needs_neither_torch_nor_numpy(tmp_path):
    finished(tmp_path, "-n vmf -z 5 -d digits")
    script = (
        f"import sys; from utils.results import main; assert main([{str(tmp_path)!r}]) == 0\n"
        "assert not {'torch', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_table_of_a_diverged_run_says_so():
    assert "diverged" in result_table({"test": None})


def test_table_names_the_factors_and_an_unfinished_warm_up():
    test = {
        "n": 10, "elbo": -2.0, "log_px_z": -1.0, "kl": 1.0, "log_px": -1.5, "log_px_se": 0.1, "k": 5, "ess": 2.0,
        "kl_factors": [0.7, 0.3], "kappa": {"mean": [8.0], "std": [0.5]}, "active_units": 3, "units": 5,
    }  # fmt: skip
    summary = {"epochs": 20, "best_epoch": 20, "test": test}
    plain = result_table(summary)
    assert "8.0 ± 0.5" in plain
    assert "warning" not in plain
    few = result_table({**summary, "test": test | {"ess": 1.24}})
    assert few.splitlines()[-1] == "warning: log p(x) rests on 1.2 of 5 samples; raise -lls"
    assert "0.70, 0.30" in plain
    assert "KL weight" not in plain
    told = result_table({**summary, "space": "S^2 x R^2", "warm_up": 0.2})
    assert "S^2: 0.70, R^2: 0.30" in told
    assert "KL weight at the best epoch %" in told
    assert next(line.split()[-1] for line in told.splitlines() if line.startswith("KL weight")) == "20"
    constant = {**summary, "warm_up": 0.2, "test": {**summary["test"], "kl_is_constant": True}}
    assert "KL weight" not in result_table(constant)
