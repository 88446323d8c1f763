"""A run described in one frozen object, and the flags that fill it.

`Config` is the only thing the rest of the program knows of the command line. Each field carries its own flag: spelling,
help, allowed values. Importing this module and answering `--help` or a usage error costs milliseconds: nothing heavy is
imported here.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

from hyperspherical_vae.kinds import KINDS, LIKELIHOODS
from utils.config.flags import flag, flag_of, flags_of
from utils.config.formats import FORMAT
from utils.config.networks import NETWORKS
from utils.data.sets import DATASETS

MODEL, DATA, TRAINING, OBJECTIVE = "model", "data", "training", "objective"
CODES, CLASSIFIER = "discrete latents", "classifier"
EVALUATION, EMBEDDINGS, RUN = "evaluation", "embeddings", "run"

DEFAULT = next(iter(KINDS))  # the kind of latent where none is named
PRODUCT = "productspace"  # the name of a model whose latent space has several factors, each of a kind of its own
NO_FIGURES = "none"
NAME = (r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}", "up to 80 letters, digits and . _ + -, a letter or digit first")


def continuous() -> tuple[str, ...]:
    """The kinds of latent that have a dimension, and so can be factors of a product space."""
    return tuple(name for name, kind in KINDS.items() if not kind.is_discrete)


def letter_of(kind: str) -> str:
    """What stands before the dimension of a factor of this kind in `-zd`: s4 is a sphere, e2 a Euclidean space."""
    symbol = KINDS[kind].symbol
    return "e" if symbol == "R" else symbol.lower()


def owners(setting: str) -> tuple[str, ...]:
    """The kinds of latent that have a setting which others lack; empty if every model has it."""
    return tuple(name for name, kind in KINDS.items() if setting in kind.all_settings)


_SIZES = "; ".join(f"{name} {','.join(map(str, network.hidden))}" for name, network in NETWORKS.items())
_CLASSES = ", ".join(f"{name} {place.partition(':')[2]}" for name, place in LIKELIHOODS.items())


@dataclass(frozen=True)
class Config:
    """Everything that defines a run. `None` means "implied by the rest"; `resolve` fills it in."""

    name: str | None = flag(
        "-n --name", str, MODEL, None, f"kind of model; implied by -dis or -zd, else {DEFAULT}",
        options=lambda: (*KINDS, PRODUCT),
    )
    distribution: str | None = flag(
        "-dis --distribution", str, MODEL, None,
        f"distribution of the latent, implied by -n; under {PRODUCT} that of factors given as plain numbers "
        f"({DEFAULT})",
        options=continuous,
    )
    z: int | None = flag(
        "-z --z", int, MODEL, None, "dimension of the latent space; 10 on a sphere is S^10 in R^11 (10)",
        low=1, high=10_000,
    )
    z_dims: tuple[str, ...] | None = flag(
        "-zd --z_dims", str, MODEL, None,
        "decomposition of a product space: s4,s4,e2 is S^4 x S^4 x R^2; plain numbers are spaces of -dis",
        many="commas",
    )
    h_dims: tuple[int, ...] | None = flag(
        "-hd --h --h_dims", int, MODEL, None,
        f"hidden units of the encoder, or channels of each halving of a cnn; the decoder reverses them ({_SIZES})",
        many="commas", low=1, high=100_000,
    )
    encode_type: str = flag(
        "-et --encode_type", str, MODEL, "mlp", "network of the encoder", options=lambda: NETWORKS
    )
    decode_type: str = flag(
        "-dt --decode_type", str, MODEL, "mlp", "network of the decoder", options=lambda: NETWORKS
    )
    no_bias: bool = flag("--no_bias", bool, MODEL, False, "leave the biases of encoder and decoder out")
    covariance_matrix: str = flag(
        "-cvm --covariance_matrix", str, MODEL, "diagonal", "form of the covariance",
        options=lambda: ("single", "diagonal", "full"),
    )
    kappa: float | None = flag(
        "--kappa", float, MODEL, None, "fix the concentration of every sphere instead of learning it per input",
        low=0, high=1e8,
    )
    kappa_start: float | str = flag(
        "--kappa_start", float, MODEL, "dim",
        "where the concentration that is learned starts, on average; dim is the dimension of the space that a sphere "
        "lies in",
        above=1, high=1e8, word="dim",
    )
    radius: float = flag("--radius", float, MODEL, 1.0, "radius of every sphere", above=0, high=1e6)
    loss_function: str | None = flag(
        "-lf --loss_function", str, MODEL, None, f"likelihood of the pixels: {_CLASSES}; else the data set's own",
        options=lambda: LIKELIHOODS,
    )

    dataset: str = flag("-d --dataset", str, DATA, "mnist", "data set to train on", options=lambda: DATASETS)
    data_dir: str = flag(
        "--data_dir", str, DATA, "data",
        "folder with the data sets, or with your images for -d folder; for -d array your .npz or .npy file",
        identity=False,
    )
    data_name: str | None = flag(
        "--data_name", str, DATA, None,
        "name of your own data in results/ and in tables; default: that of their folder or file",
        pattern=NAME, identity=False,
    )
    binarize: bool = flag(
        "-bnz --binarize", bool, DATA, False, "binarize the training images once instead of again in every batch"
    )
    image_size: tuple[int, int] | None = flag(
        "--image_size", int, DATA, None, "height and width that -d folder scales images to (64,64)",
        many="commas", low=1, high=4096, needs=("dataset", "folder"),
    )
    grey: bool = flag(
        "--grey", bool, DATA, False, "read the images of -d folder without colour", needs=("dataset", "folder")
    )
    allow_unverified: bool = flag(
        "--allow_unverified", bool, DATA, False, "use data files that differ from the known ones"
    )
    list_datasets: bool = flag(
        "--list_datasets", bool, DATA, False, "list the data sets and what is on disk, and stop", identity=False
    )

    epochs: int = flag(
        "-e --epochs", int, TRAINING, 200, "epochs to train at most; a finished run can be given more",
        low=1, high=10**7, identity=False,
    )
    lr: float = flag("-lr --lr", float, TRAINING, 1e-3, "learning rate of Adam", above=0, high=1e3)
    lr_plateau: int = flag(
        "--lr_plateau", int, TRAINING, 0,
        "epochs without a better validation ELBO after which the learning rate is halved, counted while the KL has its "
        "full weight (0: it stays)",
        low=0, high=10**7,
    )
    batch_size: int = flag("-bs --batch_size", int, TRAINING, 100, "images in a batch", low=1, high=10**6)
    burn_in: int | None = flag(
        "-bi --burn_in", int, TRAINING, None,
        "epochs before models are compared and patience is counted (those before the KL has its full weight)",
        low=0, high=10**7,
    )
    look_ahead: int = flag(
        "-la --look_ahead", int, TRAINING, 50, "epochs without a better validation ELBO before training stops early",
        low=1, high=10**7,
    )
    min_improv: float = flag(
        "-mi --min_improv", float, TRAINING, 0.01, "nats by which the validation ELBO must rise to count as better",
        low=0, high=1e6,
    )
    max_restarts: int = flag(
        "-mr --max_restarts", int, TRAINING, 20, "reloads after a non-finite loss or gradient before giving up",
        low=0, high=10**6,
    )
    val_f: int = flag("-vf --val_f", int, TRAINING, 1, "epochs from one validation to the next", low=1, high=10**7)
    save_f: int = flag(
        "-sf --save_f", int, TRAINING, 1, "epochs from one checkpoint to the next", low=1, high=10**7, identity=False
    )
    compile: bool = flag(
        "--compile", bool, TRAINING, False,
        "compile the training step: each is faster, after a start of some ten seconds; needs a C++ compiler",
    )

    beta: float = flag("-b --beta", float, OBJECTIVE, 1.0, "scale of the KL divergence", low=0, high=1e6)
    kl_warmup: int = flag(
        "-klw --kl_warmup", int, OBJECTIVE, 100,
        "epochs over which the KL is scaled linearly up to full weight (0: none)",
        low=0, high=10**7,
    )
    kl_freeze: int = flag(
        "-klf --kl_freeze", int, OBJECTIVE, 0, "epochs without KL before the warm-up begins", low=0, high=10**7
    )
    kl_target: float = flag(
        "-klt --kl_target", float, OBJECTIVE, 0.0,
        "nats of KL to aim for: the weighted term is |KL - target|, 0 being the ordinary objective",
        low=0, high=1e6,
    )

    categories: int = flag(
        "--categories", int, CODES, 10, "categories of each variable", low=2, high=10_000
    )
    variables: int = flag("--variables", int, CODES, 20, "variables of a latent", low=1, high=10_000)
    temperature: float = flag(
        "--temperature", float, CODES, 1.0, "temperature of the relaxed codes in the first epoch", above=0, high=100
    )
    temperature_min: float = flag(
        "--temperature_min", float, CODES, 0.5, "temperature after --temperature_epochs", above=0, high=100
    )
    temperature_epochs: int = flag(
        "--temperature_epochs", int, CODES, 50,
        "epochs over which the temperature falls geometrically (0: it is --temperature_min from the start)",
        low=0, high=10**7,
    )
    straight_through: bool = flag(
        "--straight_through", bool, CODES, False,
        "decode hard codes while training, with the gradient of relaxed ones",
    )
    codes: int = flag("--codes", int, CODES, 64, "codes in the codebook", low=2, high=65_536)
    code_dim: int = flag("--code_dim", int, CODES, 8, "dimension of a code", low=1, high=4096)
    positions: int | None = flag(
        "--positions", int, CODES, None,
        "codes per image after an mlp encoder (9); after a cnn encoder there is one per cell of its last map",
        low=1, high=4096,
    )
    commitment: float = flag(
        "--commitment", float, CODES, 0.25, "weight of the squared distance to the chosen code", above=0, high=1e6
    )
    vq_prior: str | None = flag(
        "--vq_prior", str, CODES, None,
        "prior over the codes to fit after training: counts per position, or a small transformer; both also per class",
        options=lambda: ("independent", "autoregressive"),
    )
    vq_prior_epochs: int = flag(
        "--vq_prior_epochs", int, CODES, 10, "epochs to train an autoregressive prior",
        low=1, high=10**6, needs=("vq_prior", "autoregressive"),
    )

    classifier: bool = flag(
        "--classifier", bool, CLASSIFIER, False, "train a classifier on the latent together with the model"
    )
    classifier_weight: float = flag(
        "--classifier_weight", float, CLASSIFIER, 10.0,
        "weight of its cross-entropy, a mean over the labelled images of a batch, beside the ELBO of an image",
        above=0, high=1e6, needs=("classifier", True),
    )
    labels: int | None = flag(
        "--labels", int, CLASSIFIER, None,
        "training images whose labels it may see, spread over the classes as equally as possible, by the seed (all)",
        low=2, high=10**9, needs=("classifier", True),
    )

    ll_sample: int = flag(
        "-lls --ll_sample", int, EVALUATION, 500, "importance samples K per image for log p(x)",
        low=1, high=10**7, identity=False,
    )
    val_nll: bool = flag(
        "-vll --val_nll", bool, EVALUATION, False, "also estimate log p(x) at every validation, with 10 samples"
    )
    score: int | None = flag(
        "--score", int, EVALUATION, None,
        "score so many samples (10000 where no number is given): label agreement, FID, KID and others, beside those of "
        "real test images",
        low=100, high=1_000_000, alone=10_000, identity=False,
    )

    probe: bool = flag(
        "--probe", bool, EMBEDDINGS, False,
        "after training, classify the embeddings by nearest neighbours and logistic regression with few labels",
        identity=False,
    )

    export: bool = flag(
        "--export", bool, EMBEDDINGS, False,
        "write the embeddings of all splits, their coordinates in the figure `latent` and the learning curves to "
        "export/ in the folder of the run, as .npz and .csv",
        identity=False,
    )

    rs: int = flag("-rs --rs", int, RUN, 1, "random seed", low=0, high=2**31 - 1)
    seeds: int = flag(
        "--seeds", int, RUN, 1,
        "runs to do one after the other, with the seeds from -rs on; their mean and standard deviation come last",
        low=1, high=10_000, identity=False,
    )
    device: str = flag(
        "--device", str, RUN, "auto", "where to compute; auto takes CUDA if there is a card",
        options=lambda: ("auto", "cpu", "cuda"),
    )
    exp_name: str | None = flag(
        "-en --exp_name", str, RUN, None, "first part of the folder's name, in place of the model's",
        pattern=NAME, identity=False,
    )
    log_dir: str = flag("-ld --log_dir", str, RUN, "results", "folder that holds the runs", identity=False)
    overwrite: bool = flag(
        "--overwrite", bool, RUN, False, "move a run that is there aside and train it from the start", identity=False
    )
    figures: tuple[str, ...] | None = flag(
        "--figures", str, RUN, None,
        f"draw these figures only, by the names of their files, or {NO_FIGURES}; default: all that the run offers",
        many="either", identity=False,
    )
    pdf: bool = flag(
        "--pdf", bool, RUN, False, "write the figures as PDF files too; with --width or --no_titles instead of PNG",
        identity=False,
    )
    svg: bool = flag(
        "--svg", bool, RUN, False, "write the figures as SVG files too; with --width or --no_titles instead of PNG",
        identity=False,
    )
    width: float | None = flag(
        "--width", float, RUN, None, "width of every figure in inches, such as that of a column: 3.3", low=1, high=30,
        identity=False,
    )
    no_titles: bool = flag("--no_titles", bool, RUN, False, "draw figures without titles and notes", identity=False)
    tensorboard: bool = flag(
        "--tensorboard", bool, RUN, False, "write scalars and figures for TensorBoard too (an extra)", identity=False
    )
    pf: int = flag(
        "-pf --pf", int, RUN, 1, "epochs from one printed line to the next", low=1, high=10**7, identity=False
    )
    verbosity: int = flag(
        "-v --verbosity", int, RUN, 1, "0 prints the final table only, 1 also progress, 2 also the terms per factor",
        low=0, high=2, identity=False,
    )

    format: int = FORMAT  # see `utils.config.formats`; no flag sets it

    @property
    def factors(self) -> tuple[tuple[str, int], ...]:
        """(kind, dimension) of each factor of the latent space in order; one where there is no product.

        The dimension is the intrinsic one of a manifold, or what `Kind.size` names for discrete codes.
        """
        if self.z_dims is None:
            assert self.name is not None
            return ((self.name, getattr(self, KINDS[self.name].size)),)
        ordered = (self.distribution, *continuous())  # a letter means the chosen distribution, if that fits it
        kinds = {letter_of(kind): kind for kind in reversed(ordered) if kind is not None}
        return tuple((kinds[dim[0]], int(dim[1:])) for dim in self.z_dims)

    @property
    def runs(self) -> tuple[Config, ...]:
        """The configuration of each run that is asked for: one for each seed."""
        return tuple(dataclasses.replace(self, rs=self.rs + number, seeds=1) for number in range(self.seeds))

    @property
    def to_repeat(self) -> Config:
        """The same without what is meant for one call only: to move a run aside, to export it, how much to print."""
        return dataclasses.replace(
            self, overwrite=Config.overwrite, export=Config.export, verbosity=Config.verbosity
        )

    @property
    def space(self) -> str:
        """The latent space in symbols, such as `S^4 x S^4 x R^2` or `S^10 in R^11`, or its codes in words.

        From three on, equal factors that follow each other are counted: `S^3 x64`.
        """
        factors = [KINDS[kind].describe(dim, vars(self)) for kind, dim in self.factors]
        kind, dim = self.factors[0]
        alike = [(name, len(list(group))) for name, group in itertools.groupby(factors)]
        parts = [f"{name} x{count}" if count > 2 else " x ".join([name] * count) for name, count in alike]
        return " x ".join(parts) + (f" in R^{dim + 1}" if len(factors) == 1 and KINDS[kind].is_sphere else "")

    @property
    def model(self) -> str:
        """The model in words."""
        return f"{self.name} on {self.space}, {self.encode_type} encoder, {self.decode_type} decoder"

    @property
    def has_own_data(self) -> bool:
        """Whether the data set is the user's own."""
        return DATASETS[self.dataset].is_own

    @property
    def has_known_data(self) -> bool:
        """Whether the name of the data set fixes its content: its files are verified by their checksums."""
        return not (self.has_own_data or self.allow_unverified)

    def has(self, setting: str) -> bool:
        """Whether a model of this kind has a setting; `--kappa` is for spheres only, for example."""
        kinds = owners(setting)
        return not kinds or any(kind in kinds for kind, _ in self.factors)

    @property
    def kl_is_constant(self) -> bool:
        """Whether the KL of every factor is one number, whatever the image and the weights; see `Kind.constant_kl`."""
        reasons = {KINDS[kind].constant_kl for kind, _ in self.factors}
        return all(
            reason == "always" or (reason != "never" and getattr(self, reason) != getattr(Config, reason))
            for reason in reasons
        )


def identity_fields() -> list[dataclasses.Field[Any]]:
    """The fields with a flag that make two runs different ones; so does the format."""
    return [f for f in dataclasses.fields(Config) if f.name in flags_of(Config) and flag_of(f).identity]
