"""Arrays of the user: how they are read, split and modelled, and that every wrong one is refused in one line."""

import io
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.utils.small_data import Canary, one_line, random_images, write
from utils.config.config import Config
from utils.load_data import Data, DataError, DataUsageError, load_data

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(3.0, 2.0, (50, 6)) * np.arange(1, 7)
LABELS = np.arange(50) % 5


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def load(folder: Path, content: bytes, likelihood: str | None = None) -> Data:
    path = write(folder / "data.npz", content)
    return load_data(Config(dataset="array", data_dir=str(path), loss_function=likelihood))


def together(data: Data) -> np.ndarray:
    return np.concatenate([split.images.numpy() for split in (data.train, data.val, data.test)])


def sizes(data: Data) -> tuple[int, int, int]:
    return len(data.train), len(data.val), len(data.test)


@pytest.mark.parametrize("pack", [lambda x: npz(x=x), npy, lambda x: npz(arr_0=x)], ids=["npz", "npy", "unnamed"])
def test_real_vectors_are_standardized_by_the_training_split(tmp_path, pack):
    data = load(tmp_path, pack(VECTORS))
    assert (data.shape, data.likelihood, data.levels, data.classes) == ((1, 1, 6), "normal", 1, 0)
    assert sizes(data) == (40, 5, 5)
    train = data.train.images.double()
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(0, correction=0), 1, rtol=1e-6)
    assert data.moments is not None
    mean, std = (moment.numpy() for moment in data.moments)
    restored = together(data) * std + mean
    np.testing.assert_allclose(np.sort(restored[:, 0, 0], axis=0), np.sort(VECTORS, axis=0), rtol=1e-5, atol=1e-5)
    assert data.log_volume == pytest.approx(np.log(std).sum())


def test_the_moments_of_blocks_are_those_of_the_whole(tmp_path, monkeypatch):
    far = VECTORS + 1e6  # a sum of squares would lose the deviation
    whole = load(tmp_path, npz(x=far)).moments
    monkeypatch.setattr("utils.data.arrays.BLOCK", 6 * 8 * 7)
    blocks = load(tmp_path, npz(x=far)).moments
    assert whole is not None
    assert blocks is not None
    for first, second in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-11)


@pytest.mark.parametrize("blocks", [1 << 22, 1000])
def test_images_of_real_numbers_are_standardized_by_channel(tmp_path, monkeypatch, blocks):
    monkeypatch.setattr("utils.data.arrays.BLOCK", blocks)
    images = RNG.normal(size=(50, 3, 4, 5)) * np.array([1, 10, 100])[:, None, None]
    data = load(tmp_path, npz(x=images))
    np.testing.assert_allclose(data.train.images.double().std((0, 2, 3), correction=0), 1, rtol=1e-6)
    assert data.moments is not None
    assert data.log_volume == pytest.approx(20 * data.moments[1][:, 0, 0].log().sum().item())


SHAPES = {
    "grey": (random_images(20, 8, 9), (1, 8, 9)),
    "last": (random_images(20, 8, 9, 3), (3, 8, 9)),
    "first": (random_images(20, 3, 8, 9), (3, 8, 9)),
    "one-last": (random_images(20, 8, 9, 1), (1, 8, 9)),
    "one-first": (random_images(20, 1, 8, 9), (1, 8, 9)),
    "vectors": (random_images(20, 9), (1, 1, 9)),
}


@pytest.mark.parametrize(("array", "shape"), SHAPES.values(), ids=SHAPES)
def test_every_layout_becomes_images(tmp_path, array, shape):
    data = load(tmp_path, npz(x=array))
    assert (data.shape, data.likelihood, data.levels) == (shape, "logistic", 255)
    expected = array.transpose(0, 3, 1, 2) if array.shape[-1:] in ((1,), (3,)) else array.reshape(20, *shape)
    assert sorted(image.tobytes() for image in together(data)) == sorted(image.tobytes() for image in expected)


