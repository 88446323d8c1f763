"""What a run wrote is read back, and what a crash tore is not."""

import json
import os

import pytest

from tests.utils import fake_runs
from tests.utils.fake_runs import finished
from utils import report, results
from utils.run.records import find_runs, read_metrics, read_run, values_of


def test_metrics_skip_what_is_torn(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    whole = {"epoch": 1, "kl_weight": 1.0, "train": {"elbo": -1.5, "log_px_z": -1.0, "kl": 0.5}, "val": None}
    wrong = [{**whole, "train": []}, {**whole, "val": 7}, {**whole, "train": {"elbo": "x"}}, {**whole, "epoch": 1.5}]
    lines = "\n".join(map(json.dumps, [whole, *wrong]))
    path.write_bytes(lines.encode() + b'\n\xff\x00\n7\n{"epoch": 2}\n{"epoch": 3, "kl_')
    assert read_metrics(path) == [whole]


def test_metrics_have_a_path_and_those_that_a_run_lacks_are_left_out():
    summary = {"epochs": 3, "test": {"k": 5, "kappa": {"mean": [1, None]}, "kl": 10**400, "log_px": None, "flag": True}}
    found = values_of(summary)
    assert found == {"epochs": 3.0, "k": 5.0, "kappa.mean": (1.0, None), "kl": None}
    assert values_of({**summary, "test": {"log_px": None, "log_px_nonfinite": 2}})["log_px"] is None


def test_run_that_was_moved_aside_is_shown_only_if_it_is_named(tmp_path):
    finished(tmp_path, "-n vmf -z 2 -d digits")
    run = finished(tmp_path, "-n vmf -z 3 -d digits")
    aside = run.rename(run.with_name(f"{run.name}.old1"))
    records, left_out = find_runs([tmp_path])
    assert [record.config.z for record in records] == [2]
    assert left_out == [f"{aside}: was moved aside by --overwrite"]
    records, left_out = find_runs([tmp_path, aside, aside])
    assert [record.config.z for record in records] == [2, 3]


def test_run_without_its_first_summary_is_not_finished(tmp_path):
    run = finished(tmp_path, "-n vmf -z 2 -d digits")
    finished(tmp_path, "-n vmf -z 2 -d digits -lls 50")
    assert [record.k for record in read_run(run)] == [500, 50]
    (run / "summary.json").unlink()
    assert [record.status for record in read_run(run)] == ["not finished"]


def write(content):
    return lambda path: path.write_bytes(content)


def make_folder(path):
    path.unlink()
    path.mkdir()


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


def make_broken_link(path):
    path.unlink()
    path.symlink_to("nowhere")


def edit(**changes):
    """A summary with other content that is as whole as before."""
    return lambda path: fake_runs.edit(path, **changes)


DAMAGES = [
    write(b""), write(b"\xff\xfe"), write(b"[" * 100_000), write(b'{"a":' * 5_000), write(b"[1]"), write(b"7" * 5_000),
    make_folder, make_pipe, make_broken_link,
]  # fmt: skip
OF_SUMMARIES = [
    edit(test=[]), edit(test={}), edit(test={"k": "5"}), edit(status=7), edit(epochs="many"), edit(best_epoch=-1),
    edit(epochs=None), edit(test=None), edit(best_epoch=0),
]  # fmt: skip
HARMLESS = [
    edit(test={"k": 500, "elbo": 10**400, "log_px": -(10**400), "kl": [], "kappa": 3, "n": "x"}),
    edit(test={"k": 500, "elbo": "low", "log_px": {"a": {"b": None}}, "probe": [{"labels": "<b>", "mean": 1}]}),
    edit(space=["S"], warm_up="x", seconds=1e300),
]


@pytest.mark.parametrize("program", [results, report])
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(("config.json", damage) for damage in DAMAGES),
        *(("summary.json", damage) for damage in (*DAMAGES, *OF_SUMMARIES)),
    ],
)
def test_bad_run_is_named_in_one_line_and_the_rest_is_shown(tmp_path, capsys, program, name, damage):
    finished(tmp_path, "-n normal -z 2 -d digits")
    bad = finished(tmp_path, "-n vmf -z 3 -d digits")
    damage(bad / name)
    assert program.main([str(tmp_path)]) == 0
    done = capsys.readouterr()
    assert done.err.count("\n") == 1
    assert f"left out: {bad / name}: " in done.err
    shown = done.out if program is results else (tmp_path / "report.html").read_text()
    assert "R^2" in shown
    assert "S^3" not in shown


@pytest.mark.parametrize("program", [results, report])
@pytest.mark.parametrize("damage", HARMLESS)
def test_numbers_that_a_run_lacks_are_blank(tmp_path, capsys, program, damage):
    run = finished(tmp_path, "-n vmf -z 3 -d digits")
    damage(run / "summary.json")
    assert program.main([str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("program", [results, report])
def test_names_that_are_no_text_are_printed_with_escapes(tmp_path, capsys, program):
    folder = tmp_path / os.fsdecode(b"a\xff\x1b[31m\n<b>")
    finished(folder, "-n vmf -z 2 -d digits")
    (finished(folder, "-n vmf -z 3 -d digits") / "config.json").write_text("{")
    assert program.main([str(folder)]) == 0
    done = capsys.readouterr()
    assert done.err.count("\n") == 1
    assert r"a\udcff\x1b[31m\n<b>" in done.err
    assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize("program", [results, report])
def test_place_of_far_more_folders_than_runs_is_refused_in_one_line(tmp_path, capsys, monkeypatch, program):
    monkeypatch.setattr("utils.run.records._MOST_FOLDERS", 5)
    finished(tmp_path / "results", "-n normal -z 2 -d digits")
    for number in range(3):  # besides tmp_path, results and results/digits; those within the run do not count
        (tmp_path / f"other{number}").mkdir()
        assert program.main([str(tmp_path)]) == (2 if number == 2 else 0)
    printed = capsys.readouterr().err.splitlines()
    assert printed[-1].endswith(
        f"{tmp_path}: holds more than 5 folders besides runs; give the folder of the runs alone, such as results/"
    )
    assert not any("holds more" in line for line in printed[:-1])
