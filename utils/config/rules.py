"""What a configuration implies, and which settings contradict each other."""

from __future__ import annotations

import dataclasses
import os
import re
from string import Formatter

from hyperspherical_vae.kinds import KINDS
from utils.config.config import NO_FIGURES, PRODUCT, Config, continuous, default_kind, letter_of, owners
from utils.config.flags import UsageError, bare, flags_of, shown
from utils.config.networks import NETWORKS


def resolve(config: Config) -> Config:
    """Fill in what is implied, and refuse what contradicts itself.

    Raises:
        UsageError: two settings contradict each other.
    """
    name = config.name or (PRODUCT if config.z_dims is not None else config.distribution or default_kind())
    config = dataclasses.replace(config, name=name)
    config = _product(config) if name == PRODUCT else _single(config)
    if "positions" in KINDS[config.factors[0][0]].all_settings:
        config = _positions(config)
    for check in (_check_kinds, _check_parts, _check_epochs, _check_words):
        check(config)
    return config


def _product(config: Config) -> Config:
    """A product space with its factors spelled in full."""
    if config.z is not None:
        raise UsageError(
            f"-z {config.z}: is the dimension of a single latent space; a product space takes -zd, such as -zd 5,5"
        )
    if config.z_dims is None:
        raise UsageError(f"-n {PRODUCT}: needs its decomposition; add -zd, such as -zd 5,5 or -zd s5,e4")
    factors = tuple(_factor(dim, config.distribution) for dim in config.z_dims)
    return dataclasses.replace(config, z_dims=factors, distribution=config.distribution or default_kind())


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
    letter = match[1] or letter_of(distribution or default_kind())
    if letters[letter] == "S" and distribution is not None and not KINDS[distribution].is_sphere:
        own = f"{letter_of(distribution)}{match[2]}"
        raise UsageError(f"-zd: the sphere {text!r} contradicts -dis {distribution}; write {own}, or leave -dis out")
    return f"{letter}{int(match[2])}"


def _single(config: Config) -> Config:
    """A single latent space with its dimension."""
    name, distribution = str(config.name), config.distribution
    kind = KINDS[name]
    if distribution not in (None, name):
        raise UsageError(f"-dis {distribution}: contradicts -n {name}; leave -dis out or give -n {distribution}")
    sizes = "-z" if kind.size == "z" else " and ".join(f"--{part}" for _, part, _, _ in Formatter().parse(kind.space))
    if config.z_dims is not None:
        given = bare(",".join(config.z_dims))
        raise UsageError(f"-zd {given}: is for -n {PRODUCT}, but -n is {name}; use {sizes} for one space")
    if kind.is_discrete:
        if config.z is not None:
            raise UsageError(f"-z {config.z}: is for continuous latents; -n {name} takes {sizes}")
        return config
    return dataclasses.replace(config, distribution=name, z=config.z or 10)


def _positions(config: Config) -> Config:
    """The number of codes per image, where the encoder leaves it open."""
    if not NETWORKS[config.encode_type].has_map:
        return dataclasses.replace(config, positions=config.positions or 9)
    if config.positions is not None:
        others = " or ".join(name for name, network in NETWORKS.items() if not network.has_map)
        raise UsageError(
            f"--positions {config.positions}: a {config.encode_type} encoder has one code per cell of its last map; "
            f"leave it out, or use -et {others}"
        )
    return config


def _given(config: Config, *names: str) -> str | None:
    """The first of these settings that differs from its default, as its flag, or None."""
    defaults = vars(Config())
    changed = (name for name in names if getattr(config, name) != defaults[name])
    return next((flags_of(Config)[name].names[-1] for name in changed), None)


def _typed(config: Config, name: str) -> str:
    """A setting as one would type it."""
    value, word = getattr(config, name), flags_of(Config)[name].names[0]
    if isinstance(value, float):
        return f"{word} {value:g}"
    return word if value is True else f"{word} {value}"


