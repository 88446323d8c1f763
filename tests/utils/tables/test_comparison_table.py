"""What a comparison looks like: nothing is repeated, and it fits a terminal."""

import pytest

from tests.utils.fake_runs import MIXED, comparable, finished
from utils.config.flags import UsageError
from utils.tables.comparison import compare
from utils.tables.comparison_table import in_words, write
from utils.tables.layout import Bold, fitted
from utils.tables.result import result_table


def _compared(folder, **options):
    records, notes = comparable(folder)
    return compare(records, ["log_px", "kl"], notes=notes, **options)


@pytest.fixture
def mixed(tmp_path):
    for line in MIXED:
        own = {"accuracy": 0.5} if "--classifier" in line else {}
        own |= {"codes": {"usage": 0.25, "perplexity": 3.0}} if "gumbel" in line or "vq" in line else {}
        finished(tmp_path, f"-d digits -e 7 {line}", **own)
    return compare(comparable(tmp_path)[0])


@pytest.mark.parametrize("width", [80, 120, 160])
def test_table_of_27_mixed_runs_fits(mixed, width):
    text = fitted([in_words(mixed), in_words(mixed, folded=True)], width)
    assert max(map(len, text.splitlines())) <= width
    assert "S^3 x64" in text
    for part in ("--radius 2", "-cvm full", "-lf mse", "--temperature_epochs"):
        assert part in text


def test_what_rows_have_in_common_is_said_once_and_what_none_has_not_at_all(tmp_path):
    for seed in (1, 2):
        for rate in (1, 2):
            finished(tmp_path, f"-n vmf -z 2 -d digits -hd 4 --kappa 9 -lr {rate} -rs {seed}")
    finished(tmp_path, "-n normal -z 2 -d digits -hd 4")
    finished(tmp_path, "-n normal -z 2 -d digits -hd 4 -rs 2")
    table = in_words(compare(comparable(tmp_path)[0]))
    assert table.facts == "data digits, runs 2, -hd 4, --kappa 9 (vmf)"
    assert table.rows[0] == ["model", "space", "lr", "log p(x)", "ELBO", "reconstruction", "KL"]
    assert len(table.rows) == 4


def test_single_row_says_what_it_is(tmp_path):
    finished(tmp_path, "-n vmf -z 2 -d digits")
    table = in_words(compare(comparable(tmp_path)[0]))
    assert table.rows[1][:4] == ["digits", "vmf", "S^2 in R^3", "1"]


def test_table_without_marks_says_what_a_mark_and_a_test_would_need(tmp_path):
    for log_px, line in ((-3.0, "normal"), (-3.25, "normal -rs 2"), (-3.25, "vmf")):
        finished(tmp_path, f"-n {line} -z 2 -d digits", log_px=log_px, kl=-log_px)
    untested = in_words(_compared(tmp_path, against=["name=normal"]))
    assert untested.notes[-2:] == [
        "nothing is marked: nothing is better than name=normal, p < 0.05",
        "no test: Welch's t-test needs two seeds of each, and values that vary",
    ]
    finished(tmp_path, "-n vmf -z 2 -d digits -rs 2", log_px=-3.5, kl=7.0)
    tested = in_words(_compared(tmp_path, against=["name=normal"]))
    assert tested.notes[-1] == "nothing is marked: nothing is better than name=normal, p < 0.05"
    assert "no test" not in str(tested.rows)


def test_best_is_marked_among_what_can_be_compared(tmp_path):
    finished(tmp_path, "-n vmf -z 2 -d digits", log_px=-3.0, kl=2.0)
    finished(tmp_path, "-n normal -z 2 -d digits", log_px=-4.0, kl=1.0)
    finished(tmp_path, "-n vmf -z 2 -d digits -lf mse", log_px=-1.0)
    finished(tmp_path, "-n normal -z 2 -d mnist", log_px=-0.5)
    table = in_words(_compared(tmp_path))
    assert [cell for row in table.rows for cell in row if isinstance(cell, Bold)] == ["-3.00"]
    assert "marked: the best with the same data and likelihood" in table.notes


@pytest.fixture
def two_dimensions(tmp_path):
    for z in (2, 10):
        finished(tmp_path, f"-n vmf -z {z} -d digits", log_px=-z)
        finished(tmp_path, f"-n normal -z {z} -d digits -cvm full", log_px=-5.0)
    return tmp_path


BY = ("dataset", "name", "space", "covariance_matrix", "dim")


def test_models_stand_side_by_side_as_in_papers(two_dimensions):
    table = in_words(_compared(two_dimensions, by=BY), "name")
    assert table.over == ["", "log p(x)", "log p(x)", "KL", "KL"]
    assert table.rows == [["d", "normal", "vmf", "normal", "vmf"], ["2", "-5.00", "-2.00", "0.50", "0.50"],
                          ["10", "-5.00", "-10.00", "0.50", "0.50"]]  # fmt: skip
    assert [cell for row in table.rows for cell in row if isinstance(cell, Bold)] == ["-2.00", "-5.00"]
    latex = write(_compared(two_dimensions, by=BY), "latex", "name").splitlines()
    assert r" & \multicolumn{2}{c}{$\log p(x)$} & \multicolumn{2}{c}{KL} \\" in latex
    assert r"2 & $-$5.00 & \textbf{$-$2.00} & 0.50 & 0.50 \\" in latex
    text = write(_compared(two_dimensions, by=BY), "text", "name")
    assert "log p(x) normal" in text


def test_rows_that_would_share_a_cell_are_named(two_dimensions):
    finished(two_dimensions, "-n normal -z 2 -d digits -cvm single")
    with pytest.raises(UsageError, match="two rows of normal would share a cell; they differ in covariance_matrix"):
        in_words(_compared(two_dimensions, by=BY), "name")
    with pytest.raises(UsageError, match="'nme' is no column of this table"):
        in_words(_compared(two_dimensions), "nme")


def test_factors_are_summarized_where_there_are_many():
    test = {"n": 10, "k": 5, "kl": 3.0, "kl_factors": [0.5, 1.0, 1.5] * 20 + [0.25]}
    text = result_table({"epochs": 1, "best_epoch": 1, "space": "S^3 x60 x R^2", "test": test})
    line = next(line for line in text.splitlines() if line.startswith("KL per factor"))
    assert line.split("  ")[-1].strip() == "S^3 x60: 1.00 (0.50 to 1.50), R^2: 0.25"
    assert max(map(len, text.splitlines())) <= 80