VALUES: dict[str, tuple[np.ndarray, str | None, str, int, str]] = {
    "binary": (VECTORS > 3, None, "bce", 1, "uint8"),
    "binary-floats": ((VECTORS > 3).astype("f4"), None, "bce", 1, "uint8"),
    "bytes": (random_images(50, 6), None, "logistic", 255, "uint8"),
    "bytes-as-int64": (random_images(50, 6).astype("i8"), None, "logistic", 255, "uint8"),
    "bytes-as-floats": (random_images(50, 6).astype("f8"), None, "normal", 1, "float32"),
    "bytes-asked": (random_images(50, 6).astype("f8"), "mse", "mse", 255, "uint8"),
    "grey-as-probability": (random_images(50, 6), "bce", "bce", 255, "uint8"),
    "real": (VECTORS.astype(">f4"), None, "normal", 1, "float32"),
    "negative": (LABELS[:, None] - 2, None, "normal", 1, "float32"),
    "counts": (LABELS[:, None] * 7, "poisson", "poisson", 28, "uint8"),
    "large-counts": (LABELS[:, None] * 1000.0, "poisson", "poisson", 4000, "int32"),
    "bytes-as-real": (random_images(50, 6), "normal", "normal", 1, "float32"),
}


@pytest.mark.parametrize(("x", "asked", "likelihood", "levels", "dtype"), VALUES.values(), ids=VALUES)
def test_the_likelihood_follows_the_values_and_is_said(tmp_path, x, asked, likelihood, levels, dtype):
    data = load(tmp_path, npz(x=x), asked)
    assert (asked or data.likelihood, data.levels) == (likelihood, levels)
    assert str(data.train.images.dtype) == f"torch.{dtype}"
    assert f"likelihood: -lf {likelihood}" in data.notes[0]


def test_labels_go_with_their_examples(tmp_path):
    x = np.stack([LABELS * 10, np.arange(50)], 1).astype(np.uint8)
    data = load(tmp_path, npz(x=x, y=LABELS))
    assert (data.classes, data.class_names) == (5, ("0", "1", "2", "3", "4"))
    for split in (data.train, data.val, data.test):
        assert split.labels is not None
        np.testing.assert_array_equal(split.images[:, 0, 0, 0], split.labels * 10)
        assert np.bincount(split.labels).tolist() == [len(split) // 5] * 5
    assert data.notes[1].startswith("examples: 40 training (0 8, 1 8, 2 8, 3 8, 4 8); 5 validation")


@pytest.mark.parametrize("y", [np.array(list("abcde"))[LABELS], LABELS[:, None] * 1.0, (LABELS + 3).astype("u1")])
def test_labels_may_be_words_columns_or_any_whole_numbers(tmp_path, y):
    data = load(tmp_path, npz(x=VECTORS, labels=y))
    assert data.classes == 5
    assert data.class_names in (tuple("abcde"), tuple("01234"), tuple("34567"))


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
        ("train_images", "train_labels", "valid_images", "valid_labels", "test_images", "test_labels"),
        ("X-Train", "target-train", "X-Dev", "target-dev", "X-Testing", "target-testing"),
    ],
)
def test_splits_come_from_the_names_of_the_arrays(tmp_path, keys):
    arrays = dict(zip(keys, (VECTORS[:30], LABELS[:30], VECTORS[30:42], LABELS[30:42], VECTORS[42:], LABELS[42:])))
    data = load(tmp_path, npz(**arrays))
    assert sizes(data) == (30, 12, 8)
    np.testing.assert_array_equal(data.test.labels, LABELS[42:])


def test_a_split_that_is_lacking_is_taken_out_of_the_training_examples(tmp_path):
    data = load(tmp_path, npz(x_train=VECTORS[:40], x_test=VECTORS[40:], weights=np.ones(3)))
    assert sizes(data) == (36, 4, 10)
    assert any("not read: 'weights'" in note for note in data.notes)


def test_examples_in_two_splits_are_counted(tmp_path):
    data = load(tmp_path, npz(x_train=VECTORS[:40], x_val=VECTORS[40:45], x_test=VECTORS[[0, 1, 46]]))
    assert data.notes[-1] == "2 of 3 test examples are equal to training examples"


def test_values_that_never_vary_are_said_and_do_no_harm(tmp_path):
    x = np.concatenate([VECTORS, np.full((50, 1), 0.1)], 1)
    data = load(tmp_path, npz(x=x))
    assert "1 of 7 values are the same in all training examples" in data.notes
    np.testing.assert_allclose(data.train.images[..., -1], 0, atol=1e-7)


