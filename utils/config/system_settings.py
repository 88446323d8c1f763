"""The settings of discrete latents, the classifier on the latent and the probe, and what contradicts them.

They are fields of `Config`, which inherits them; they stand here because one file could not hold all.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.config.flags import UsageError, flag, flag_of

if TYPE_CHECKING:
    from utils.config.config import Config

SPHERICAL = ("vmf", "powerspherical")
DISCRETE = ("gumbel", "vq")
CODES, CLASSIFIER, EMBEDDINGS = "discrete latents", "classifier", "embeddings"


@dataclass(frozen=True)
class SystemSettings:
    """The part of a run's description that only some models have; see `utils.config.config.Config`."""

    categories: int = flag(
        "--categories", "int", CODES, 10, "categories of each variable of a gumbel latent", low=2, high=10_000
    )
    variables: int = flag("--variables", "int", CODES, 20, "variables of a gumbel latent", low=1, high=10_000)
    temperature: float = flag(
        "--temperature", "float", CODES, 1.0, "temperature of the relaxed codes in the first epoch", above=0, high=100
    )
    temperature_min: float = flag(
        "--temperature_min", "float", CODES, 0.5, "temperature after --temperature_epochs", above=0, high=100
    )
    temperature_epochs: int = flag(
        "--temperature_epochs",
        "int",
        CODES,
        50,
        "epochs over which the temperature falls geometrically (0: it is --temperature_min from the start)",
        low=0,
        high=10**7,
    )
    straight_through: bool = flag(
        "--straight_through",
        "bool",
        CODES,
        False,
        "decode hard codes while training, with the gradient of relaxed ones",
    )
    codes: int = flag("--codes", "int", CODES, 64, "codes in the codebook of a vq latent", low=2, high=65_536)
    code_dim: int = flag("--code_dim", "int", CODES, 8, "dimension of a code", low=1, high=4096)
    positions: int | None = flag(
        "--positions",
        "int",
        CODES,
        None,
        "codes per image after an mlp encoder (9); after a cnn encoder there is one per cell of its last map",
        low=1,
        high=4096,
    )
    commitment: float = flag(
        "--commitment", "float", CODES, 0.25, "weight of the squared distance to the chosen code", above=0, high=1e6
    )
    vq_prior: str | None = flag(
        "--vq_prior",
        "str",
        CODES,
        None,
        "prior over the codes to fit after training: counts per position, or a small transformer; both also per class",
        choices=("independent", "autoregressive"),
    )
    vq_prior_epochs: int = flag(
        "--vq_prior_epochs", "int", CODES, 10, "epochs to train an autoregressive prior", low=1, high=10**6
    )

    classifier: bool = flag(
        "--classifier", "bool", CLASSIFIER, False, "train a classifier on the latent together with the model"
    )
    classifier_weight: float = flag(
        "--classifier_weight",
        "float",
        CLASSIFIER,
        10.0,
        "weight of its cross-entropy, a mean over the labelled images of a batch, beside the ELBO of an image",
        above=0,
        high=1e6,
    )
    labels: int | None = flag(
        "--labels",
        "int",
        CLASSIFIER,
        None,
        "training images whose labels it may see, equally many of each class, chosen by the seed (all)",
        low=2,
        high=10**9,
    )

    probe: bool = flag(
        "--probe",
        "bool",
        EMBEDDINGS,
        False,
        "after training, classify the embeddings by nearest neighbours and logistic regression with few labels",
        identity=False,
    )


# Settings that only one kind of model has.
OF_KIND = {
    "gumbel": ("categories", "variables", "temperature", "temperature_min", "temperature_epochs", "straight_through"),
    "vq": ("codes", "code_dim", "positions", "commitment", "vq_prior", "vq_prior_epochs"),
}


def given(config: Config, *names: str) -> str | None:
    """The first of these settings that differs from its default, as its flag, or None."""
    fields = {f.name: f for f in dataclasses.fields(config)}
    for name in names:
        if getattr(config, name) != fields[name].default:
            return flag_of(fields[name]).names[-1]
    return None


def check_systems(config: Config) -> Config:
    """Refuse settings of latent spaces and of these systems that do not go together, and fill in what is implied.

    Args:
        config: its `name` is resolved.

    Raises:
        UsageError: two settings contradict each other.
    """
    kinds = {kind for kind, _ in config.factors}
    if not kinds & set(SPHERICAL):
        if config.kappa is not None:
            raise UsageError(
                f"--kappa {config.kappa:g}: a latent space without a sphere ({config.space}) has no concentration"
            )
        if config.radius != 1.0:
            raise UsageError(
                f"--radius {config.radius:g}: a latent space without a sphere ({config.space}) has no radius"
            )
    if "normal" not in kinds and config.covariance_matrix != "diagonal":
        raise UsageError(f"-cvm {config.covariance_matrix}: needs a normal latent; this one is {config.space}")
    for kind, names in OF_KIND.items():
        if config.name != kind and (extra := given(config, *names)):
            raise UsageError(f"{extra}: is for -n {kind}, but -n is {config.name}")
    if config.temperature_min > config.temperature:
        raise UsageError(
            f"--temperature_min {config.temperature_min:g}: is above --temperature, which is {config.temperature:g}"
        )
    if config.name == "vq":
        if config.encode_type == "cnn" and config.positions is not None:
            raise UsageError(
                f"--positions {config.positions}: a cnn encoder has one code per cell of its last map; leave it out, "
                "or use -et mlp"
            )
        if config.val_nll:
            raise UsageError("-vll: a vq model has no log p(x); leave it out (--vq_prior gives a lower bound)")
        if config.encode_type == "mlp":
            config = dataclasses.replace(config, positions=config.positions or 9)
    if config.vq_prior != "autoregressive" and (extra := given(config, "vq_prior_epochs")):
        raise UsageError(f"{extra}: is for --vq_prior autoregressive; add that")
    kl_is_constant = config.name == "vq" or (config.kappa is not None and "normal" not in kinds)
    if kl_is_constant and (extra := given(config, "kl_target", "beta", "kl_freeze")):
        reason = "-n vq" if config.name == "vq" else f"--kappa {config.kappa:g}"
        raise UsageError(f"{extra}: has no effect with {reason}, whose KL is constant; leave it out")
    if not config.classifier and (extra := given(config, "classifier_weight", "labels")):
        raise UsageError(f"{extra}: is for a classifier; add --classifier")
    return config
