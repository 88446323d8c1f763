"""A metric is defined once, and shown wherever numbers of runs are."""

import json
from pathlib import Path

import pytest

from tests.utils.fake_runs import finished
from utils import report, results
from utils.run.metrics import METRICS, Metric, glossary, headline, number
from utils.tables.result import described, result_table, seeds_table

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_metric_from_outside_needs_one_entry(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(METRICS, "decoder.roughness", Metric("roughness", "of the decoder", -1, digits=3, scale=10.0))
    new = finished(tmp_path, "-n normal -z 2 -d digits", decoder={"roughness": 0.12345})
    old = finished(tmp_path, "-n normal -z 3 -d digits")
    summaries = {seed: json.loads((run / "summary.json").read_text()) for seed, run in enumerate((new, old))}
    lines = [line.split() for line in result_table(summaries[0]).splitlines()]
    assert ["roughness", "1.234"] in lines or ["roughness", "1.235"] in lines
    assert "roughness" not in result_table(summaries[1])
    assert "roughness" in seeds_table(summaries).splitlines()[0]
    assert results.main([str(tmp_path)]) == 0
    _, *table = capsys.readouterr().out.splitlines()
    assert table[0].endswith("roughness")
    assert table[2].endswith(("1.234", "1.235"))
    assert table[3].endswith("0.50"), "the run without it shows a blank"
    assert report.main([str(tmp_path)]) == 0
    assert "roughness" in (tmp_path / "report.html").read_text()
    assert "| `decoder.roughness` | of the decoder |" in glossary()


def test_page_of_metrics_explains_every_metric():
    assert glossary() in PAGE.read_text()


@pytest.mark.parametrize("key", METRICS)
def test_any_metric_may_be_missing_or_not_finite(key):
    test = {"n": 10, "k": 5, "elbo": -2.0, "log_px_z": -1.5, "kl": 0.5, "log_px": -1.0}
    summary = {"status": "complete", "epochs": 3, "best_epoch": 2, "test": test}
    for broken in ({name: value for name, value in test.items() if name != key}, {**test, key: None}):
        assert "ELBO" in result_table({**summary, "test": broken}) or key == "elbo"
        assert "mean" in seeds_table({1: summary, 2: {**summary, "test": broken}})


def test_numbers_in_words():
    assert number(None) == "not finite"
    assert number(-0.126) == "-0.13"
    assert number(1e300) == "1.000e+300"
    assert described("log_px", {"log_px": -1.0, "log_px_se": 0.25, "k": 5.0}) == "-1.00 ± 0.25 (K=5)"
    assert described("log_px", {"log_px": -1.0}) == "-1.00"
    assert described("log_px", {"log_px": None, "log_px_nonfinite": 2.0}) == "not finite for 2 images"
    assert headline({"elbo": -2.0, "kl": 1.0}) == "ELBO -2.00"
    assert headline({}) == ""
