"""The user's own images: a folder of class folders, or folders for the splits with class folders inside."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from utils.data.dataset import DataSet, Loaded, Source
from utils.data.files import Array, DataError, DataUsageError
from utils.data.splits import SPLIT_WORDS, SPLITS, order_by_hash, take_held_out
from utils.files import native_errors_to

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_SIZE = (64, 64)
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM", "GIF")
EXTENSIONS = tuple(".png .jpg .jpeg .jfif .bmp .webp .tif .tiff .pbm .pgm .ppm .pnm .gif".split())  # noqa: SIM905
# Of one image, before it is decoded: a pixel takes 8 bytes at most, and 16 in libwebp, so that an image takes 512 MB.
MAX_PIXELS, MAX_PIXELS_OF_WEBP = 64_000_000, 32_000_000
STRIP = 1 << 20  # pixels that are converted at a time
# Of a progressive JPEG: pixels times scans, of which a few bytes each make the decoder go over the whole image again.
MAX_PASSES = 40 * MAX_PIXELS
MAX_ENTRIES = 1_000_000
LARGE = 4_000_000  # pixels; of larger images only one is decoded at a time, lest they fill the memory together
WORKERS = 8  # images decoded at the same time
DEEPEST = 50  # folders in each other
OUTSIDE, OTHER_KIND = "outside the class folders", "of another kind"


@dataclass(frozen=True)
class _Candidate:
    path: Path
    key: str  # path relative to the root, the same on every machine
    split: str | None
    class_name: str | None


@dataclass
class _Search:
    """The images found in a folder, and the reasons why other files are skipped."""

    root: Path
    found: list[_Candidate] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    entries: int = 0

    def key(self, path: Path) -> str:
        return _printable(path.relative_to(self.root).as_posix())

    def skip(self, reason: str, path: Path) -> None:
        self.skipped.setdefault(reason, []).append(self.key(path))

    def collect(self, folder: Path, split: str | None, class_name: str | None, above: tuple[Path, ...] = ()) -> None:
        """Find the images in a folder and below, through links too.

        Args:
            folder: the folder.
            split, class_name: what its images belong to.
            above: the true paths of the folders that led here, none of which is entered again.
        """
        try:
            if (true := folder.resolve()) in above:
                return self.skip("a link in a circle", folder)
            if len(above) >= DEEPEST:
                return self.skip(f"more than {DEEPEST} folders deep", folder)
            folders, files = _entries(folder)
        except OSError as error:
            return self.skip(_reason(error), folder)
        self.entries += len(files) + len(folders)
        if self.entries > MAX_ENTRIES:
            raise DataError(
                f"{self.root} holds more than {MAX_ENTRIES:,} files and folders; give the folder of the images alone"
            )
        for path in files:
            if path.suffix.lower() in EXTENSIONS:
                self.found.append(_Candidate(path, self.key(path), split, class_name))
            else:
                self.skip(OTHER_KIND, path)
        for inner in folders:
            self.collect(inner, split, class_name, (*above, true))


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the files in a folder that are not hidden, in order.

    Raises:
        OSError: The folder cannot be read.
    """
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    folders = [path for path in paths if os.path.isdir(path)]
    return folders, [path for path in paths if not os.path.isdir(path)]


def read_image_folder(source: Source) -> Loaded:
    """Read images, labelled by the folder they lie in.

    Images are turned as their EXIF data say, laid on white where transparent, scaled to cover the wanted size and
    cropped to its middle, so that shapes keep their proportions. Where the folder has no folders for the splits, or
    lacks some, they are taken out of the rest by a hash of the paths, in equal shares of each class.

    Args:
        source: Its folder holds class folders, or folders for the splits with class folders inside. A folder that
            holds images and no class folders gives images without labels. What was read, and what was skipped and why,
            is noted there.

    Raises:
        DataError: No folder, too few images, or an arrangement that could be read in two ways.
        DataUsageError: A size that no image can have.
    """
    import numpy as np

    root, size, grey = source.folder, source.settings.image_size or DEFAULT_SIZE, source.settings.grey
    if not all(1 <= length <= 4096 for length in size):
        raise DataUsageError(f"--image_size {size[0]},{size[1]}: height and width must lie between 1 and 4096")
    search = _find(root)
    images, kept = _read_all(search, size, grey)
    skipped = _skip_text(search.skipped)
    if len(kept) < 3:
        raise DataError(
            f"{root} holds {len(kept)} readable image{'s' * (len(kept) != 1)}; at least 3 are needed, in a folder for "
            f"each class{skipped}"
        )
    class_names = tuple(sorted({found.class_name for found in kept if found.class_name is not None}))
    if vanished := {found.class_name for found in search.found} - {found.class_name for found in kept}:
        source.notes.append(f"no image can be read of class {', '.join(sorted(map(str, vanished)))}")
    rows, labels = _split(kept, class_names)
    size_text = f"{size[0]}x{size[1]}{', grey' * grey}"
    source.notes.append(f"read {len(kept):,} images at {size_text} from {root}{skipped}")
    keys = np.array([found.key for found in kept])
    return Loaded(
        *((images[rows[split]], labels[rows[split]] if class_names else None) for split in SPLITS),
        class_names=class_names,
        index=[keys[rows[split]] for split in SPLITS],
    )


