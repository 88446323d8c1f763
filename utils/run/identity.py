"""What a run is: its settings and the content of its data. Every file of a run says so, and is checked on reading."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hyperspherical_vae.kinds import KINDS
from utils.config.config import Config, identity_fields
from utils.config.formats import FIRST

LONGEST_NAME = 60  # characters of the first part of a folder's name, unless the user gives it
MARK = "made by version 1.0"  # what is said of the runs of the first format


@dataclass(frozen=True)
class Identity:
    """What a run is.

    Attributes:
        config: its settings.
        data: `Data.contents` of its data set; None where that is not loaded, which a run on known data can do without.
    """

    config: Config
    data: Mapping[str, Any] | None = None

    @property
    def is_first(self) -> bool:
        """Whether version 1.0 made it: such runs are shown and drawn, and neither resumed nor averaged with others."""
        return self.config.format == FIRST

    @cached_property
    def hash(self) -> str:
        """Eight hexadecimal digits that name the run: of its format, its data, and the settings that are not defaults.

        Leaving out defaults keeps the names of runs when a later version adds a flag.
        """
        config = self.config
        chosen = {f.name: getattr(config, f.name) for f in identity_fields() if getattr(config, f.name) != f.default}
        if not self.is_first:
            chosen["format"] = config.format
            if not config.has_known_data:
                assert self.data is not None, "what a run on such data is depends on their content"
                chosen["data"] = self.data["digest"]
        elif config.has_own_data:
            chosen["data_dir"] = os.path.abspath(config.data_dir)
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def data_set(self) -> tuple[str, str]:
        """The name of its data, and the digest of their content where the name does not fix that."""
        data = None if self.config.has_known_data else self.data
        return str(self.config.data_name), "" if data is None else data["digest"]

    @property
    def stamp(self) -> dict[str, Any] | None:
        """What every file of the run says of it; None for a run of version 1.0, whose files say nothing."""
        if self.is_first:
            return None
        stamp = {"format": self.config.format, "hash": self.hash, "seed": self.config.rs}
        return stamp if self.data is None else {**stamp, "data": self.data["digest"]}

    @property
    def folder(self) -> Path:
        """Its folder below `log_dir`: `mnist/vmf-z10__s1__9d3c01ab`."""
        config = self.config
        model = str(config.name) if self.is_first else f"{config.name}-{_size(config)}"[:LONGEST_NAME].rstrip(".")
        name = f"{config.exp_name or model}__s{config.rs}__{self.hash}"
        return Path(str(config.dataset if self.is_first else config.data_name)) / name

    @property
    def of_version_1(self) -> Identity:
        """The run that version 1.0 made of the same settings."""
        return Identity(dataclasses.replace(self.config, format=FIRST, burn_in=self.config.burn_in or None))

    def is_named_by(self, folder: Path) -> bool:
        """Whether a folder has the hash of this run in its name, as far as that can be known.

        What version 1.0 called a run on the user's own data depends on the folder in which it was started.
        """
        name = re.sub(r"\.old[0-9]+\Z", "", folder.resolve().name)  # of one that --overwrite moved aside
        return (self.is_first and self.config.has_own_data) or name.rpartition("__")[2] == self.hash

    def differs_in_data(self, other: Identity) -> bool:
        """Whether the two runs are equal but for the content of their data."""
        return self.data != other.data and Identity(self.config, other.data).hash == other.hash


def _size(config: Config) -> str:
    """The latent space in a word: `z10`, `s4.s4.e2` or, with many equal factors, `s1x64`."""
    if config.z_dims is None:
        return KINDS[str(config.name)].label(vars(config))
    counted = ((factor, len(list(equal))) for factor, equal in itertools.groupby(config.z_dims))
    return ".".join(".".join([factor] * count) if count < 3 else f"{factor}x{count}" for factor, count in counted)


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What changed from one content of a data set to another: `train 32 -> 40 (class a 10 -> 18)`."""
    parts = []
    for name, split in new["splits"].items():
        before = old["splits"][name]
        classes = [
            f"class {title} {before['classes'].get(title, 0)} -> {split['classes'].get(title, 0)}"
            for title in dict.fromkeys([*before["classes"], *split["classes"]])
            if before["classes"].get(title, 0) != split["classes"].get(title, 0)
        ]
        if before["examples"] != split["examples"] or classes:
            listed = f" ({', '.join(classes)})" if classes else ""
            parts.append(f"{name} {before['examples']} -> {split['examples']}{listed}")
        elif before["digest"] != split["digest"]:
            parts.append(f"{name}: {split['examples']} as before, of other content")
    return ", ".join(parts) or "they are scaled otherwise"
