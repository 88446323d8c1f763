"""The user's own images: a folder of class folders, or train, val and test folders of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.data.dataset import Arrays, DataSet, Loaded, Source
from utils.data.files import DataError, DataUsageError
from utils.data.splits import order_by_hash, stratified_split

if TYPE_CHECKING:
    import numpy as np

DEFAULT_SIZE = (64, 64)
EXTENSIONS = (".png", ".jpg", ".jpeg")
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
HELD_OUT = 0.1  # share of the images that a validation or test split takes where no folder gives it


@dataclass(frozen=True)
class _Candidate:
    path: Path
    key: str  # path relative to the root, the same on every machine
    split: str | None
    class_name: str | None


def read_image_folder(source: Source) -> Loaded:
    """Read PNG and JPEG images, labelled by the folder they lie in.

    Images are turned as their EXIF data say, laid on white where transparent, scaled to cover the wanted size and
    cropped to its middle, so that shapes keep their proportions. Where the folder has no folders for the splits, or
    lacks some, they are taken out of the rest by a hash of the paths, in equal shares of each class.

    Args:
        source: Its folder holds class folders, or folders train, val (or valid, validation) and test with class folders
            inside. A folder that holds images and no class folders gives images without labels. What was read, and
            what was skipped and why, is noted there.

    Raises:
        DataError: No folder, too few images, or an arrangement that could be read in two ways.
        DataUsageError: A size that no image can have.
    """
    root, size, grey = source.folder, source.settings.image_size or DEFAULT_SIZE, source.settings.grey
    if not all(1 <= length <= 4096 for length in size):
        raise DataUsageError(f"--image_size {size[0]},{size[1]}: height and width must lie between 1 and 4096")
    skipped: dict[str, list[str]] = {}
    candidates = _find(root, skipped)
    images, kept = _read_all(candidates, size, grey, skipped)
    if len(kept) < 3:
        raise DataError(
            f"{root} holds {len(kept)} readable PNG or JPEG image{'s' * (len(kept) != 1)}; at least 3 are needed, in a "
            f"folder for each class{_skip_text(skipped)}"
        )
    class_names = tuple(sorted({found.class_name for found in kept if found.class_name is not None}))
    splits = _split(images, kept, class_names)
    counts = ", ".join(f"{name} {len(part[0]):,}" for name, part in splits.items())
    classes = f"{len(class_names)} class{'es' * (len(class_names) != 1)}" if class_names else "no classes"
    source.notes.append(
        f"read {len(kept):,} images ({classes}) at {size[0]}x{size[1]} from {root}: {counts}{_skip_text(skipped)}"
    )
    return Loaded(splits["train"], splits["val"], splits["test"], class_names=class_names)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _find(root: Path, skipped: dict[str, list[str]]) -> list[_Candidate]:
    """List the image files under `root` with their split and class, in an order that does not depend on the machine."""
    if not os.path.isdir(root):
        raise DataError(f"{root} is not a folder; give the folder of your images with --data_dir")
    try:
        folders = _subfolders(root)
        meanings = [SPLIT_FOLDERS.get(path.name.lower()) for path in folders]
        _check_arrangement(root, folders, meanings)
        tops: list[tuple[Path, str | None]] = [(root, None)]
        if "train" in meanings and None not in meanings:
            tops = list(zip(folders, meanings, strict=True))
            _skip_files_of(root, root, skipped)
        found = []
        for top, split in tops:
            classes = _subfolders(top)
            if classes:
                _skip_files_of(top, root, skipped)
                for folder in classes:
                    found += _walk(folder, root, split, _printable(folder.name), skipped)
            else:
                found += _walk(top, root, split, None, skipped)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror or error}") from error
    if len({candidate.class_name is None for candidate in found}) > 1:
        raise DataError(f"{root} holds class folders in some of its split folders and none in others")
    return sorted(found, key=lambda candidate: candidate.key)


def _check_arrangement(root: Path, folders: list[Path], meanings: list[str | None]) -> None:
    """Refuse folders that could be read both as splits and as classes, or splits that are not a set of them."""
    splits = [path.name for path, meaning in zip(folders, meanings, strict=True) if meaning]
    classes = [path.name for path, meaning in zip(folders, meanings, strict=True) if not meaning]
    if splits and not classes and "train" not in meanings:
        raise DataError(f"{root} holds the split folders {', '.join(splits)} but no train folder")
    if classes and "train" in meanings and len(splits) > 1:
        raise DataError(
            f"{root} holds split folders ({', '.join(splits)}) beside others ({_printable(', '.join(classes))}); "
            "keep either the splits or the classes in it"
        )
    if not classes and len(set(meanings)) < len(meanings):
        raise DataError(f"{root} holds two folders for one split ({', '.join(splits)}); keep one of them")


def _skip_files_of(folder: Path, root: Path, skipped: dict[str, list[str]]) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix.lower() in EXTENSIONS and not path.name.startswith("."):
            skipped.setdefault("outside the class folders", []).append(_printable(path.relative_to(root).as_posix()))


def _walk(
    folder: Path, root: Path, split: str | None, class_name: str | None, skipped: dict[str, list[str]]
) -> list[_Candidate]:
    """Collect the image files in `folder` and below."""
    found = []
    for parent, subfolders, files in os.walk(folder, onerror=_raise):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith((".", "__")))
        for name in sorted(files):
            path = Path(parent, name)
            key = _printable(path.relative_to(root).as_posix())
            if name.startswith("."):
                continue
            if path.suffix.lower() not in EXTENSIONS:
                skipped.setdefault("not PNG or JPEG", []).append(key)
                continue
            found.append(_Candidate(path, key, split, class_name))
    return found


def _printable(name: str) -> str:
    """Replace bytes that are no UTF-8, which a file name may hold and a terminal refuses."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _raise(error: OSError) -> None:
    raise error


