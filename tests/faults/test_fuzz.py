"""Nonsense for every program and every reader ends as promised: a result, or one line that says what is wrong.

HSVAE_FUZZ=20 tries twenty times as many cases; see `fuzzing` for a table of many more.
"""

import os

import pytest

from tests.faults import fuzz_data, fuzz_lines, fuzz_runs

TIMES = int(os.environ.get("HSVAE_FUZZ", "1"))


@pytest.mark.parametrize(
    ("fuzz", "count"),
    [
        (fuzz_lines.fuzz, 500),
        (fuzz_lines.fuzz_configurations, 150),
        (fuzz_runs.fuzz, 24),
        (fuzz_runs.fuzz_checkpoints, 16),
        (fuzz_data.fuzz, 80),
    ],
)
def test_nonsense_ends_as_promised(fuzz, count, tmp_path):
    tally = fuzz(count * TIMES, seed=0, folder=tmp_path / "fuzz")
    print(tally)
    assert not tally.broken, "\n".join(map(str, tally.broken))
