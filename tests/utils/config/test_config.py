"""Config: what is implied, the name of a run, JSON both ways."""

import json

import pytest

from tests.utils.fake_runs import in_json
from utils.config.command_line import parse
from utils.config.config import Config
from utils.config.flags import UsageError, flags_of
from utils.config.formats import FORMAT
from utils.config.rules import resolve
from utils.config.stored import from_values


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


@pytest.mark.parametrize(
    "line", ["", "-n normal -cvm full", "-zd s5,e4 -hd 64,32 -rs 3", "--kappa 50 --radius 2 -lf mse"]
)
def test_json_round_trip(line):
    config = parse(line.split())
    assert from_values(in_json(config)) == config


def test_older_configuration_without_a_field_takes_its_default():
    values = in_json(parse([]))
    del values["radius"]
    assert from_values(values) == parse([])


def test_configuration_without_a_format_is_of_the_first_one():
    values = in_json(parse([]))
    assert from_values(values).format == FORMAT
    del values["format"]
    assert from_values(values).format == 1


BAD = """
{"format": 0} ; {"format": 99} ; {"format": true} ; {"format": null} ; {"format": [2]} ;
{"nmae": "vmf"} ; {"epochs": "7"} ; {"epochs": true} ; {"lr": null} ; {"lr": -1} ; {"lr": NaN} ;
{"z_dims": []} ; {"z_dims": [1]} ; {"h_dims": 5} ; {"name": "xxx"} ; {"binarize": 1}
"""


@pytest.mark.parametrize("text", BAD.split(";"))
def test_bad_configuration_is_refused_in_one_line(text):
    with pytest.raises(UsageError) as caught:
        from_values(json.loads(text))
    assert "\n" not in str(caught.value)


def test_every_field_has_a_flag_with_help_and_limits():
    seen: set[str] = set()
    for name, flag in flags_of(Config).items():
        default = getattr(Config(), name)
        assert flag.help
        assert not seen & set(flag.names)
        seen |= set(flag.names)
        if flag.value_type in (int, float):
            assert flag.high is not None
        if default is not None:
            assert flag.check(default) == default


def test_resolving_twice_changes_nothing():
    config = parse(["-zd", "s5,4,e2"])
    assert resolve(config) == config
