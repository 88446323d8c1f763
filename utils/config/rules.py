"""What a configuration implies, and which settings contradict each other."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import TYPE_CHECKING

from utils.config.flags import UsageError, bare, shown
from utils.config.system_settings import DISCRETE, check_systems

if TYPE_CHECKING:
    from utils.config.config import Config


def _is_path(text: str) -> bool:
    try:
        return bool(text) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _factor(dim: str, distribution: str | None) -> str:
    match = re.fullmatch(r"([se]?)([0-9]{1,5})", dim)
    if not match or not 1 <= int(match[2]) <= 10_000:
        raise UsageError(
            f"-zd: {shown(dim)} is not a factor; write 4 or s4 for a sphere, e2 for a Euclidean one, "
            "each from 1 to 10000"
            + ("; auto:... stands for several runs, see python -m utils.sweep --help" if dim[:4] == "auto" else "")
        )
    letter = match[1] or ("e" if distribution == "normal" else "s")
    if letter == "s" and distribution == "normal":
        raise UsageError(f"-zd: the sphere {dim!r} contradicts -dis normal; write e{match[2]}, or leave -dis out")
    return f"{letter}{int(match[2])}"


def resolve(config: Config) -> Config:
    """Fill in what is implied, and refuse what contradicts itself.

    Raises:
        UsageError: two settings contradict each other.
    """
    name, distribution = config.name, config.distribution
    if name is None:
        name = "productspace" if config.z_dims is not None else distribution or "vmf"
    if name == "productspace":
        if config.z is not None:
            raise UsageError(
                f"-z {config.z}: is the dimension of a single latent space; a product space takes -zd, such as -zd 5,5"
            )
        if config.z_dims is None:
            raise UsageError("-n productspace: needs its decomposition; add -zd, such as -zd 5,5 or -zd s5,e4")
        distribution = distribution or "vmf"
        config = dataclasses.replace(config, z_dims=tuple(_factor(dim, config.distribution) for dim in config.z_dims))
    else:
        if distribution not in (None, name):
            raise UsageError(f"-dis {distribution}: contradicts -n {name}; leave -dis out or give -n {distribution}")
        if config.z_dims is not None:
            raise UsageError(
                f"-zd {bare(','.join(config.z_dims))}: is for -n productspace, but -n is {name}; use -z for one space"
            )
        if name in DISCRETE and config.z is not None:
            size = "--variables and --categories" if name == "gumbel" else "--codes and --code_dim"
            raise UsageError(f"-z {config.z}: is for continuous latents; -n {name} takes {size}")
        if name not in DISCRETE:
            distribution = name
            config = dataclasses.replace(config, z=config.z or 10)
    config = dataclasses.replace(config, name=name, distribution=distribution)

    config = check_systems(config)
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
    if config.exp_name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}", config.exp_name):
        raise UsageError(
            f"-en: {shown(config.exp_name)} cannot name a folder; allowed: up to 80 letters, digits and . _ + -, "
            "a letter or digit first"
        )
    if config.image_size is not None and len(config.image_size) != 2:
        given = bare(",".join(map(str, config.image_size)))
        raise UsageError(f"--image_size {given}: needs height and width, such as 64,64")
    if config.dataset != "folder" and (config.image_size is not None or config.grey):
        raise UsageError(f"{'--grey' if config.grey else '--image_size'}: is for -d folder, but -d is {config.dataset}")
    for given, value in (("--data_dir", config.data_dir), ("-ld", config.log_dir)):
        if not _is_path(value):
            raise UsageError(f"{given}: {shown(value)} cannot be a folder; give a path")
    return config
