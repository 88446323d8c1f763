"""Runs side by side: what is grouped, averaged, tested and held against the literature."""

import dataclasses
import math

import pytest
import scipy.stats

from tests.utils.fake_runs import comparable, edit, finished
from utils.config.flags import UsageError
from utils.run.identity import Identity
from utils.run.records import read_run
from utils.tables.columns import default_columns
from utils.tables.comparison import compare, welch
from utils.tables.comparison_table import in_words
from utils.tables.published import PUBLISHED, published_for

NORMAL, VMF = [-1.0, -1.2, -1.1], [-0.5, -0.6, -0.4]


@pytest.fixture
def two_models(tmp_path):
    for seed, (normal, vmf) in enumerate(zip(NORMAL, VMF), 1):
        finished(tmp_path, f"-n normal -z 5 -d digits -rs {seed}", log_px=normal)
        finished(tmp_path, f"-n vmf -z 5 -d digits -rs {seed}", log_px=vmf)
    return tmp_path


def test_mean_and_deviation_are_over_seeds_and_the_test_is_welchs(two_models):
    records, notes = comparable(two_models)
    assert notes == []
    found = compare(records, ["log_px", "kl"], against=["name=normal"])
    assert found.by == ("dataset", "name", "space")
    assert [row.key for row in found.rows] == [("digits", "normal", "R^5"), ("digits", "vmf", "S^5 in R^6")]
    normal, vmf = (row.cells["log_px"] for row in found.rows)
    assert (normal.count, vmf.count) == (3, 3)
    assert normal.mean == pytest.approx(-1.1)
    assert normal.std == pytest.approx(0.1)  # of a sample: divided by n - 1
    assert normal.difference is None
    expected = scipy.stats.ttest_ind(VMF, NORMAL, equal_var=False)
    assert vmf.difference == pytest.approx(0.6)
    assert vmf.p == pytest.approx(expected.pvalue)
    assert vmf.better
    # The KL is the same everywhere, and neither more nor less of it is better.
    assert found.rows[1].cells["kl"].p is None
    assert not found.rows[1].cells["kl"].better


def test_worse_than_the_baseline_is_not_marked(two_models):
    records, _ = comparable(two_models)
    found = compare(records, ["log_px"], against=["name=vmf"])
    assert found.rows[0].cells["log_px"].difference == pytest.approx(-0.6)
    assert not found.rows[0].cells["log_px"].better


@pytest.mark.parametrize(("values", "others"), [([1.0], [2.0, 3.0]), ([1.0, 1.0], [2.0, 2.0]), ([], [])])
def test_no_verdict_where_there_is_none(values, others):
    assert welch(values, others) is None


def test_settings_that_differ_are_columns_and_the_seed_is_not(tmp_path):
    for line in ("-rs 1", "-rs 2", "-rs 1 -b 2", "-rs 1 -e 300 -klw 7", "-rs 1 -lls 50"):
        finished(tmp_path, f"-n vmf -z 2 -d digits {line}")
    records, _ = comparable(tmp_path)
    assert default_columns(records) == ("dataset", "name", "space", "beta", "kl_warmup", "epochs", "k")
    found = compare(records, ["log_px"])
    assert [row.runs for row in found.rows] == [1, 1, 2, 1]


def test_setting_of_another_kind_of_model_is_left_blank(tmp_path):
    for line in ("-n normal -z 2", "-n gumbel", "-n gumbel --temperature_epochs 20"):
        finished(tmp_path, f"{line} -d digits")
    found = compare(comparable(tmp_path)[0], ["elbo"])
    assert found.by == ("dataset", "name", "space", "temperature_epochs")
    assert [row.key[-1] for row in found.rows] == [20, 50, None]


def test_hidden_differences_are_told(tmp_path):
    for line in ("-b 1", "-b 2", "-b 2 -rs 2 -lls 50"):
        finished(tmp_path, f"-n vmf -z 2 -d digits {line}")
    records, _ = comparable(tmp_path)
    found = compare(records, ["log_px"], by=["name"])
    assert [row.runs for row in found.rows] == [3]
    assert "warning: a row averages over different beta: 1, 2" in found.notes
    assert "warning: a row averages over different k: 50, 500" in found.notes


