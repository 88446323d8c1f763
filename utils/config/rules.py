"""What a configuration implies, and which settings contradict each other."""

import dataclasses
import re
from pathlib import Path

from hyperspherical_vae.kinds import KINDS
from utils.config.config import DEFAULT, PRODUCT, Config, continuous, letter_of, owners
from utils.config.flags import UsageError, bare, flags_of, refuse, shown
from utils.config.formats import FIRST
from utils.config.networks import NETWORKS
from utils.config.schedule import last_validation
from utils.data.sets import DATASETS


def resolve(config: Config) -> Config:
    """Fill in what is implied, and refuse what contradicts itself.

    Raises:
        UsageError: two settings contradict each other.
    """
    name = config.name or (PRODUCT if config.z_dims is not None else config.distribution or DEFAULT)
    config = dataclasses.replace(config, name=name, data_name=_data_name(config))
    config = _product(config) if name == PRODUCT else _single(config)
    for check in (_check_parts, _check_objective, _check_epochs):
        check(config)
    return config


def _data_name(config: Config) -> str:
    """What the data set is called in results/ and in tables."""
    if not config.has_own_data:
        if config.data_name not in (None, config.dataset):
            raise UsageError(f"--data_name {config.data_name}: is for your own data; -d {config.dataset} has its name")
        return config.dataset
    place = Path(config.data_dir).absolute().name.removesuffix(".npz").removesuffix(".npy")
    name = config.data_name or re.sub(r"[^A-Za-z0-9._+-]+", "-", place).lstrip("._+-")[:80] or "own"
    if name in DATASETS and config.format != FIRST:
        given = f"--data_name {name}" if config.data_name else f"--data_dir {bare(config.data_dir)}"
        raise UsageError(f"{given}: {name} is the name of a built-in data set; give your own data another --data_name")
    return name


def _product(config: Config) -> Config:
    """A product space with its factors spelled in full."""
    if config.z is not None:
        raise UsageError(
            f"-z {config.z}: is the dimension of a single latent space; a product space takes -zd, such as -zd 5,5"
        )
    if config.z_dims is None:
        raise UsageError(f"-n {PRODUCT}: needs its decomposition; add -zd, such as -zd 5,5 or -zd s5,e4")
    factors = tuple(_factor(dim, config.distribution) for dim in config.z_dims)
    return dataclasses.replace(config, z_dims=factors, distribution=config.distribution or DEFAULT)


def _factor(text: str, distribution: str | None) -> str:
    """A factor of a product space as its letter and dimension, such as s4."""
    letters = {letter_of(kind): KINDS[kind].symbol for kind in continuous()}
    match = re.fullmatch(r"([a-z]*)([0-9]{1,5})", text)
    if not match or match[1] not in ("", *letters) or not 1 <= int(match[2]) <= 10_000:
        examples = ", ".join(f"{letter}4 for {symbol}^4" for letter, symbol in letters.items())
        raise UsageError(
            f"-zd: {shown(text)} is not a factor; write 4 or {examples}; each from 1 to 10000"
            + ("; auto:... stands for several runs, see python -m utils.sweep --help" if text[:4] == "auto" else "")
        )
    letter = match[1] or letter_of(distribution or DEFAULT)
    # Without -dis a letter means the first kind of its symbol; naming that of R^d can only be meant for all factors.
    if letters[letter] == "S" and distribution == next(kind for kind in continuous() if KINDS[kind].symbol == "R"):
        own = f"{letter_of(distribution)}{match[2]}"
        raise UsageError(f"-zd: the sphere {text!r} contradicts -dis {distribution}; write {own}, or leave -dis out")
    return f"{letter}{int(match[2])}"


def _single(config: Config) -> Config:
    """A single latent space with its dimension, or with its codes per image where the encoder leaves them open."""
    name, distribution = str(config.name), config.distribution
    kind = KINDS[name]
    if distribution not in (None, name):
        raise UsageError(f"-dis {distribution}: contradicts -n {name}; leave -dis out or give -n {distribution}")
    if config.z_dims is not None:
        given = bare(",".join(config.z_dims))
        raise UsageError(f"-zd {given}: is for -n {PRODUCT}, but -n is {name}; use -z for one space")
    if not kind.is_discrete:
        return dataclasses.replace(config, distribution=name, z=config.z or 10)
    if "positions" in kind.all_settings and not NETWORKS[config.encode_type].has_map:
        return dataclasses.replace(config, positions=config.positions or 9)
    return config


