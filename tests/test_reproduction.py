"""docs/reproduction.md is what its rows give, and rows hold all that tables say of a run."""

import shutil

import pytest

from docs import make_reproduction as reproduction
from tests.utils.fake_runs import comparable, edit, finished
from utils.config.flags import UsageError
from utils.tables.comparison import compare


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    probe = {"knn": [{"labels": 100, "mean": 67.5, "std": 1.0}]}
    for seed in (1, 2):
        metrics = {"log_px": -94.0 - seed, "kappa": {"mean": [200.0]}}
        run = finished(folder, f"-n vmf -z 40 -bs 64 -rs {seed} -e 500", **metrics)
        edit(run / "summary.json", probe=probe)  # where a run writes it: beside the test metrics
    finished(folder, "-n normal -z 20 -bs 64 -e 500 --lr_plateau 10", log_px=-88.0)
    finished(folder, "-zd s10,s10,e3 -d static_mnist -b 2", kl_factors=[1.0, 2.0, 3.0])
    finished(folder, "-n vmf -z 5", diverged=True)
    return folder


def test_page_is_what_the_rows_give():
    assert reproduction.page(reproduction.ROWS) == reproduction.PAGE.read_text(), "run python docs/make_reproduction.py"


def test_rows_hold_all_that_tables_say_of_runs(runs, tmp_path):
    place = tmp_path / "rows"
    reproduction.add([runs], place)
    assert sorted(path.name for path in place.iterdir()) == ["mnist.csv", "static_mnist.csv"]
    read = [reproduction.record_of(row) for path in sorted(place.iterdir()) for row in reproduction.read_rows(path)]
    originals, _ = comparable(runs)
    values = {record.identity.hash: dict(record.values) for record in read}
    for record in originals:
        told = {name: value for name, value in record.values.items() if not name.startswith("run.")}
        assert values[record.identity.hash] == told
    assert sorted(record.diverged for record in read) == [False] * 4 + [True]
    assert compare(read, by=("z", "name")).rows == compare(originals, by=("z", "name")).rows


def test_rows_of_runs_that_are_elsewhere_stay(runs, tmp_path):
    place = tmp_path / "rows"
    reproduction.add([runs], place)
    before = (place / "mnist.csv").read_text()
    reproduction.add([runs], place)
    assert (place / "mnist.csv").read_text() == before
    shutil.rmtree(runs)
    finished(runs, "-n vmf -z 40 -bs 64 -rs 1 -e 500", log_px=-90.0)
    finished(runs, "-n vmf -z 40 -bs 64 -rs 3 -e 500", extra=1.5)
    reproduction.add([runs], place)
    rows = {row["seed"]: row for row in reproduction.read_rows(place / "mnist.csv") if "-z 40" in row["flags"]}
    assert [rows[seed]["log_px"] for seed in "123"] == ["-90.0", "-96.0", "-1.0"]
    assert (rows["3"]["extra"], rows["2"]["extra"]) == ("1.5", "")


def test_row_whose_flags_were_edited_is_refused(runs, tmp_path):
    reproduction.add([runs], tmp_path / "rows")
    row = reproduction.read_rows(tmp_path / "rows" / "mnist.csv")[0]
    with pytest.raises(UsageError, match="which its line names"):
        reproduction.record_of({**row, "flags": row["flags"] + " -lr 0.1"})


def test_page_shows_each_kind_of_run_in_its_place_and_counts_hours(runs, tmp_path):
    place = tmp_path / "rows"
    assert reproduction.page(tmp_path).count(reproduction.NONE_YET) == 4
    reproduction.add([runs], place)
    page = reproduction.page(place)
    assert "-95.50 ± 0.71" in page
    assert "not reproduced" in page
    assert "5 results" in page
    assert reproduction.NONE_YET not in page


def test_figure_has_our_points_beside_the_published_ones(runs, tmp_path):
    reproduction.add([runs], tmp_path / "rows")
    log_px, elbo, gap = reproduction.figure(tmp_path / "rows").axes
    words = [text.get_text() for text in log_px.get_legend().get_texts()]
    assert words == ["Normal, published", "vMF, published", "vMF, ours"]
    assert [panel.get_ylabel() for panel in (log_px, elbo, gap)] == ["log p(x)", "ELBO", "log p(x) - ELBO"]
    mnist = comparable(runs / "mnist")[0]
    assert reproduction.our_points(mnist, "gap") == [(20, -86.0, 0.0), (40, -93.5, pytest.approx(0.5**0.5))]