def test_numbers_are_in_order_also_within_words(tmp_path):
    for z in (2, 40, 5, 10):
        finished(tmp_path, f"-n normal -z {z} -d digits")
    records, _ = comparable(tmp_path)
    spaces = [row.key[2] for row in compare(records, ["log_px"]).rows]
    assert spaces == ["R^2", "R^5", "R^10", "R^40"]
    assert [row.key[0] for row in compare(records, ["log_px"], by=["z"]).rows] == [2, 5, 10, 40]


def test_what_went_wrong_is_never_dropped_from_sight(tmp_path):
    finished(tmp_path, "-n normal -z 2 -d digits -rs 1", log_px=None, log_px_nonfinite=4)
    finished(tmp_path, "-n normal -z 2 -d digits -rs 2")
    finished(tmp_path, "-n vmf -z 2 -d digits -rs 1", diverged=True)
    finished(tmp_path, "-n vmf -z 2 -d digits -rs 2")
    records, _ = comparable(tmp_path)
    normal, vmf = compare(records, ["log_px"]).rows
    assert normal.cells["log_px"].mean is None
    assert normal.cells["log_px"].not_finite == 1
    assert (vmf.runs, vmf.diverged, vmf.cells["log_px"].count) == (2, 1, 1)


def test_model_without_a_density_has_no_log_px(tmp_path):
    finished(tmp_path, "-n vmf -z 2 -d digits", log_px=None)
    records, _ = comparable(tmp_path)
    found = compare(records)
    assert found.metrics == ("elbo", "log_px_z", "kl")
    assert found.rows[0].cells["elbo"].mean == -2.0
    finished(tmp_path, "-n normal -z 2 -d digits")
    records, _ = comparable(tmp_path)
    vmf = compare(records).rows[1].cells["log_px"]
    assert (vmf.mean, vmf.count, vmf.not_finite) == (None, 0, 0)


def test_nested_metrics_have_a_path(tmp_path):
    knn = [{"labels": 100, "mean": 77.0, "std": 1.0}, {"labels": 600, "mean": 85.0, "std": 0.5}]
    folder = finished(tmp_path, "-n vmf -z 2 -d mnist", kappa={"mean": [10.0, 30.0]}, probe={"knn": knn})
    (record,) = read_run(folder)
    assert record.values["probe.knn.600.mean"] == 85.0
    found = compare([record])
    assert found.metrics == ("log_px", "elbo", "log_px_z", "kl", "probe.knn.100.mean", "probe.knn.600.mean")
    assert found.rows[0].cells["probe.knn.100.mean"].published == 77.9
    assert record.values["kappa.mean"] == (10.0, 30.0)
    assert record.values["seconds"] == 1.5


def test_repeated_and_unfinished_runs_are_counted_once_and_not_at_all(tmp_path):
    finished(tmp_path / "a", "-n vmf -z 2 -d digits")
    finished(tmp_path / "b", "-n vmf -z 2 -d digits")
    (finished(tmp_path / "a", "-n vmf -z 3 -d digits") / "summary.json").unlink()
    records, notes = comparable(tmp_path / "a", tmp_path / "b")
    assert len(records) == 1
    assert notes == [
        "1 run is not finished and left out",
        "1 run is there twice (same settings and seed) and counted once",
    ]
    assert len(comparable(tmp_path / "a", tmp_path / "a")[0]) == 1


def test_run_with_several_k_is_one_run(two_models):
    for seed, (normal, vmf) in enumerate(zip(NORMAL, VMF), 1):
        finished(two_models, f"-n normal -z 5 -d digits -rs {seed} -lls 900", log_px=normal + 0.1)
        finished(two_models, f"-n vmf -z 5 -d digits -rs {seed} -lls 900", log_px=vmf + 0.2)
    finished(two_models, "-n vmf -z 5 -d digits -rs 1 -lls 2000", log_px=5.0)
    records, _ = comparable(two_models)
    assert [row.runs for row in compare(records, ["log_px"]).rows] == [3, 3, 3, 3, 1]
    found = compare(records, ["log_px"], by=["name"], against=["name=normal"])
    assert [row.runs for row in found.rows] == [3, 3]
    assert found.rows[1].cells["log_px"].mean == pytest.approx(-0.3)
    assert "6 runs are evaluated with several K and counted once, with K = 900; --by k shows all" in found.notes


