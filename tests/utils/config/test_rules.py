"""Settings of the discrete latents, the classifier and the probe: what is implied and what is refused."""

import pytest

from tests.utils.fake_runs import in_json
from utils.config.command_line import parse
from utils.config.flags import UsageError
from utils.config.stored import from_values


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("-n normal --codes 8", ["--codes", "-n vq", "-n is normal"]),
        ("-n gumbel --code_dim 4", ["--code_dim", "-n vq"]),
        ("-n vq --categories 4", ["--categories", "-n gumbel"]),
        ("--straight_through", ["--straight_through", "-n gumbel", "vmf"]),
        ("-n gumbel -z 5", ["-z 5", "-n is gumbel", "20 variables of 10 categories"]),
        ("-n vq -z 5", ["-z 5", "-n is vq", "9 of 64 codes in R^8"]),
        ("-n vq -zd 5,5", ["-zd 5,5", "productspace"]),
        ("-n gumbel -dis vmf", ["-dis vmf", "-n gumbel"]),
        ("-n gumbel --kappa 5", ["--kappa", "20 variables of 10 categories"]),
        ("-n vq --radius 2", ["--radius", "codes"]),
        ("-n vq -cvm full", ["-cvm full", "-n normal"]),
        ("-n vq -et cnn --positions 4", ["--positions 4", "-et mlp"]),
        ("-n vq -vll", ["-vll", "log p(x)"]),
        ("-n vq -b 2", ["-b 2", "constant"]),
        ("-n vq -klt 2", ["-klt 2", "constant"]),
        ("--kappa 5 -klt 2", ["-klt 2", "--kappa 5"]),
        ("-zd s2,s3 --kappa 5 -klf 2", ["-klf 2", "--kappa 5"]),
        ("-n vq --vq_prior pixelcnn", ["--vq_prior", "pixelcnn", "autoregressive"]),
        ("--vq_prior independent", ["--vq_prior", "-n vq"]),
        ("-n vq --vq_prior independent --vq_prior_epochs 3", ["--vq_prior_epochs", "autoregressive"]),
        ("--lr_plateau 50", ["--lr_plateau 50", "-la", "50"]),
        ("--lr_plateau 2 -vf 3", ["--lr_plateau 2", "-vf", "3"]),
        ("-n gumbel --temperature 0.2", ["--temperature_min 0.5", "0.2"]),
        ("-n gumbel --temperature 0", ["--temperature", "above 0"]),
        ("-n gumbel --categories 1", ["--categories", "from 2"]),
        ("--labels 100", ["--labels", "--classifier"]),
        ("--classifier_weight 2", ["--classifier_weight", "--classifier"]),
        ("--classifier --labels 1", ["--labels", "from 2"]),
        ("--classifer", ["--classifer", "unknown flag", "--classifier"]),
        ("--probe=1", ["--probe", "switch"]),
    ],
)
def test_contradiction_is_refused_in_one_line_that_names_it(line, parts):
    with pytest.raises(UsageError) as caught:
        parse(line.split())
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize(
    ("line", "space", "factors"),
    [
        ("-n gumbel", "20 variables of 10 categories", (("gumbel", 20),)),
        ("-n gumbel --variables 3 --categories 5 -b 2 -klt 3", "3 variables of 5 categories", (("gumbel", 3),)),
        ("-n vq", "9 of 64 codes in R^8", (("vq", 8),)),
        ("-n vq --positions 4 --codes 16", "4 of 16 codes in R^8", (("vq", 8),)),
        ("-n vq -et cnn --code_dim 3", "a map of 64 codes in R^3", (("vq", 3),)),
        ("-zd s2,e3 --kappa 5 -b 2", "S^2 x R^3", (("vmf", 2), ("normal", 3))),
    ],
)
def test_what_is_accepted_and_survives_json(line, space, factors):
    config = parse(line.split())
    assert config.space == space
    assert config.factors == factors
    assert from_values(in_json(config)) == config