def _read_all(
    candidates: list[_Candidate], size: tuple[int, int], grey: bool, skipped: dict[str, list[str]]
) -> tuple[np.ndarray, list[_Candidate]]:
    """Decode all images, side by side: Pillow lets other threads run meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    channels = 1 if grey else 3
    images = np.empty((len(candidates), channels, *size), np.uint8)
    kept: list[_Candidate] = []
    with ThreadPoolExecutor() as pool:
        decoded = pool.map(lambda candidate: _read_image(candidate.path, size, grey), candidates)
        for candidate, image in zip(candidates, decoded, strict=True):
            if isinstance(image, str):
                skipped.setdefault(image, []).append(candidate.key)
            else:
                images[len(kept)] = image
                kept.append(candidate)
    return images[: len(kept)], kept


def _read_image(path: Path, size: tuple[int, int], grey: bool) -> np.ndarray | str:
    """Decode one image to (C, H, W), or say why it cannot be used."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        if not path.stat().st_size:
            return "empty"
        with Image.open(path, formats=("PNG", "JPEG")) as source:
            # Lets a JPEG decoder skip detail that scaling down would throw away.
            source.draft(None, (2 * max(size), 2 * max(size)))
            image = ImageOps.exif_transpose(source)
            if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
                image = Image.fromarray((np.asarray(image, np.float64) / 257).round().clip(0, 255).astype(np.uint8))
            if "A" in image.getbands() or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = ImageOps.fit(image.convert("L" if grey else "RGB"), size[::-1], Image.Resampling.BICUBIC)
    except Image.DecompressionBombError:
        return "too many pixels"
    except Exception:  # Damaged images lead Pillow's decoders to errors of a dozen kinds.
        return "damaged, or no PNG or JPEG inside"
    return np.asarray(image).reshape(*size, -1).transpose(2, 0, 1)


def _split(
    images: np.ndarray, kept: list[_Candidate], class_names: tuple[str, ...]
) -> dict[str, Arrays]:
    """Share the images out among the three splits."""
    import numpy as np

    number = {name: i for i, name in enumerate(class_names)}
    labels = np.array([number.get(found.class_name or "", 0) for found in kept], np.int64)
    given = np.array([found.split or "train" for found in kept])
    indices = {split: np.flatnonzero(given == split) for split in ("train", "val", "test")}
    lacking = [split for split in ("val", "test") if not len(indices[split])]
    pool = indices["train"]
    if len(pool) <= len(lacking):
        raise DataError(f"too few training images ({len(pool)}) to take {' and '.join(lacking)} images out of them")
    order = order_by_hash([kept[i].key for i in pool])
    share = max(1, round(HELD_OUT * len(pool)))
    parts = stratified_split(labels[pool], order, [share] * len(lacking))
    for split, part in zip(["train", *lacking], parts, strict=True):
        indices[split] = pool[part]
    return {split: (images[chosen], labels[chosen] if class_names else None) for split, chosen in indices.items()}


def _skip_text(skipped: dict[str, list[str]]) -> str:
    if not skipped:
        return ""
    reasons = []
    for reason, names in sorted(skipped.items()):
        shown = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
        reasons.append(f"{len(names):,} {reason} ({shown})")
    return f"; skipped {sum(map(len, skipped.values())):,}: {'; '.join(reasons)}"


SPEC = DataSet(
    name="folder",
    title="your own PNG or JPEG images, in --data_dir",
    shape=None,
    likelihood="logistic",
    levels=255,
    source="class folders, or train, val and test folders of them",
    licence="yours",
    split_rule="by folders, else 80 : 10 : 10, fixed, in equal shares of each class",
    read=read_image_folder,
)