def _given(config: Config, *names: str) -> str | None:
    """The first of these settings that differs from its default, as one would type it, or None."""
    for name in names:
        value, word = getattr(config, name), flags_of(Config)[name].names[0]
        if value != getattr(Config, name):
            parts = value if isinstance(value, tuple) else (value,)
            text = ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)
            return word if value is True else f"{word} {bare(text)}"
    return None


def _check_parts(config: Config) -> None:
    """Refuse settings of what this run does not have: another kind of latent, a classifier, a folder of images."""
    for name, flag in flags_of(Config).items():
        extra = _given(config, name)
        if extra and not config.has(name):
            able = " or ".join(owners(name))
            raise UsageError(f"{extra}: is for -n {able}, but -n is {config.name} ({config.space})")
        if extra and flag.needs and getattr(config, flag.needs[0]) != flag.needs[1]:
            other = _given(Config(**dict([flag.needs])), flag.needs[0])
            raise UsageError(f"{extra}: is for {other}; add that, or leave it out")
    others = " or ".join(name for name, network in NETWORKS.items() if not network.has_map)
    refuse(
        (
            config.positions is not None and NETWORKS[config.encode_type].has_map,
            f"--positions {config.positions}: a {config.encode_type} encoder has one code per cell of its last map; "
            f"leave it out, or use -et {others}",
        ),
        (
            config.image_size is not None and len(config.image_size) != 2,
            f"{_given(config, 'image_size')}: needs height and width, such as 64,64",
        ),
        (
            config.temperature_min > config.temperature,
            f"--temperature_min {config.temperature_min:g}: is above --temperature, which is {config.temperature:g}",
        ),
    )


def _check_objective(config: Config) -> None:
    """Refuse what has no meaning for the KL or the density of this latent."""
    kinds = [KINDS[kind] for kind, _ in config.factors]
    if config.val_nll and not all(kind.density for kind in kinds):
        raise UsageError(f"-vll: the latent space of -n {config.name} has no density and so no log p(x); leave it out")
    if config.kl_is_constant and (extra := _given(config, "kl_target", "beta", "kl_freeze")):
        reasons = {kind.constant_kl for kind in kinds}
        cause = f"-n {config.name}" if "always" in reasons else _given(config, *reasons)
        raise UsageError(f"{extra}: has no effect with {cause}, whose KL is constant; leave it out")
    if config.kappa is not None and (extra := _given(config, "kappa_start")):
        raise UsageError(f"{extra}: has no effect with {_given(config, 'kappa')}, which fixes it; leave it out")


def _check_epochs(config: Config) -> None:
    """Refuse epochs and seeds that leave nothing to choose a model by."""
    last = last_validation(config)
    refuse(
        (
            config.rs + config.seeds > 2**31,
            f"--seeds {config.seeds}: with -rs {config.rs} the last seed would be {config.rs + config.seeds - 1}; "
            f"{2**31 - 1} is the highest",
        ),
        (
            not last,
            f"-vf {config.val_f}: no validation would come, with -e {config.epochs}; it may be at most that",
        ),
        (
            config.burn_in is not None and last <= config.burn_in,
            f"-bi {config.burn_in}: no validation would come after it, with -e {config.epochs} and -vf {config.val_f}; "
            f"it must be below {last}",
        ),
        (
            config.look_ahead < config.val_f,
            f"-la {config.look_ahead}: must be at least -vf, which is {config.val_f}; only a validation shows progress",
        ),
        (
            config.lr_plateau and not config.val_f <= config.lr_plateau < config.look_ahead,
            f"--lr_plateau {config.lr_plateau}: must be at least -vf, which is {config.val_f}, and below -la, which is "
            f"{config.look_ahead}: training would stop before the learning rate falls",
        ),
        (
            config.kl_freeze >= config.epochs,
            f"-klf {config.kl_freeze}: must be below -e, which is {config.epochs}",
        ),
    )
