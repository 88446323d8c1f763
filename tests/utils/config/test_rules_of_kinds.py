"""A kind of latent, a network and a likelihood that are registered from outside: nothing else has to know of them."""

import pytest

from hyperspherical_vae.kinds import KINDS, LIKELIHOODS, Kind
from tests.utils.fake_runs import in_json
from utils.config.command_line import parse, parse_run
from utils.config.flags import UsageError
from utils.config.networks import NETWORKS, Network
from utils.config.stored import from_values


@pytest.fixture
def registered(monkeypatch):
    for name in KINDS.keys() - {"vmf", "normal", "powerspherical", "gumbel", "vq"}:
        monkeypatch.delitem(KINDS, name)  # the messages below list these five, whatever else there is
    monkeypatch.setitem(KINDS, "toy", Kind("toy", "R", {"width": "radius"}))
    monkeypatch.setitem(KINDS, "saddle", Kind("saddle", "H", {"kappa": "kappa"}, constant_kl="kappa"))
    words = Kind("words", space="{variables} words of {codes}", size="variables", settings=("codes",), density=False)
    monkeypatch.setitem(KINDS, "words", words)
    monkeypatch.setitem(NETWORKS, "tree", Network("a:b", "a:c", (3,), has_map=True))
    monkeypatch.setitem(LIKELIHOODS, "cauchy", "a:Cauchy")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("line", "space", "factors"),
    [
        ("-n toy -z 5", "R^5", (("toy", 5),)),
        ("-dis toy --radius 2", "R^10", (("toy", 10),)),
        ("-n saddle -z 2 --kappa 3", "H^2", (("saddle", 2),)),
        ("-n words --variables 4 --codes 9", "4 words of 9", (("words", 4),)),
        ("-zd 3,s2,h4 -dis toy", "R^3 x S^2 x H^4", (("toy", 3), ("vmf", 2), ("saddle", 4))),
        ("-zd 3,s2 -dis normal", None, ()),
        ("-zd 3,e2,h4 -dis toy", "R^3 x R^2 x H^4", (("toy", 3), ("toy", 2), ("saddle", 4))),
        ("-zd 3,e2,h4", "S^3 x R^2 x H^4", (("vmf", 3), ("normal", 2), ("saddle", 4))),
        ("-n vq -et tree", "a map of 64 codes in R^8", (("vq", 8),)),
    ],
)
def test_registered_kind_is_named_by_its_symbol(line, space, factors):
    if space is None:
        with pytest.raises(UsageError, match="'s2' contradicts -dis normal; write e2"):
            parse_run(line.split())
        return
    config = parse_run(line.split())
    assert config.space == space
    assert config.factors == factors
    assert from_values(in_json(config)) == config


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("-n toy --kappa 5", ["--kappa 5", "-n vmf or powerspherical or saddle", "-n is toy (R^10)"]),
        ("-n toy -cvm full", ["-cvm full", "-n normal"]),
        ("-n normal --radius 5", ["--radius 5", "-n vmf or powerspherical or toy"]),
        ("-n gumbel --codes 5", ["--codes 5", "-n vq or words"]),
        ("-n words -z 5", ["-z 5", "or toy or saddle", "-n is words"]),
        ("-n words -vll", ["-vll", "log p(x)"]),
        ("-n saddle --kappa 2 -b 2", ["-b 2", "--kappa 2", "constant"]),
        ("-n tyo", ["'tyo'", "did you mean toy?"]),
        ("-dis words", ["-dis", "'words' is not one of"]),
        ("-zd x4", ["h4 for H^4"]),
        ("-et tre", ["did you mean tree?"]),
        ("-lf cauchi", ["did you mean cauchy?"]),
        ("cauchy", ["did you mean -lf cauchy?"]),
        ("-n vq -et tree --positions 4", ["--positions 4", "a tree encoder", "-et mlp"]),
    ],
)
def test_registered_kind_has_its_own_settings_only(line, parts):
    with pytest.raises(UsageError) as caught:
        parse(line.split())
    for part in parts:
        assert part in str(caught.value), caught.value


@pytest.mark.usefixtures("registered")
def test_registered_names_are_choices(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "{vmf,normal,powerspherical,gumbel,vq,toy,saddle,words,productspace}" in out
    assert "{vmf,normal,powerspherical,toy,saddle}" in out
    assert "{mlp,cnn,tree}" in out
    assert f"{{{','.join(LIKELIHOODS)}}}" in out
    assert "for -n vmf or powerspherical or saddle" in out
    assert parse_run(["-lf", "cauchy", "-dt", "tree"]).loss_function == "cauchy"
