"""What a data set is, and how its files are read and verified."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from utils.data.files import Array, DataError, DataFile, missing_text, stored_places

Arrays: TypeAlias = "tuple[Array, Array | None]"


@dataclass
class Loaded:
    """What a data set's own module reads, and what the files decide where the data set's facts leave it open.

    Attributes:
        train, val, test: Images (N, C, H, W), and labels (N,) or None.
        class_names: Names of the classes.
        likelihood, levels: As in `DataSet`.
        moments: Mean and standard deviation (C, H, W) by which real values were standardized.
        index: For each split which example of the user's data each is, (N,); see `Split`.
    """

    train: Arrays
    val: Arrays
    test: Arrays
    _: KW_ONLY
    class_names: tuple[str, ...] = ()
    likelihood: str = ""
    levels: int = 0
    moments: tuple[Array, Array] | None = None
    index: Sequence[Array] | None = None


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes:
        name: The word given to `-d`.
        title: What it is, in a few words.
        shape: (C, H, W), or None where the files decide.
        likelihood: A key of `hyperspherical_vae.kinds.LIKELIHOODS`: the one used unless another is asked for; empty
            where the files decide.
        levels: The highest pixel value; 0 where the files decide.
        source: Where it comes from.
        licence: Licence or terms, as far as they are stated.
        split_rule: How the splits come about.
        read: Reads the files.
        files: The files that it consists of.
        splits: Images in the training, validation and test split; None where the files decide.
        classes: Number of classes; 0 without labels, or where the files decide.
        class_names: Names of the classes, where they are known beforehand.
    """

    name: str
    title: str
    shape: tuple[int, int, int] | None
    likelihood: str
    levels: int
    source: str
    licence: str
    split_rule: str
    read: Callable[[Source], Loaded]
    files: tuple[DataFile, ...] = ()
    splits: tuple[int, int, int] | None = None
    classes: int = 0
    class_names: tuple[str, ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether it stands for the user's own files, which decide what it is."""
        return self.shape is None


@dataclass
class Source:
    """What a data set is read from.

    Attributes:
        settings: A `Config`, or any object with those of its fields that are about data: `dataset`, `data_dir`,
            `allow_unverified`, `image_size`, `grey` and `loss_function`.
        files: The files that it consists of.
        notes: What the user should know after loading; whoever reads adds to them.
    """

    settings: Any
    files: tuple[DataFile, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return Path(self.settings.data_dir)

    def read(self, file: DataFile) -> Any:
        """Return the values of one file, from the first place where it is sound.

        A broken copy beside a whole one does no harm: only if no place holds the known content is one taken that
        differs, and that only if unverified files are allowed.

        Returns:
            What `file.parse` returns; for an archive, a list of what its parts hold.

        Raises:
            DataError: The file can be read nowhere, or is not the known one and unverified files are not allowed.
        """
        try:
            return self._read(file, trust=False)
        except DataError:
            if not self.settings.allow_unverified:
                raise
            return self._read(file, trust=True)

    def _read(self, file: DataFile, trust: bool) -> Any:
        problem = None
        if file.parts and all(stored_places(part, self.folder) for part in file.parts):
            try:
                return [self._read(part, trust) for part in file.parts]
            except DataError as error:
                problem = error
        for place in stored_places(file, self.folder):
            try:
                values, difference = file.read(place, trust)
            except DataError as error:
                problem = problem or error
                continue
            if difference:
                self.notes.append(f"unverified: {place} is used although it is not the known file ({difference})")
            return values
        raise problem or DataError(missing_text([file], self.folder, "not found"))