def _find(root: Path) -> _Search:
    """List the image files under `root` with their split and class, in an order that does not depend on the machine."""
    if not root.is_dir():
        arrays = "; -d array reads a file of arrays" if root.is_file() and root.suffix in (".npz", ".npy") else ""
        raise DataError(f"{root} is not a folder; give the folder of your images with --data_dir{arrays}")
    search = _Search(root)
    try:
        for top, split in _split_folders(root):
            inside = _unwrapped(top)
            folders, files = _entries(inside)
            true = inside.resolve()
            for folder in folders:
                _refuse_nested(folder)
                search.collect(folder, split, _printable(folder.name), (true, *true.parents))
            for path in files if folders else ():
                if path.suffix.lower() in EXTENSIONS:
                    search.skip(OUTSIDE, path)
            if not folders:
                search.collect(inside, split, None, tuple(true.parents))
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror or error}") from error
    if len({candidate.class_name is None for candidate in search.found}) > 1:
        raise DataError(f"{root} holds class folders in some of its split folders and none in others")
    search.found.sort(key=lambda candidate: candidate.key)
    return search


def _unwrapped(folder: Path) -> Path:
    """The folder below one that holds a single folder and no image, where that is no class folder but a wrapper."""
    while True:
        folders, files = _entries(folder)
        images = any(path.suffix.lower() in EXTENSIONS for path in files)
        if images or len(folders) != 1 or not _inner_names(folders[0]):
            return folder
        folder = folders[0]


def _split_folders(root: Path) -> list[tuple[Path, str | None]]:
    """The folders of the splits, or the root alone where there are none.

    Raises:
        DataError: The folders could be read both as splits and as classes, or are not a set of splits.
    """
    inside = _unwrapped(root)
    folders, _ = _entries(inside)
    words = {path: SPLIT_WORDS.get(path.name.lower()) for path in folders}
    held_out = "val" if "test" in words.values() else "test"
    for path in folders:
        if path.name.lower() in ("eval", "evaluation"):  # a name for both, but never for images to train on
            words[path] = held_out
    splits = [path.name for path, word in words.items() if word]
    classes = [_printable(path.name) for path, word in words.items() if not word]
    if splits and not classes and "train" not in words.values():
        raise DataError(f"{inside} holds the split folders {', '.join(splits)} but no train folder")
    if classes and "train" in words.values() and len(splits) > 1:
        raise DataError(
            f"{inside} holds split folders ({', '.join(splits)}) beside others ({', '.join(classes)}); "
            "keep either the splits or the classes in it"
        )
    if not classes and len(set(words.values())) < len(words):
        raise DataError(f"{inside} holds two folders for one split ({', '.join(splits)}); keep one of them")
    return list(words.items()) if splits and not classes else [(inside, None)]


def _inner_names(folder: Path) -> list[str]:
    """The names of the folders in a folder; none where it cannot be read, which is said later."""
    try:
        return [path.name for path in _entries(folder)[0]]
    except OSError:
        return []


def _refuse_nested(folder: Path) -> None:
    """Refuse a class folder that holds split folders: it is a data set of its own."""
    splits = {name: SPLIT_WORDS[name.lower()] for name in _inner_names(folder) if name.lower() in SPLIT_WORDS}
    if len(set(splits.values())) > 1:
        raise DataError(f"{folder} holds split folders ({', '.join(splits)}), so it is no class; give it as --data_dir")


def _printable(name: str) -> str:
    """Replace bytes that are no UTF-8, which a file name may hold and a terminal refuses."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _read_all(search: _Search, size: tuple[int, int], grey: bool) -> tuple[Array, list[_Candidate]]:
    """Decode all images, side by side: Pillow lets other threads run meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    images = np.empty((len(search.found), 1 if grey else 3, *size), np.uint8)
    kept: list[_Candidate] = []
    with (
        warnings.catch_warnings(),
        open(os.devnull, "wb") as nowhere,
        native_errors_to(nowhere.fileno()),  # libtiff has a line for every oddity of a file
        ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool,
    ):
        # What Pillow warns of and logs is skipped for a reason, or does not show.
        warnings.simplefilter("ignore")
        logging.getLogger("PIL").addHandler(logging.NullHandler())
        large = threading.Lock()
        decoded = pool.map(lambda candidate: _read_image(candidate.path, size, grey, large), search.found)
        for candidate, image in zip(search.found, decoded, strict=True):
            if isinstance(image, str):
                search.skip(image, candidate.path)
            else:
                images[len(kept)] = image
                kept.append(candidate)
    return images[: len(kept)], kept