def test_log_px_of_different_k_is_not_held_against_each_other(tmp_path):
    finished(tmp_path, "-n normal -z 5 -d digits", log_px=-1.0)
    finished(tmp_path, "-n vmf -z 5 -d digits -lls 900", log_px=-0.5)
    found = compare(comparable(tmp_path)[0], ["log_px", "elbo"], by=["name"], against=["name=normal"])
    assert found.rows[1].cells["log_px"].difference is None
    assert found.rows[1].cells["elbo"].difference == 0


def test_run_that_ended_in_its_warm_up_is_pointed_out(tmp_path):
    folder = finished(tmp_path, "-n vmf -z 5 -d digits")
    edit(folder / "summary.json", warm_up=0.0)
    found = compare(comparable(tmp_path)[0])
    assert "warning: the best epoch of 1 of 1 runs lies within the KL warm-up" in found.notes


def test_other_space_can_be_the_baseline(tmp_path):
    finished(tmp_path, "-n vmf -z 4 -d digits", log_px=-1.0)
    finished(tmp_path, "-zd 2,2 -d digits", log_px=-0.75)
    records, _ = comparable(tmp_path)
    product, _ = compare(records, ["log_px"], against=["space=S^4 in R^5"]).rows
    assert product.cells["log_px"].difference == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"metrics": ["log_pz"]}, ["--metric", "log_pz", "did you mean log_px"]),
        ({"by": ["nme"]}, ["--by", "nme", "did you mean name"]),
        ({"against": ["normal"]}, ["--against", "COLUMN=VALUE", "name"]),
        ({"against": ["name=gumbel"]}, ["--against", "name=gumbel", "normal, vmf"]),
        ({"against": ["beta=1"]}, ["--against", "beta=1", "space"]),
    ],
)
def test_mistakes_are_named(two_models, options, parts):
    records, _ = comparable(two_models)
    with pytest.raises(UsageError) as caught:
        compare(records, **{"metrics": ["log_px"], **options})
    for part in parts:
        assert part in str(caught.value)


def test_published_numbers_stand_beside_ours_with_the_differences_of_protocol(tmp_path):
    exact = "-klw 100 -e 500 -bs 64 -lls 500 -d mnist"
    finished(tmp_path, f"-n vmf -z 10 {exact} --kappa_start 1.7", log_px=-94.0)
    records, _ = comparable(tmp_path)
    found = compare(records, ["log_px", "elbo", "kl"])
    cells = found.rows[0].cells
    assert (cells["log_px"].published, cells["log_px"].published_std) == (-93.16, 0.31)
    assert (cells["elbo"].published, cells["elbo"].published_std) == (-97.7, None)
    assert not any("differs" in note for note in found.notes)
    assert any("Table 1, mean of 10 runs" in note for note in found.notes)
    finished(tmp_path, f"-n normal -z 10 {exact} -bs 100 -e 60 -lls 5 -bnz -klf 3")
    finished(tmp_path, f"-n vmf -z 5 {exact}")
    records, _ = comparable(tmp_path)
    (warning,) = (note for note in compare(records, ["log_px"]).notes if "differs" in note)
    for part in (
        "K 5 (published 500)",
        "batch size 100 (published 64)",
        "epochs at most 60 (published 500)",
        "binarization once (published in every batch)",
        "start of the concentration dim (published 1.69)",
        "epochs without KL 3 (published 0)",
    ):
        assert part in warning
    assert "KL warm-up" not in warning


