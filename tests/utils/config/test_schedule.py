"""From which epoch on models are compared, and what a user is told where no model will be."""

import dataclasses

import pytest

from tests.utils.fake_runs import in_json
from utils.config.command_line import parse
from utils.config.schedule import compared_after, kl_weight, note_on_selection, warm_up, whole_from
from utils.config.stored import from_values


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("", 100),
        ("-klw 0", 1),
        ("-klw 1", 1),
        ("-klf 60", 160),
        ("-klf 3 -klw 0", 4),
        ("-klt 5 -klw 7", 7),
        ("-b 0", 1),
        ("--kappa 5", 1),
        ("-n vq", 1),
        ("-n gumbel", 100),
        ("-zd s2,s3 --kappa 5", 1),
        ("-zd s2,e3 --kappa 5", 100),
    ],
)
def test_objective_is_whole_once_the_weight_of_the_kl_no_longer_matters(line, first):
    config = parse(f"-e 200 {line}".split())
    assert (whole_from(config), compared_after(config)) == (first, first - 1)
    assert all((warm_up(config, epoch) == 1) == (epoch >= first) for epoch in range(1, 200))
    full = kl_weight(config, 10**6)
    assert {kl_weight(config, epoch) for epoch in range(first, 200)} == {full}


@pytest.mark.parametrize("burn_in", [0, 5, 150])
def test_burn_in_that_is_given_counts(burn_in):
    assert compared_after(parse(f"-bi {burn_in}".split())) == burn_in


def test_runs_of_the_first_format_are_compared_from_the_start():
    old = dataclasses.replace(parse([]), format=1)
    assert compared_after(old) == 0
    # Their files hold the default of their time, which is no burn-in that somebody asked for.
    assert from_values({**in_json(old), "burn_in": 0}) == old
    assert compared_after(from_values({**in_json(old), "burn_in": 7})) == 7


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("-e 20", ["-klw 100", "from epoch 100", "-e 20", "the newest model"]),
        ("-e 200 -klf 150", ["-klf 150 -klw 100", "from epoch 250", "-e 200", "the newest model"]),
        ("-e 120 -vf 70 -la 70", ["-vf 70", "epoch 70", "the newest model"]),
        ("-e 50 -bi 0", ["from epoch 100", "-bi"]),
        ("-e 200 -bi 9", ["from epoch 100", "-bi 9", "from epoch 10"]),
    ],
)
def test_selection_by_an_unfinished_objective_is_noted_in_one_line(line, parts):
    note = note_on_selection(parse(line.split()))
    assert "\n" not in note
    for part in parts:
        assert part in note


@pytest.mark.parametrize("line", ["", "-e 100", "-e 5 -klw 0", "-e 5 --kappa 3", "-n vq -e 2", "-bi 99", "-bi 150"])
def test_whole_objective_needs_no_note(line):
    assert note_on_selection(parse(line.split())) is None