def test_the_digest_is_of_the_content(tmp_path):
    first, again, other = (load(tmp_path, npz(x=VECTORS + change, y=LABELS)) for change in (0, 0, 1e-3))
    assert first.digest == again.digest
    assert first.digest != other.digest, "the same when standardized, but other data"
    assert len({split.digest for split in (first.train, first.val, first.test)}) == 3
    labels = load(tmp_path, npz(x=VECTORS, y=(LABELS + 1) % 5))
    assert labels.train.digest != first.train.digest


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def claims(shape: str) -> bytes:
    """A file of a few bytes whose header says that it holds an array of any shape."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(80)


NAN = VECTORS.copy()
NAN[7, 2] = np.nan
PAIR = {"x": VECTORS, "y": LABELS}
OTHER = "is no .npz or .npy file, as np.savez and np.save write them; no other kind is read, least of all pickles"
FILE = "is no sound .npz or .npy file of numbers"
BAD: dict[str, tuple[bytes, str | None, str]] = {
    "empty": (b"", None, OTHER),
    "text": (b"1,2,3\n4,5,6\n", None, OTHER),
    "html": (b"<html>", None, OTHER),
    "pickle": (pickle.dumps(VECTORS), None, OTHER),
    "cut-npy": (npy(VECTORS)[:-9], None, FILE),
    "cut-npz": (npz(**PAIR)[:-200], None, FILE),
    "claims": (claims("(1000000000, 1000000000)"), None, FILE),
    "claims-negative": (claims("(-5, 3)"), None, FILE),
    "claims-overflow": (claims("(4294967296, 4294967296, 2)"), None, FILE),
    "claims-code": (claims("__import__('os').getcwd()"), None, FILE),
    "claims-in-npz": (zipped(**{"x.npy": claims("(100000, 100000)")}), None, FILE),
    "no-array": (zipped(x=b"text"), None, "x is of type |S4"),
    "zip": (zipped(**{"a.txt": b"text"}), None, "holds no array with a name that says what it is"),
    "objects": (npy(np.array([1, "a"], object)), None, "holds Python objects, which are never read"),
    "objects-npz": (npz(x=np.array([{}], object)), None, "holds Python objects, which are never read"),
    "no-keys": (npz(weights=VECTORS), None, "holds no array with a name that says what it is; wanted: x and, if"),
    "no-train": (npz(x_test=VECTORS, x_val=VECTORS), None, "holds x_test, x_val; wanted: x and, if there are labels"),
    "all-and-test": (npz(x=VECTORS, x_test=VECTORS), None, "holds x, x_test; wanted"),
    "two-names": (npz(x=VECTORS, images=VECTORS), None, "holds two arrays for one purpose (x, images)"),
    "labels-alone": (npz(y=LABELS), None, "holds y; wanted"),
    "labels-of-one": (npz(x_train=VECTORS, x_test=VECTORS, y_train=LABELS), None, "y_test is missing"),
    "labels-of-none": (npz(x=VECTORS, y_test=LABELS), None, "is missing, or has no images"),
    "scalar": (npy(np.float64(3)), None, "x has shape (); wanted: images"),
    "line": (npy(np.arange(9.0)), None, "x has shape (9,); wanted: images"),
    "five": (npy(np.zeros((2, 3, 4, 5, 6))), None, "x has shape (2, 3, 4, 5, 6)"),
    "channels": (npy(np.zeros((9, 4, 5, 2))), None, "neither first nor last 1 or 3 channels"),
    "both-channels": (npy(np.zeros((9, 3, 5, 3))), None, "1 or 3 channels first and last alike"),
    "none": (npy(np.zeros((0, 6))), None, "x has shape (0, 6)"),
    "width": (npy(np.zeros((6, 0))), None, "x has shape (6, 0)"),
    "complex": (npy(VECTORS * 1j), None, "x is of type complex128"),
    "words": (npy(np.array([["a", "b"]] * 9)), None, "x is of type <U1"),
    "dates": (npy(np.zeros((9, 2), "M8[s]")), None, "x is of type datetime64[s]"),
    "fields": (npy(np.zeros((9, 2), "i4,f8")), None, "x is of type"),
    "nan": (npz(x=NAN), None, "holds values that are not finite"),
    "infinite": (npz(x=NAN * np.inf), None, "holds values that are not finite"),
    "huge": (npz(x=VECTORS * 1e200), None, "too large to compute with"),
    "far": (npz(x_train=VECTORS, x_test=VECTORS * 1e9), None, "standard deviations away from the training mean"),
    "mixed": (npz(x_train=VECTORS, x_test=VECTORS[:, :5]), None, "different shapes: (1, 1, 5) and (1, 1, 6)"),
    "pairs": (npz(x=VECTORS, y=LABELS[:-1]), None, "x and y: 50 images but 49 labels"),
    "one-hot": (npz(x=VECTORS, y=np.eye(5)[LABELS]), None, "y has shape (50, 5); wanted: one label"),
    "targets": (npz(x=VECTORS, y=VECTORS[:, 0]), None, "y holds numbers that are not whole"),
    "negative": (npz(x=VECTORS, y=LABELS - 1), None, "y holds -1; wanted: whole numbers from 0 to 2^63 - 1"),
    "label-large": (npz(x=VECTORS, y=np.full(50, 2.0**70)), None, "y holds 1.1805916207174113e+21; wanted: whole"),
    "label-unsigned": (npz(x=VECTORS, y=np.full(50, 1 << 63, "u8")), None, "y holds 9223372036854775808; wanted"),
    "label-nan": (npz(x=VECTORS, y=np.full(50, np.nan)), None, "y holds numbers that are not whole"),
    "label-type": (npz(x=VECTORS, y=LABELS * 1j), None, "y is of type complex128"),
    "many": (npz(x=np.zeros((1001, 1)), y=np.arange(1001)), None, "1,001 different values; 1,000 classes"),
    "both-kinds": (
        npz(x_train=VECTORS, x_test=VECTORS, y_train=LABELS, y_test=LABELS.astype(str)),
        None,
        "words in one split and numbers in another",
    ),
    "few": (npz(x=VECTORS[:2]), None, "too few training images (2)"),
    "bce": (npz(x=VECTORS), "bce", "-lf bce: is for whole numbers from 0 to 255, but x holds real numbers from"),
    "logistic": (npz(x=LABELS[:, None] * 99), "logistic", "-lf logistic: is for whole numbers from 0 to 255"),
    "poisson": (npz(x=VECTORS), "poisson", "-lf poisson: is for whole numbers from 0 to 16,777,216"),
    "poisson-negative": (npz(x=LABELS[:, None] - 3), "poisson", "whole numbers from -3 to 1; leave -lf out"),
}


@pytest.mark.parametrize(("content", "likelihood", "text"), BAD.values(), ids=BAD)
def test_it_refuses(tmp_path, content, likelihood, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning of numpy would be a second line
        with pytest.raises(DataError) as error:
            load(tmp_path, content, likelihood)
    assert isinstance(error.value, DataUsageError) == (likelihood is not None)
    assert len(one_line(error, text)) < 500


@pytest.mark.parametrize("place", ["nowhere.npz", "."])
def test_a_file_that_is_not_there_is_named(tmp_path, place):
    with pytest.raises(DataError) as error:
        load_data(Config(dataset="array", data_dir=str(tmp_path / place)))
    one_line(error, f"--data_dir {tmp_path / place}: there is no such file; -d array takes a .npz or .npy file")


def test_an_archive_larger_than_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.data.arrays.os.sysconf", lambda name: 1000)
    with pytest.raises(DataError) as error:
        load(tmp_path, zipped(**{"x.npy": npy(np.zeros((100_000, 11), np.uint8))}))
    one_line(error, "its arrays take 1,100,128 bytes, but this machine has 1,000,000")


def test_a_malicious_array_is_not_executed(tmp_path):
    canary = tmp_path / "canary"
    for content in (npz(x=np.array([Canary(canary)], object)), npy(np.array([Canary(canary)], object))):
        with pytest.raises(DataError):
            load(tmp_path, content)
    assert not canary.exists()


LARGE = """
import sys
from utils.config.config import Config
from utils.load_data import load_data
data = load_data(Config(dataset="array", data_dir=sys.argv[1]))
print(len(data.train), data.train.images.dtype)
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
def test_a_large_array_takes_the_memory_of_what_is_trained_on(tmp_path):
    stored = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", "f8", (100_000, 500))
    for start in range(0, len(stored), 10_000):
        stored[start : start + 10_000] = RNG.normal(size=(10_000, 500))
    stored.flush()
    command = [sys.executable, "-c", LARGE, str(tmp_path / "large.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    what, peak = done.stdout.splitlines()
    assert what == "80000 torch.float32"
    # Kilobytes: 200 MB of float32, the pages of the 400 MB file that are mapped, and 300 MB for torch.
    assert int(peak) < 1_200_000