@pytest.mark.parametrize(
    ("metric", "ours", "words"),
    [
        ("log_px", [-93.0], "one run: reproduced"),
        ("log_px", [-94.39], "one run: reproduced"),  # 1.23 <= 2 (0.31 + 0.31)
        ("log_px", [-94.41], "one run: not reproduced"),
        ("log_px", [-91.91], "one run: better"),
        ("log_px", [-93.9, -94.1], "not reproduced"),  # 0.84 > 2 (0.31 + 0.1414 / sqrt(2)) = 0.82
        ("log_px", [-93.8, -94.2], "reproduced"),  # s.d. 0.2828: the bar is 1.02
        ("log_px_z", [-74.0], "one run: not reproduced"),  # more is not better, for the KL pays for it
        ("kl", [20.30], "one run: not reproduced"),
        ("kl", [20.36], "one run: reproduced"),
        ("elbo", [-97.0], ""),  # its published spread is not known
    ],
)
def test_published_mean_is_reproduced_within_the_spread_of_both(tmp_path, metric, ours, words):
    for seed, value in enumerate(ours):
        finished(tmp_path, f"-n vmf -z 10 -d mnist -rs {seed}", **{metric: value})
    found = compare(comparable(tmp_path)[0], [metric])
    assert found.rows[0].cells[metric].verdict == words
    assert any("2 (published s.d. + our s.d. / sqrt(runs))" in note for note in found.notes) == bool(words)


def test_verdict_stands_beside_the_published_number(tmp_path):
    finished(tmp_path, "-n vmf -z 10 -d mnist", log_px=-93.0, elbo=-97.0)
    table = in_words(compare(comparable(tmp_path)[0], ["log_px", "elbo"]))
    assert "-93.16 ± 0.31 (+0.16, one run: reproduced)" in table.rows[1]
    assert "-97.70 (+0.70)" in table.rows[1]


def test_runs_of_different_formats_are_never_averaged(tmp_path):
    for seed in (1, 2):
        finished(tmp_path, f"-n vmf -z 10 -d mnist -rs {seed}", elbo=-float(seed))
    new, old = comparable(tmp_path)[0]
    old = dataclasses.replace(old, identity=Identity(dataclasses.replace(old.config, format=1)))
    for by in ((), ("name",)):
        found = compare([new, old], ["elbo"], by)
        assert sorted(row.cells["elbo"].mean for row in found.rows) == [-2.0, -1.0]
        assert any("1 of 2 runs made by version 1.0" in note for note in found.notes)


def test_published_numbers_add_up():
    for entry in PUBLISHED:
        if "kl" in entry.values:  # two decimals each: the rounding of three figures
            gap = entry.values["elbo"] - (entry.values["log_px_z"] - entry.values["kl"])
            assert abs(gap) <= 0.0151, entry
            assert entry.values["log_px"] >= entry.values["elbo"]
        assert all(math.isfinite(value) for value in entry.values.values())
    names = [(entry.dataset, entry.factors, metric) for entry in PUBLISHED for metric in entry.values]
    assert len(set(names)) == len(names)


def test_published_numbers_are_of_spaces_that_runs_can_have(tmp_path):
    product = read_run(finished(tmp_path, "-zd 10,10,10,10 -d static_mnist"))
    assert published_for(product, "log_px").values == {"log_px": -92.65}
    assert published_for(product, "kl") is None
    alike = [read_run(finished(tmp_path, f"{line} -d static_mnist"))[0] for line in ("-n vmf -z 40", "-zd 40")]
    assert published_for(alike, "log_px").values == {"log_px": -96.32}
    assert published_for([*alike, *product], "log_px") is None
    for line in ("-z 10 -d digits", "-n powerspherical -z 10 -d mnist"):
        assert published_for(read_run(finished(tmp_path, line)), "elbo") is None
    for other in ("--kappa 50", "--radius 2", "-lf mse", "--classifier"):
        assert published_for(read_run(finished(tmp_path, f"-n vmf -z 10 -d mnist {other}")), "elbo") is None


def test_other_network_is_a_difference_of_protocol(tmp_path):
    finished(tmp_path, "-n vmf -z 10 -d mnist -et cnn")
    (warning,) = (note for note in compare(comparable(tmp_path)[0]).notes if "differs" in note)
    assert "encoder cnn (published mlp)" in warning
    assert "hidden units" not in warning


def test_products_of_other_distributions_are_no_seeds_of_one_model(tmp_path):
    for family in ("vmf", "powerspherical"):
        finished(tmp_path, f"-d digits -zd 2,2 -dis {family}")
    found = compare(*comparable(tmp_path))
    assert [row.runs for row in found.rows] == [1, 1]
    assert found.by == ("dataset", "name", "space", "distribution")
