"""A run described in one frozen object, and the flags that fill it.

`Config` is the only thing the rest of the program knows of the command line. Each field carries its own flag: spelling,
help, allowed values. Importing this module and answering `--help` or a usage error costs milliseconds: nothing heavy is
imported here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

from utils.config.flags import UsageError, flag, flag_of, nearest, shown
from utils.config.rules import resolve
from utils.config.system_settings import CLASSIFIER, CODES, DISCRETE, EMBEDDINGS, SPHERICAL, SystemSettings
from utils.data.catalogue import DATASETS

MODEL, OBJECTIVE, TRAINING = "model", "objective", "training"
EVALUATION, DATA, RUN = "evaluation", "data", "run"
GROUPS = (MODEL, CODES, OBJECTIVE, CLASSIFIER, TRAINING, EVALUATION, EMBEDDINGS, DATA, RUN)


@dataclass(frozen=True)
class Config(SystemSettings):
    """Everything that defines a run. `None` means "implied by the rest"; `resolve` fills it in."""

    name: str | None = flag(
        "-n --name",
        "str",
        MODEL,
        None,
        "kind of model; implied by -dis or -zd, else vmf",
        choices=("vmf", "normal", "powerspherical", "productspace", *DISCRETE),
    )
    distribution: str | None = flag(
        "-dis --distribution",
        "str",
        MODEL,
        None,
        "distribution of the latent, implied by -n; under productspace that of factors given as plain numbers (vmf)",
        choices=("vmf", "normal", "powerspherical"),
    )
    z: int | None = flag(
        "-z --z",
        "int",
        MODEL,
        None,
        "dimension of the latent space; 10 on a sphere is S^10 in R^11 (10)",
        low=1,
        high=10_000,
    )
    z_dims: tuple[str, ...] | None = flag(
        "-zd --z_dims",
        "strs",
        MODEL,
        None,
        "decomposition of a product space: 4,4 under -dis vmf is S^4 x S^4; s4,s4,e2 is S^4 x S^4 x R^2",
    )
    h_dims: tuple[int, ...] | None = flag(
        "-hd --h --h_dims",
        "ints",
        MODEL,
        None,
        "hidden units of the encoder, reversed for the decoder (mlp 256,128); channels of each halving for cnn (16,32)",
        low=1,
        high=100_000,
    )
    encode_type: str = flag("-et --encode_type", "str", MODEL, "mlp", "network of the encoder", choices=("mlp", "cnn"))
    decode_type: str = flag("-dt --decode_type", "str", MODEL, "mlp", "network of the decoder", choices=("mlp", "cnn"))
    no_bias: bool = flag("--no_bias", "bool", MODEL, False, "leave the biases of encoder and decoder out")
    covariance_matrix: str = flag(
        "-cvm --covariance_matrix",
        "str",
        MODEL,
        "diagonal",
        "covariance of a normal latent",
        choices=("single", "diagonal", "full"),
    )
    kappa: float | None = flag(
        "--kappa",
        "float",
        MODEL,
        None,
        "fix the concentration of every sphere instead of learning it per input",
        low=0,
        high=1e8,
    )
    radius: float = flag("--radius", "float", MODEL, 1.0, "radius of every sphere", above=0, high=1e6)
    loss_function: str | None = flag(
        "-lf --loss_function",
        "str",
        MODEL,
        None,
        "likelihood of the pixels: bce Bernoulli, mse Gaussian, logistic discretized logistic; else the data set's own",
        choices=("bce", "mse", "logistic"),
    )

    beta: float = flag("-b --beta", "float", OBJECTIVE, 1.0, "scale of the KL divergence", low=0, high=1e6)
    kl_warmup: int = flag(
        "-klw --kl_warmup",
        "int",
        OBJECTIVE,
        100,
        "epochs over which the KL is scaled linearly up to full weight (0: none)",
        low=0,
        high=10**7,
    )
    kl_freeze: int = flag(
        "-klf --kl_freeze", "int", OBJECTIVE, 0, "epochs without KL before the warm-up begins", low=0, high=10**7
    )
    kl_target: float = flag(
        "-klt --kl_target",
        "float",
        OBJECTIVE,
        0.0,
        "nats of KL to aim for: the weighted term is |KL - target|, 0 being the ordinary objective",
        low=0,
        high=1e6,
    )

    epochs: int = flag(
        "-e --epochs",
        "int",
        TRAINING,
        200,
        "epochs to train at most; a finished run can be given more",
        low=1,
        high=10**7,
        identity=False,
    )
    lr: float = flag("-lr --lr", "float", TRAINING, 1e-3, "learning rate of Adam", above=0, high=1e3)
    batch_size: int = flag("-bs --batch_size", "int", TRAINING, 100, "images in a batch", low=1, high=10**6)
    burn_in: int = flag(
        "-bi --burn_in",
        "int",
        TRAINING,
        0,
        "epochs before the best model is recorded and patience counted",
        low=0,
        high=10**7,
    )
    look_ahead: int = flag(
        "-la --look_ahead",
        "int",
        TRAINING,
        50,
        "epochs to go on without a better validation ELBO before stopping early",
        low=1,
        high=10**7,
    )
    min_improv: float = flag(
        "-mi --min_improv",
        "float",
        TRAINING,
        0.01,
        "nats by which the validation ELBO must rise to count as better",
        low=0,
        high=1e6,
    )
    max_restarts: int = flag(
        "-mr --max_restarts",
        "int",
        TRAINING,
        20,
        "reloads after a non-finite loss or gradient before giving up",
        low=0,
        high=10**6,
    )
    val_f: int = flag("-vf --val_f", "int", TRAINING, 1, "epochs from one validation to the next", low=1, high=10**7)
    save_f: int = flag(
        "-sf --save_f", "int", TRAINING, 1, "epochs from one checkpoint to the next", low=1, high=10**7, identity=False
    )
    compile: bool = flag(
        "--compile",
        "bool",
        TRAINING,
        False,
        "compile the training step: each is faster, after a start of some ten seconds; needs a C++ compiler",
    )

    ll_sample: int = flag(
        "-lls --ll_sample",
        "int",
        EVALUATION,
        500,
        "importance samples K per image for log p(x)",
        low=1,
        high=10**7,
        identity=False,
    )
    val_nll: bool = flag(
        "-vll --val_nll", "bool", EVALUATION, False, "also estimate log p(x) at every validation, with 10 samples"
    )

    dataset: str = flag("-d --dataset", "str", DATA, "mnist", "data set to train on", choices=tuple(DATASETS))
    data_dir: str = flag(
        "--data_dir",
        "str",
        DATA,
        "data",
        "folder with the data sets, or with your images for -d folder",
        identity=False,
    )
    binarize: bool = flag(
        "-bnz --binarize", "bool", DATA, False, "binarize the training images once instead of anew in every batch"
    )
    image_size: tuple[int, int] | None = flag(
        "--image_size", "ints", DATA, None, "height and width that -d folder scales images to (64,64)", low=1, high=4096
    )
    grey: bool = flag("--grey", "bool", DATA, False, "read the images of -d folder without colour")
    allow_unverified: bool = flag(
        "--allow_unverified", "bool", DATA, False, "use data files that differ from the known ones"
    )
    list_datasets: bool = flag(
        "--list_datasets", "bool", DATA, False, "list the data sets and what is on disk, and stop", identity=False
    )

    rs: int = flag("-rs --rs", "int", RUN, 1, "random seed", low=0, high=2**31 - 1)
    seeds: int = flag(
        "--seeds",
        "int",
        RUN,
        1,
        "runs to do one after the other, with the seeds from -rs on; their mean and standard deviation come last",
        low=1,
        high=10_000,
        identity=False,
    )
    device: str = flag(
        "--device",
        "str",
        RUN,
        "auto",
        "where to compute; auto takes CUDA if there is a card",
        choices=("auto", "cpu", "cuda"),
    )
    exp_name: str | None = flag(
        "-en --exp_name", "str", RUN, None, "first part of the folder's name, in place of the model's", identity=False
    )
    log_dir: str = flag("-ld --log_dir", "str", RUN, "results", "folder that holds the runs", identity=False)
    overwrite: bool = flag(
        "--overwrite", "bool", RUN, False, "move a run that is there aside and start anew", identity=False
    )
    pdf: bool = flag("--pdf", "bool", RUN, False, "write the figures as PDF files too", identity=False)
    tensorboard: bool = flag(
        "--tensorboard", "bool", RUN, False, "write scalars and figures for TensorBoard too (an extra)", identity=False
    )
    pf: int = flag(
        "-pf --pf", "int", RUN, 1, "epochs from one printed line to the next", low=1, high=10**7, identity=False
    )
    verbosity: int = flag(
        "-v --verbosity",
        "int",
        RUN,
        1,
        "0 prints the final table only, 1 also progress, 2 also the terms per factor",
        low=0,
        high=2,
        identity=False,
    )

    @property
    def factors(self) -> tuple[tuple[str, int], ...]:
        """(distribution, dimension) of each factor of the latent space in order; one where there is no product.

        A discrete latent is one factor: its dimension is its number of variables, or that of a code.
        """
        if self.name in DISCRETE:
            return ((str(self.name), self.variables if self.name == "gumbel" else self.code_dim),)
        if self.z_dims is None:
            assert self.distribution is not None
            assert self.z is not None
            return ((self.distribution, self.z),)
        sphere = self.distribution if self.distribution in SPHERICAL else "vmf"
        assert sphere is not None
        return tuple((sphere if dim[0] == "s" else "normal", int(dim[1:])) for dim in self.z_dims)

    @property
    def runs(self) -> tuple[Config, ...]:
        """The configuration of each run that is asked for: one for each seed."""
        return tuple(dataclasses.replace(self, rs=self.rs + number, seeds=1) for number in range(self.seeds))

    @property
    def space(self) -> str:
        """The latent space in symbols, such as `S^4 x S^4 x R^2` or `S^10 in R^11`."""
        if self.name == "gumbel":
            return f"{self.variables} variables of {self.categories} categories"
        if self.name == "vq":
            return f"{self.positions or 'a map'} of {self.codes} codes in R^{self.code_dim}"
        parts = [f"R^{dim}" if kind == "normal" else f"S^{dim}" for kind, dim in self.factors]
        kind, dim = self.factors[0]
        return parts[0] + (f" in R^{dim + 1}" if kind != "normal" else "") if len(parts) == 1 else " x ".join(parts)

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits that name the run: of all that defines it and differs from the default.

        Leaving out defaults keeps the name of an old run when a later version adds a flag.
        """
        chosen = {f.name: getattr(self, f.name) for f in identity_fields() if getattr(self, f.name) != f.default}
        if self.dataset == "folder":  # elsewhere the name says which images they are
            chosen["data_dir"] = os.path.abspath(self.data_dir)
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Read what `to_json` wrote, by this version or an older one (absent fields take their defaults).

        Raises:
            UsageError: the text is no JSON object, names an unknown field, or a value is not allowed.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"the configuration is not valid JSON ({error})") from None
        if not isinstance(values, dict):
            raise UsageError(f"the configuration must be a JSON object, not {type(values).__name__}")
        fields = {f.name: f for f in dataclasses.fields(cls)}
        for key, value in values.items():
            if key not in fields:
                raise UsageError(f"{shown(key)}: unknown field in the configuration{nearest(key, fields)}")
            if isinstance(value, list):
                value = tuple(value)
            # Not "where it differs from the default": 200.0 is equal to 200, and no number of epochs.
            if value is not None or fields[key].default is not None:
                flag_of(fields[key]).check(key, value)
            values[key] = float(value) if isinstance(value, int) and flag_of(fields[key]).kind == "float" else value
        return resolve(cls(**values))


def identity_fields() -> list[dataclasses.Field[Any]]:
    """The fields that make two runs different ones."""
    return [f for f in dataclasses.fields(Config) if flag_of(f).identity]
