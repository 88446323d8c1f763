"""What a run wrote is read back, and what a crash tore is not."""

import json
import math

from utils.run.records import finite, read_json, read_metrics


def test_metrics_skip_what_is_torn(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    whole = {"epoch": 1, "kl_weight": 1.0, "train": {}, "val": None}
    path.write_bytes(json.dumps(whole).encode() + b'\n\xff\x00\n7\n{"epoch": 2}\n{"epoch": 3, "kl_')
    assert read_metrics(path) == [whole]


def test_json_that_is_torn_or_absent_is_none(tmp_path):
    for content in (None, b"", b"\xff", b"[1]", b'{"a": '):
        if content is not None:
            (tmp_path / "x.json").write_bytes(content)
        assert read_json(tmp_path / "x.json") is None


def test_numbers_that_json_cannot_hold_become_null():
    assert finite({"a": [1.0, math.nan], "b": (math.inf, 2), "c": "nan"}) == {
        "a": [1.0, None],
        "b": [None, 2],
        "c": "nan",
    }
