"""Several seeds in one process: the same runs as one by one, and their mean and standard deviation."""

import json
import statistics

import pytest

from tests.test_run_models import SMALL, metrics, weights
from utils.config.command_line import parse
from utils.config.flags import UsageError
from utils.tables.result import seeds_table


def test_each_seed_is_the_run_that_it_would_be_alone(run_models, tmp_path):
    done = run_models(f"{SMALL} -n vmf -z 2 -rs 4 --seeds 3")
    assert done.returncode == 0, done.stderr
    together = sorted((tmp_path / "results" / "digits").iterdir())
    assert [run.name.split("__")[1] for run in together] == ["s4", "s5", "s6"]
    for seed, run in zip((4, 5, 6), together):
        assert run_models(f"{SMALL} -n vmf -z 2 -rs {seed} -en alone").returncode == 0
        alone = next((tmp_path / "results" / "digits").glob(f"alone__s{seed}__*"))
        assert metrics(run) == metrics(alone)
        assert weights(run) == weights(alone)
        results = [json.loads((folder / "summary.json").read_text())["test"] for folder in (run, alone)]
        assert results[0] == results[1]
        configs = [json.loads((folder / "config.json").read_text()) for folder in (run, alone)]
        assert {**configs[0], "exp_name": "alone", "sha256": configs[1]["sha256"]} == configs[1]

    # What is done is not done again, and the table is that of the summaries.
    again = run_models(f"{SMALL} -n vmf -z 2 -rs 4 --seeds 3 -v 0")
    assert again.returncode == 0
    rows = {line.split()[0]: line.split()[1:] for line in again.stdout.splitlines() if line.strip()}
    tests = [json.loads((run / "summary.json").read_text())["test"] for run in together]
    for column, key in enumerate(("log_px", "elbo", "log_px_z", "kl")):
        values = [test[key] for test in tests]
        assert [rows[seed][column] for seed in "456"] == [f"{value:.2f}" for value in values]
        assert rows["mean"][column] == f"{statistics.fmean(values):.2f}"
        assert rows["std"][column] == f"{statistics.stdev(values):.2f}"
    aloud = run_models(f"{SMALL} -n vmf -z 2 -rs 4 --seeds 3").stdout
    assert aloud.count("this run is complete already") == 3
    assert "nats per image" not in aloud, "the table of each seed was printed when it ended"


def test_seeds_beyond_the_highest_are_refused():
    asked = parse(["-rs", "2147483646", "--seeds", "2"])
    assert [one.rs for one in asked.runs] == [2147483646, 2147483647]
    with pytest.raises(UsageError, match="--seeds 3: with -rs 2147483646 the last seed would be 2147483648"):
        parse(["-rs", "2147483646", "--seeds", "3"])


def cells(table, name):
    return next(line.split() for line in table.splitlines() if line.startswith(name))


def test_table_says_what_it_cannot_average():
    good = {"log_px": -10.0, "elbo": -12.0, "log_px_z": -8.0, "kl": 4.0}
    summary = {"epochs": 5, "test": good}
    lost = {"epochs": 2, "test": None}
    table = seeds_table({1: summary, 2: lost, 3: {"epochs": 5, "test": {**good, "elbo": -14.0}}})
    assert cells(table, "2") == ["2", "2,", "diverged"]
    assert cells(table, "mean") == ["mean", "-10.00", "-13.00", "-8.00", "4.00"]
    assert cells(table, "std")[2] == f"{2**0.5:.2f}"
    assert cells(seeds_table({1: summary, 2: lost}), "std") == ["std", *["n/a"] * 4]

    no_density = {"epochs": 5, "test": {**good, "log_px": None}}
    assert "log p(x)" not in seeds_table({1: no_density, 2: no_density})
    infinite = {"epochs": 5, "test": {**good, "log_px": None, "log_px_nonfinite": 3}}
    assert cells(seeds_table({1: infinite, 2: summary}), "mean")[1:3] == ["not", "finite"]
