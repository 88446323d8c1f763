"""Config: what is implied, the name of a run, JSON both ways."""

import dataclasses
import json

import pytest

from utils.config.command_line import parse
from utils.config.config import Config
from utils.config.flags import UsageError, flag_of
from utils.config.rules import resolve
from utils.config.stored import from_json


@pytest.mark.parametrize(
    ("line", "space", "factors"),
    [
        ("-n vmf -z 10", "S^10 in R^11", (("vmf", 10),)),
        ("-n normal -z 2", "R^2", (("normal", 2),)),
        ("-n powerspherical -z 4", "S^4 in R^5", (("powerspherical", 4),)),
        ("-zd s4,s4,e2", "S^4 x S^4 x R^2", (("vmf", 4), ("vmf", 4), ("normal", 2))),
        ("-zd s4,e2 -dis powerspherical", "S^4 x R^2", (("powerspherical", 4), ("normal", 2))),
        ("-zd 3,4 -dis normal", "R^3 x R^4", (("normal", 3), ("normal", 4))),
        ("-zd 7", "S^7 in R^8", (("vmf", 7),)),
    ],
)
def test_latent_space_of_a_run(line, space, factors):
    config = parse(line.split())
    assert config.space == space
    assert config.factors == factors


def test_two_ways_of_saying_the_same_are_one_run():
    assert parse(["-n", "normal"]).hash == parse(["-dis", "normal", "-z", "10"]).hash
    assert parse(["-zd", "5,5"]).hash == parse(["-n", "productspace", "-zd", "s5,s5", "-dis", "vmf"]).hash


def test_hash_tells_runs_apart_by_what_defines_them_only():
    base = parse(["-n", "vmf"])
    assert (
        base.hash
        == parse(
            [
                "-n",
                "vmf",
                "-e",
                "300",
                "-lls",
                "10",
                "-v",
                "0",
                "-pf",
                "7",
                "-sf",
                "3",
                "-ld",
                "elsewhere",
                "--data_dir",
                "d",
                "-en",
                "x",
            ]
        ).hash
    )
    for words in ("-rs 2", "-z 9", "-b 2", "-bs 64", "-lr 0.01", "-klw 3", "-d digits", "-bnz", "--kappa 9", "-vf 2"):
        assert base.hash != parse(["-n", "vmf", *words.split()]).hash, words


def test_hash_of_a_known_run_never_changes():
    # Old runs are found by this name; a new flag with a default must not move them.
    assert parse(["-n", "vmf", "-z", "10", "-d", "mnist", "-e", "20", "-klw", "10", "-rs", "1"]).hash == "b6ac7ec3"


@pytest.mark.parametrize(
    "line", ["", "-n normal -cvm full", "-zd s5,e4 -hd 64,32 -rs 3", "--kappa 50 --radius 2 -lf mse"]
)
def test_json_round_trip(line):
    config = parse(line.split())
    assert from_json(config.to_json()) == config


def test_older_configuration_without_a_field_takes_its_default():
    values = json.loads(parse([]).to_json())
    del values["radius"]
    assert from_json(json.dumps(values)) == parse([])


BAD = """
[] ; { ; {"nmae": "vmf"} ; {"epochs": "7"} ; {"epochs": true} ; {"lr": null} ; {"lr": -1} ; {"lr": NaN} ;
{"z_dims": []} ; {"z_dims": [1]} ; {"h_dims": 5} ; {"name": "xxx"} ; {"binarize": 1} ; 7 ; not JSON at all
"""


@pytest.mark.parametrize("text", ["", *BAD.split(";")])
def test_bad_configuration_is_refused_in_one_line(text):
    with pytest.raises(UsageError) as caught:
        from_json(text)
    assert "\n" not in str(caught.value)


def test_every_field_has_a_flag_with_help_and_limits():
    seen: set[str] = set()
    for field in dataclasses.fields(Config):
        flag = flag_of(field)
        assert flag.help
        assert not seen & set(flag.names)
        seen |= set(flag.names)
        if flag.value_type in (int, float):
            assert flag.high is not None
        if field.default is not None:
            assert flag.check(field.default) == field.default


def test_resolving_twice_changes_nothing():
    config = parse(["-zd", "s5,4,e2"])
    assert resolve(config) == config