def _check_kinds(config: Config) -> None:
    """Refuse what the kinds of latent of this model do not have."""
    for name in flags_of(Config):
        if not config.has(name) and _given(config, name):
            kinds = " or ".join(owners(name))
            raise UsageError(f"{_typed(config, name)}: is for -n {kinds}, but -n is {config.name} ({config.space})")
    kinds = [KINDS[kind] for kind, _ in config.factors]
    if config.val_nll and (without := [kind for kind in kinds if not kind.density]):
        raise UsageError(f"-vll: a {without[0].title} latent has no log p(x); leave it out")
    fixed = {kind.constant_kl for kind in kinds}
    constant = all(reason == "always" or (reason != "never" and _given(config, reason)) for reason in fixed)
    if constant and (extra := _given(config, "kl_target", "beta", "kl_freeze")):
        (reason, *_) = sorted(fixed)
        told = f"-n {config.name}" if reason == "always" else _typed(config, reason)
        raise UsageError(f"{extra}: has no effect with {told}, whose KL is constant; leave it out")


def _check_parts(config: Config) -> None:
    """Refuse settings of a part that this run does not have."""
    if config.temperature_min > config.temperature:
        raise UsageError(
            f"--temperature_min {config.temperature_min:g}: is above --temperature, which is {config.temperature:g}"
        )
    if config.vq_prior != "autoregressive" and (extra := _given(config, "vq_prior_epochs")):
        raise UsageError(f"{extra}: is for --vq_prior autoregressive; add that")
    if not config.classifier and (extra := _given(config, "classifier_weight", "labels")):
        raise UsageError(f"{extra}: is for a classifier; add --classifier")
    if config.figures and NO_FIGURES in config.figures and len(config.figures) > 1:
        raise UsageError(f"--figures {bare(','.join(config.figures))}: {NO_FIGURES} stands alone; leave it out")
    if config.image_size is not None and len(config.image_size) != 2:
        given = bare(",".join(map(str, config.image_size)))
        raise UsageError(f"--image_size {given}: needs height and width, such as 64,64")
    if config.dataset != "folder" and (config.image_size is not None or config.grey):
        raise UsageError(f"{'--grey' if config.grey else '--image_size'}: is for -d folder, but -d is {config.dataset}")


def _check_epochs(config: Config) -> None:
    """Refuse epochs and seeds that leave nothing to choose a model by."""
    if config.rs + config.seeds > 2**31:
        raise UsageError(
            f"--seeds {config.seeds}: with -rs {config.rs} the last seed would be {config.rs + config.seeds - 1}; "
            f"{2**31 - 1} is the highest"
        )
    last_validation = config.epochs // config.val_f * config.val_f
    if not last_validation:
        raise UsageError(
            f"-vf {config.val_f}: no validation would come, with -e {config.epochs}; it may be at most that"
        )
    if last_validation <= config.burn_in:
        raise UsageError(
            f"-bi {config.burn_in}: no validation would come after it, with -e {config.epochs} and -vf {config.val_f}; "
            f"it must be below {last_validation}"
        )
    if config.look_ahead < config.val_f:
        raise UsageError(
            f"-la {config.look_ahead}: must be at least -vf, which is {config.val_f}; only a validation shows progress"
        )
    if config.kl_freeze >= config.epochs:
        raise UsageError(f"-klf {config.kl_freeze}: must be below -e, which is {config.epochs}")


def _check_words(config: Config) -> None:
    """Refuse words that cannot name a folder."""
    if config.exp_name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}", config.exp_name):
        raise UsageError(
            f"-en: {shown(config.exp_name)} cannot name a folder; allowed: up to 80 letters, digits and . _ + -, "
            "a letter or digit first"
        )
    for given, value in (("--data_dir", config.data_dir), ("-ld", config.log_dir)):
        if not _is_path(value):
            raise UsageError(f"{given}: {shown(value)} cannot be a folder; give a path")


def _is_path(text: str) -> bool:
    try:
        return bool(text) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