def _read_image(path: Path, size: tuple[int, int], grey: bool, large: threading.Lock) -> Array | str:
    """Decode one image to (C, H, W), or say why it cannot be used; only one that is large is decoded at a time."""
    from PIL import Image

    try:
        if not path.stat().st_size:
            return "empty"
        with Image.open(path, formats=FORMATS) as source:
            most = MAX_PIXELS_OF_WEBP if source.format == "WEBP" else MAX_PIXELS
            if source.width * source.height > most:
                return _too_large(most)
            if source.info.get("progressive") and source.width * source.height * _scans(path) > MAX_PASSES:
                return "of too many scans"
            if source.mode == "F":
                return "of real numbers, whose range no format states"
            if (source.format, source.mode) == ("TIFF", "I"):
                return "of whole numbers beyond 16 bits, whose range no format states"
            with large if source.width * source.height > LARGE else contextlib.nullcontext():
                # Lets a JPEG decoder skip detail that scaling down would throw away.
                source.draft(None, (2 * max(size), 2 * max(size)))
                return _fit(source, size, grey)
    except Exception as error:  # Damaged images lead Pillow's decoders to errors of a dozen kinds.
        return _reason(error)


def _scans(path: Path) -> int:
    """How many scans a JPEG file has, by their markers: nothing else that is compressed holds those bytes."""
    with path.open("rb") as file:
        return sum(part.count(b"\xff\xda") for part in iter(lambda: file.read(1 << 20), b""))


def _too_large(most: int) -> str:
    return f"of more than {most:,} pixels"


def _fit(source: Image.Image, size: tuple[int, int], grey: bool) -> Array:
    """An image turned, laid on white, scaled and cropped, (C, H, W)."""
    import numpy as np
    from PIL import Image, ImageOps

    ImageOps.exif_transpose(source, in_place=True)
    image = ImageOps.fit(_plain(source, "L" if grey else "RGB"), size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(*size, -1).transpose(2, 0, 1)


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """An image in grey ("L") or colour ("RGB"), laid on white where transparent.

    It is converted in strips, since what a pixel becomes on the way takes up to 30 bytes.
    """
    import numpy as np
    from PIL import Image

    is_transparent = "A" in image.getbands() or "transparency" in image.info
    if image.mode == mode and not is_transparent:
        return image
    plain, rows = Image.new(mode, image.size), max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        if strip.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
            strip = Image.fromarray((np.asarray(strip, np.float64) / 257).round().clip(0, 255).astype(np.uint8))
        if is_transparent:
            strip = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
        plain.paste(strip.convert(mode), (0, top))
    return plain


def _reason(error: Exception) -> str:
    """Why something in the folder cannot be used."""
    if isinstance(error, PermissionError):
        return "without permission to read"
    if isinstance(error, FileNotFoundError):
        return "links to nothing"
    if type(error).__name__ == "DecompressionBombError":  # what Pillow raises before it tells the size
        return _too_large(MAX_PIXELS)
    if "Unsupported" in str(error):
        return "of a variant of its format that is not read"
    return "damaged, or in no form that is read"


def _split(kept: list[_Candidate], class_names: tuple[str, ...]) -> tuple[dict[str, Array], Array]:
    """Share the images out among the three splits; returns the indices of each, and the labels of all images."""
    import numpy as np

    number = {name: i for i, name in enumerate(class_names)}
    labels = np.array([number.get(found.class_name or "", 0) for found in kept], np.int64)
    given = np.array([found.split or "train" for found in kept])
    rows = {split: np.flatnonzero(given == split) for split in SPLITS}
    lacking = [split for split in ("val", "test") if not len(rows[split])]
    pool = rows["train"]
    order = order_by_hash([kept[i].key for i in pool])
    return rows | {split: pool[part] for split, part in take_held_out(labels[pool], order, lacking).items()}, labels


def _skip_text(skipped: dict[str, list[str]]) -> str:
    if not skipped:
        return ""
    reasons = []
    for reason, names in sorted(skipped.items()):
        shown = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
        if reason == OTHER_KIND:
            kinds = Counter(Path(name).suffix.lower() or "no extension" for name in names).most_common(5)
            shown = f"{', '.join(f'{kind} {count:,}' for kind, count in kinds)}: {shown}"
        reasons.append(f"{len(names):,} {reason} ({shown})")
    return f"; skipped {sum(map(len, skipped.values())):,}: {'; '.join(reasons)}"


SPEC = DataSet(
    name="folder",
    title="your own images, in the folder --data_dir (PNG, JPEG, BMP, WebP, TIFF, PGM, PPM, GIF)",
    shape=None,
    likelihood="logistic",
    levels=255,
    source="class folders, or train, val and test folders of them",
    licence="yours",
    split_rule="by folders, else 80 : 10 : 10, fixed, in equal shares of each class",
    read=read_image_folder,
)
