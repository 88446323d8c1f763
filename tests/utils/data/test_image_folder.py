"""Folders of images: how they are arranged, read, labelled and split, and what is said of those that cannot be read."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.utils.small_data import one_line, write
from utils.config.config import Config
from utils.data.dataset import Arrays, Source
from utils.data.files import DataError, DataUsageError
from utils.data.image_folder import read_image_folder

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@dataclass
class Found:
    splits: dict[str, Arrays]
    class_names: tuple[str, ...]
    notes: list[str]


def read(root: Path, size: tuple[int, int] | None, grey: bool) -> Found:
    source = Source(Config(data_dir=str(root), image_size=size, grey=grey))
    loaded = read_image_folder(source)
    return Found({part: getattr(loaded, part) for part in ("train", "val", "test")}, loaded.class_names, source.notes)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def plain(color: float | tuple[int, ...] = RED, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> bytes:
    return encoded(Image.new(mode, size, color))


def quarters(width: int, height: int) -> Image.Image:
    """An image that shows how it was turned: red in the upper left quarter, blue elsewhere."""
    image = Image.new("RGB", (width, height), BLUE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    return image


def make_classes(root: Path, **counts: int) -> Path:
    for name, count in counts.items():
        for i in range(count):
            write(root / name / f"{i:03}.png", plain((i, 0, 0)))
    return root


def keys(part: Arrays) -> list[tuple[int, int]]:
    """The images of a split as pairs of label and red value, which name the file they come from."""
    images, labels = part
    assert labels is not None
    return sorted(zip(labels.tolist(), images[:, 0, 0, 0].tolist(), strict=True))


def test_class_folders_are_split_fairly_and_every_image_keeps_its_label(tmp_path):
    found = read(make_classes(tmp_path, cats=40, dogs=20), (8, 6), grey=False)
    assert found.class_names == ("cats", "dogs")
    sizes = {split: len(images) for split, (images, _) in found.splits.items()}
    assert sizes == {"train": 48, "val": 6, "test": 6}
    for split, n in (("train", 32), ("val", 4), ("test", 4)):
        images, labels = found.splits[split]
        assert images.shape[1:] == (3, 8, 6)
        assert images.dtype == np.uint8
        assert abs(np.count_nonzero(labels == 0) - n) <= 1
    together = sorted(key for part in found.splits.values() for key in keys(part))
    assert together == [(0, i) for i in range(40)] + [(1, i) for i in range(20)]
    (note,) = found.notes
    assert note == f"read 60 images at 8x6 from {tmp_path}"


def test_the_split_is_the_same_in_another_place(tmp_path):
    first = read(make_classes(tmp_path / "a", x=20, y=20), (4, 4), grey=True)
    second = read(make_classes(tmp_path / "b", y=20, x=20), (4, 4), grey=True)
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(first.splits[split][0], second.splits[split][0])


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "valid", "Test"), ("TRAIN", "validation", "test")]
)
def test_split_folders_are_kept(tmp_path, names):
    for split, n in zip(names, (6, 3, 2), strict=True):
        make_classes(tmp_path / split, a=n, b=n)
    found = read(tmp_path, (4, 4), grey=False)
    assert {split: len(part[0]) for split, part in found.splits.items()} == {"train": 12, "val": 6, "test": 4}
    assert keys(found.splits["test"]) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_validation_split_that_is_lacking_is_taken_out_of_the_training_images(tmp_path):
    make_classes(tmp_path / "train", a=30, b=10)
    make_classes(tmp_path / "test", a=3)
    found = read(tmp_path, (4, 4), grey=False)
    assert {split: len(part[0]) for split, part in found.splits.items()} == {"train": 36, "val": 4, "test": 3}
    assert keys(found.splits["test"]) == [(0, 0), (0, 1), (0, 2)]
    assert [label for label, _ in keys(found.splits["val"])] == [0, 0, 0, 1]


def test_a_class_may_be_called_train(tmp_path):
    found = read(make_classes(tmp_path, train=5, plane=5), (4, 4), grey=False)
    assert found.class_names == ("plane", "train")


def test_images_without_class_folders_have_no_labels(tmp_path):
    for i in range(5):
        write(tmp_path / f"{i}.png", plain())
    found = read(tmp_path, (4, 4), grey=False)
    assert found.class_names == ()
    assert all(labels is None for _, labels in found.splits.values())


def test_folders_inside_a_class_belong_to_it(tmp_path):
    make_classes(tmp_path, a=4)
    write(tmp_path / "a/more/deep.PNG", plain())
    write(tmp_path / "b/deeper/still/x.jpeg", encoded(Image.new("RGB", (9, 9)), "JPEG"))
    found = read(tmp_path, (4, 4), grey=False)
    assert sum(len(images) for images, _ in found.splits.values()) == 6
    assert found.class_names == ("a", "b")


def test_what_cannot_be_read_is_counted_with_its_reason(tmp_path, monkeypatch):
    make_classes(tmp_path, a=5)
    good = plain(size=(40, 40))
    for name, data in {
        "a/notes.txt": b"text",
        "a/film.MP4": b"x",
        "a/empty.png": b"",
        "a/cut.png": good[: len(good) // 2],
        "a/page.jpg": b"<!DOCTYPE html><html>404</html>",
        "a/real.tif": encoded(Image.new("F", (4, 4)), "TIFF"),
        "a/long.tif": encoded(Image.new("I", (4, 4), 255), "TIFF"),
        "a/huge.png": plain(size=(41, 41)),
        "a/.DS_Store": b"hidden",
        "b/only.txt": b"no image at all",
        "c/only.png": b"x",
        "d/private.png": good,
        "outside.png": good,
        ".hidden/x.png": good,
        "__MACOSX/x.png": good,
    }.items():
        write(tmp_path / name, data)
    (tmp_path / "a/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "a/round").symlink_to(tmp_path / "a")
    monkeypatch.setattr("utils.data.image_folder.MAX_PIXELS", 1600)
    opened = Image.open

    def guarded(path: Path, **options: Any) -> Image.Image:
        if path.name == "private.png":  # its mode would not keep the superuser out
            raise PermissionError(13, "Permission denied")
        return opened(path, **options)

    monkeypatch.setattr(Image, "open", guarded)
    found = read(tmp_path, (4, 4), grey=False)
    vanished, note = found.notes
    assert vanished == "no image can be read of class c, d"
    assert note.endswith(
        "; skipped 14: 1 a link in a circle (a/round); "
        "3 damaged, or in no form that is read (a/cut.png, a/page.jpg, c/only.png); 1 empty (a/empty.png); "
        "1 links to nothing (a/gone.png); 3 of another kind (.txt 2, .mp4 1: a/film.MP4, a/notes.txt, b/only.txt); "
        "1 of more than 64,000,000 pixels (a/huge.png); "
        "1 of real numbers, whose range no format states (a/real.tif); "
        "1 of whole numbers beyond 16 bits, whose range no format states (a/long.tif); "
        "1 outside the class folders (outside.png); "
        "1 without permission to read (d/private.png)"
    ), note
    assert found.class_names == ("a",), "a folder without images is no class"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM", "GIF"])
def test_everything_that_pillow_opens_safely_is_read(tmp_path, kind):
    image = encoded(Image.new("RGB", (9, 9), RED), kind)
    for i, extension in enumerate((".jfif", ".PGM", ".tif")):  # what is inside counts, not the name
        write(tmp_path / f"a/{i}{extension}", image)
    found = read(tmp_path, (8, 8), grey=False)
    assert near(found.splits["train"][0][0, :, 4, 4].astype(int), RED)


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (9, 9), color) for color in (RED, GREEN)]
    image = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert near(middle(image, tmp_path)[:, 4, 4], RED)


LAYOUTS: dict[str, tuple[list[str], dict[str, int], tuple[str, ...]]] = {
    "classes": (["a", "b"], {"train": 8, "val": 1, "test": 1}, ("a", "b")),
    "none": (["."], {"train": 3, "val": 1, "test": 1}, ()),
    "training-testing": (
        ["training/a", "training/b", "testing/a", "testing/b"],
        {"train": 9, "val": 1, "test": 10},
        ("a", "b"),
    ),
    "train-eval": (["train/a", "train/b", "eval/a"], {"train": 9, "val": 1, "test": 5}, ("a", "b")),
    "train-eval-test": (["train/a", "eval/a", "test/a"], {"train": 5, "val": 5, "test": 5}, ("a",)),
    "train-dev-test": (["train/a", "dev/a", "test/a"], {"train": 5, "val": 5, "test": 5}, ("a",)),
    "no-classes": (["train", "valid"], {"train": 4, "val": 5, "test": 1}, ()),
    "wrapped-splits": (["set/train/a", "set/val/a"], {"train": 4, "val": 5, "test": 1}, ("a",)),
    "wrapped-classes": (["set/images/a", "set/images/b"], {"train": 8, "val": 1, "test": 1}, ("a", "b")),
    "wrapped-in-splits": (["train/images/a", "test/images/a"], {"train": 4, "val": 1, "test": 5}, ("a",)),
}


@pytest.mark.parametrize(("folders", "sizes", "names"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tmp_path, folders, sizes, names):
    for folder in folders:
        make_classes(tmp_path, **{folder: 5})
    found = read(tmp_path, (4, 4), grey=False)
    assert {split: len(images) for split, (images, _) in found.splits.items()} == sizes
    assert found.class_names == names


def test_what_pillow_refuses_for_its_size_or_variant_counts_as_that(tmp_path, capfd):
    make_classes(tmp_path, a=4)
    header = b"BM" + bytes(12) + (40).to_bytes(4, "little") + 2 * (200_000).to_bytes(4, "little")
    write(tmp_path / "a/bomb.bmp", header + bytes((1, 0, 24, 0)) + bytes(24))
    write(tmp_path / "a/depth.bmp", header + bytes((1, 0, 48, 117)) + bytes(24))
    fax = bytearray(encoded(quarters(64, 64).convert("1"), "TIFF", compression="group4"))
    fax[8:40] = bytes(range(100, 132))
    with Image.open(write(tmp_path / "a/fax.tif", bytes(fax))) as image:
        image.load()
    assert "Fax4Decode" in capfd.readouterr().err, "libtiff writes to standard error itself"
    found = read(tmp_path, (4, 4), grey=False)
    assert found.notes[-1].endswith(
        "skipped 2: 1 of a variant of its format that is not read (a/depth.bmp); "
        "1 of more than 64,000,000 pixels (a/bomb.bmp)"
    ), found.notes
    assert capfd.readouterr() == ("", "")


def test_linked_folders_are_followed(tmp_path):
    make_classes(tmp_path / "elsewhere", cats=5, dogs=5)
    root = tmp_path / "root"
    root.mkdir()
    for name, target in (("cats", "cats"), ("dogs", "dogs"), ("again", "dogs")):
        (root / name).symlink_to(tmp_path / "elsewhere" / target)
    found = read(root, (4, 4), grey=False)
    assert found.class_names == ("again", "cats", "dogs")
    assert sum(len(images) for images, _ in found.splits.values()) == 15


def test_a_link_to_the_folder_itself_or_to_one_above_is_no_class(tmp_path):
    root = tmp_path / "root"
    make_classes(root, cats=5)
    (root / "self").symlink_to(root)
    (root / "above").symlink_to(tmp_path)
    (root / "cats" / "above").symlink_to(tmp_path)
    found = read(root, (4, 4), grey=False)
    assert found.class_names == ("cats",)
    assert sum(len(images) for images, _ in found.splits.values()) == 5
    assert found.notes[-1].endswith("skipped 3: 3 a link in a circle (above, cats/above, self)")


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.data.image_folder.MAX_FILES", 4)
    with pytest.raises(DataError) as error:
        read(make_classes(tmp_path, a=5), (4, 4), grey=False)
    one_line(error, "holds more than 4 files")


def middle(data: bytes, tmp_path: Path, size: tuple[int, int] = (8, 8), grey: bool = False) -> np.ndarray:
    """Read one image and return it, (C, H, W)."""
    for i in range(3):
        write(tmp_path / f"a/{i}.png", data)
    return read(tmp_path, size, grey).splits["train"][0][0].astype(int)


def near(pixel: np.ndarray, color: tuple[int, ...]) -> bool:
    return bool(np.abs(pixel - np.array(color)).max() <= 8)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_rows_are_height_and_columns_width(tmp_path, kind):
    image = middle(encoded(quarters(32, 64), kind), tmp_path, size=(16, 8))
    assert image.shape == (3, 16, 8)
    assert near(image[:, 1, 1], RED)
    for row, column in ((1, 6), (14, 1), (14, 6)):
        assert near(image[:, row, column], BLUE)


@pytest.mark.parametrize(("orientation", "turn"), [(3, 180), (6, 90), (8, 270)])
def test_photographs_are_turned_as_the_camera_says(tmp_path, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = quarters(64, 64).rotate(turn)
    image = middle(encoded(lying, "JPEG", exif=exif), tmp_path)
    assert near(image[:, 1, 1], RED)
    assert near(image[:, 6, 6], BLUE)


def test_proportions_are_kept_by_cropping_to_the_middle(tmp_path):
    wide = Image.new("RGB", (300, 100), BLUE)
    wide.paste(GREEN, (100, 0, 200, 100))
    image = middle(encoded(wide), tmp_path)
    assert near(image[:, 4, 1], GREEN)
    assert near(image[:, 4, 6], GREEN)


def test_transparent_pixels_show_white(tmp_path):
    for mode, color in (("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))):
        assert near(middle(plain(color, mode=mode), tmp_path)[:, 4, 4], (255, 255, 255))
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([255, 0, 0] * 256)
    assert near(middle(encoded(palette, transparency=0), tmp_path)[:, 4, 4], (255, 255, 255))
    assert near(middle(encoded(palette), tmp_path)[:, 4, 4], RED)


def test_16_bit_grey_keeps_its_range(tmp_path):
    values = np.full((16, 16), 32768, np.uint16)
    image = middle(encoded(Image.fromarray(values)), tmp_path, grey=True)
    assert image.shape == (1, 8, 8)
    assert near(image[:, 4, 4], (128,))


def test_grey_and_colour(tmp_path):
    assert near(middle(plain(GREEN), tmp_path, grey=True)[:, 4, 4], (150,))
    assert near(middle(plain(77, mode="L"), tmp_path)[:, 4, 4], (77, 77, 77))
    assert near(middle(plain(1, mode="1"), tmp_path, grey=True)[:, 4, 4], (255,))


def test_a_name_that_is_no_utf_8_is_read_and_can_be_printed(tmp_path):
    make_classes(tmp_path, a=4)
    write(Path(str(tmp_path / "a") + "/\udcff.png"), plain())
    write(Path(str(tmp_path / "a") + "/\udcfe.txt"), b"x")
    found = read(tmp_path, (4, 4), grey=False)
    assert sum(len(images) for images, _ in found.splits.values()) == 5
    found.notes[0].encode()


def test_the_size_is_64_by_64_unless_given(tmp_path):
    assert read(make_classes(tmp_path, a=3), None, False).splits["train"][0].shape[1:] == (3, 64, 64)


def fill_with_files(root: Path) -> None:
    write(root / "a/notes.txt", b"x")
    write(root / "a/page.png", b"<html>")


def fill_with_two(root: Path) -> None:
    make_classes(root, a=2)


def fill_with_mixture(root: Path) -> None:
    make_classes(root / "train", a=3)
    make_classes(root / "test", a=3)
    make_classes(root, extra=3)


def fill_with_two_validations(root: Path) -> None:
    for split in ("train", "val", "valid"):
        make_classes(root / split, a=3)


def fill_with_half_labels(root: Path) -> None:
    make_classes(root / "train", a=3)
    write(root / "test/x.png", plain())


def fill_with_data_sets(root: Path) -> None:
    make_classes(root / "images/train", a=3)
    make_classes(root / "images/val", a=3)
    write(root / "labels/x.txt", b"0")


def fill_with_little_training(root: Path) -> None:
    make_classes(root / "train", a=1)
    make_classes(root / "test", a=5)


@pytest.mark.parametrize(
    ("fill", "text"),
    [
        (lambda root: None, "is not a folder; give the folder of your images with --data_dir"),
        (lambda root: write(root, b"x"), "is not a folder"),
        (lambda root: root.mkdir(), "holds 0 readable images; at least 3 are needed"),
        (
            fill_with_files,
            "skipped 2: 1 damaged, or in no form that is read (a/page.png); 1 of another kind (.txt 1: a/notes.txt)",
        ),
        (fill_with_two, "holds 2 readable images"),
        (fill_with_mixture, "holds split folders (test, train) beside others (extra)"),
        (fill_with_two_validations, "holds two folders for one split (train, val, valid)"),
        (lambda root: make_classes(root, test=5, val=5), "holds the split folders test, val but no train folder"),
        (fill_with_half_labels, "class folders in some of its split folders and none in others"),
        (fill_with_data_sets, "images holds split folders (train, val), so it is no class; give it as --data_dir"),
        (fill_with_little_training, "too few training images (1) to take val images out of them"),
    ],
    ids=["absent", "file", "empty", "files", "two", "mixture", "two-val", "no-train", "half", "sets", "little"],
)
def test_it_refuses(tmp_path, fill, text):
    root = tmp_path / "images"
    fill(root)
    with pytest.raises(DataError) as error:
        read(root, (4, 4), grey=False)
    one_line(error, text)


@pytest.mark.parametrize("size", [(0, 8), (8, -1), (5000, 8)])
def test_a_size_that_no_image_can_have_is_a_usage_error(tmp_path, size):
    with pytest.raises(DataUsageError) as error:
        read(make_classes(tmp_path, a=3), size, grey=False)
    one_line(error, f"--image_size {size[0]},{size[1]}")
