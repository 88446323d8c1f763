"""Each data set from small files in its own layout: orientation, labels, splits, and what is refused."""

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.utils.small_data import (
    Canary,
    amat,
    cifar_batches,
    idx,
    load,
    mat,
    one_line,
    random_images,
    static_mnist,
    tar,
    write,
    write_mnist,
)
from utils.data.files import DataError
from utils.load_data import Data

PARTS = ("train", "val", "test")
FREY = "Freyfaces/freyfaces.pkl"
FREY_MAT = "Freyfaces/frey_rawface.mat"
OMNIGLOT = "OMNIGLOT/chardata.mat"
CALTECH = "Caltech101Silhouettes/caltech101_silhouettes_28_split1.mat"
CIFAR_TAR = "cifar-10-python.tar.gz"
AMAT = "MNIST_static/binarized_mnist_test.amat"


def load_any(name: str, folder: Path) -> Data:
    return load(name, folder, allow_unverified=True)


def tar_gz(members: dict[str, bytes]) -> bytes:
    return gzip.compress(tar(members))


def images(data: Data) -> list[np.ndarray]:
    return [getattr(data, part).images.numpy() for part in PARTS]


def labels(data: Data) -> list[list[int]]:
    return [getattr(data, part).labels.tolist() for part in PARTS]


@pytest.mark.parametrize("gz", [True, False], ids=["gzipped", "unpacked"])
def test_mnist(tmp_path, gz):
    files = write_mnist(tmp_path, gz=gz)
    data = load_any("mnist", tmp_path)
    expected = files["train-images-idx3"][:, None], files["t10k-images-idx3"][:, None]
    for found, wanted in zip(images(data), (expected[0][:50], expected[0][50:], expected[1]), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert labels(data) == [list(range(10)) * 5, list(range(10)), list(range(10))]
    assert (data.shape, data.levels, data.classes) == ((1, 28, 28), 255, 10)


def test_f_mnist_has_names_for_its_classes(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "MNIST").rename(tmp_path / "FashionMNIST")
    assert load_any("f_mnist", tmp_path).class_names[-1] == "Ankle boot"


def test_kmnist_has_the_format_and_the_names_of_mnist(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "MNIST").rename(tmp_path / "KMNIST")
    data = load_any("kmnist", tmp_path)
    assert ([len(part) for part in images(data)], data.class_names[3]) == ([50, 10, 10], "tsu")


def load_known(folder: Path) -> list[np.ndarray]:
    """Load static MNIST where the small one is the known one: verified, and without a word."""
    data = load("static_mnist", folder)
    assert (data.levels, data.classes, data.train.labels, data.notes) == (1, 0, None, ())
    return images(data)


@pytest.mark.parametrize("gz", [True, False], ids=["gzipped", "plain"])
def test_static_mnist(tmp_path, monkeypatch, gz):
    matrices = static_mnist(monkeypatch)
    for path, matrix in matrices.items():
        write(tmp_path / f"{path}{'.gz' * gz}", gzip.compress(amat(matrix)) if gz else amat(matrix))
    before = sorted(tmp_path.rglob("*"))
    for found, matrix in zip(load_known(tmp_path), matrices.values(), strict=True):
        np.testing.assert_array_equal(found, matrix.reshape(-1, 1, 28, 28))
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written into a folder of data"


def test_a_matrix_that_is_not_the_known_one_is_noticed(tmp_path, monkeypatch):
    for path, matrix in static_mnist(monkeypatch).items():
        write(tmp_path / f"{path}.gz", gzip.compress(amat(matrix)))
    changed = random_images(9, 784, high=1, seed=9)
    write(tmp_path / f"{AMAT}.gz", gzip.compress(amat(changed)))
    with pytest.raises(DataError) as error:
        load_known(tmp_path)
    one_line(error, f"{AMAT}.gz is not the known file: expected", "--allow_unverified")
    np.testing.assert_array_equal(images(load_any("static_mnist", tmp_path))[2], changed.reshape(-1, 1, 28, 28))


def test_an_intact_text_is_taken_in_place_of_a_broken_one(tmp_path, monkeypatch):
    for path, matrix in static_mnist(monkeypatch).items():
        write(tmp_path / path, amat(matrix)[:-1000])
        write(tmp_path / f"{path}.gz", gzip.compress(amat(matrix)))
    load_known(tmp_path)


def column_major(stack: np.ndarray) -> np.ndarray:
    """Images (N, H, W) as MATLAB keeps them: an image in each column, its columns one after the other."""
    return stack.transpose(0, 2, 1).reshape(len(stack), -1).T


def test_omniglot_has_rows_and_columns_the_right_way_round(tmp_path):
    train, test = random_images(40, 28, 28), random_images(6, 28, 28, seed=1)
    write(tmp_path / OMNIGLOT, mat(data=column_major(train) / 255, testdata=column_major(test) / 255))
    data = load_any("omniglot", tmp_path)
    np.testing.assert_array_equal(images(data)[2][:, 0], test)
    together = np.concatenate(images(data)[:2])[:, 0]
    assert [len(part) for part in images(data)] == [38, 2, 6]
    assert sorted(image.tobytes() for image in together) == sorted(image.tobytes() for image in train)
    assert (data.levels, data.classes, data.train.labels) == (255, 0, None)


def test_omniglot_keeps_the_alphabet_of_each_drawing(tmp_path):
    train, alphabets = random_images(100, 28, 28), np.arange(100) % 50
    train[:, 0, 0] = alphabets
    one_hot = np.eye(50)[:, alphabets]
    content = mat(
        data=column_major(train) / 255, testdata=column_major(train) / 255, target=one_hot, testtarget=one_hot
    )
    write(tmp_path / OMNIGLOT, content)
    data = load_any("omniglot", tmp_path)
    assert data.classes == 50
    assert labels(data) == [part[:, 0, 0, 0].tolist() for part in images(data)]


def caltech(**changes: np.ndarray) -> bytes:
    variables: dict[str, Any] = {}
    for seed, part in enumerate(PARTS):
        variables[f"{part}_data"] = column_major(random_images(7, 28, 28, high=1, seed=seed)).T
        variables[f"{part}_labels"] = np.arange(1, 8)[:, None] * 14
    return mat(**(variables | changes))


def test_caltech_has_the_silhouette_as_foreground_and_its_label(tmp_path):
    write(tmp_path / CALTECH, caltech())
    data = load_any("caltech", tmp_path)
    for seed, found in enumerate(images(data)):
        np.testing.assert_array_equal(found[:, 0], 1 - random_images(7, 28, 28, high=1, seed=seed))
    assert labels(data) == [[13, 27, 41, 55, 69, 83, 97]] * 3
    assert (data.levels, data.classes) == (1, 101)


@pytest.mark.parametrize("wrap", [lambda faces: [faces], lambda faces: faces], ids=["list", "array"])
def test_freyfaces_from_either_file_are_the_same(tmp_path, wrap):
    faces = random_images(1965, 560)
    write(tmp_path / "a" / FREY, pickle.dumps(wrap(faces), protocol=2))
    write(tmp_path / "b" / FREY_MAT, mat(ff=faces.T))
    write(tmp_path / "c" / FREY_MAT, mat(version="4", ff=faces.T.astype(float)))
    from_pickle, *from_mat = (load_any("freyfaces", tmp_path / folder) for folder in "abc")
    order = np.random.RandomState(123).permutation(1965)
    np.testing.assert_array_equal(np.concatenate(images(from_pickle)), faces[order].reshape(-1, 1, 28, 20))
    assert [len(part) for part in images(from_pickle)] == [1565, 200, 200]
    for other in from_mat:
        np.testing.assert_array_equal(np.concatenate(images(other)), np.concatenate(images(from_pickle)))


def test_the_mat_file_of_frey_is_verified_by_its_pixels(tmp_path):
    write(tmp_path / FREY_MAT, mat(ff=random_images(560, 1965)))
    with pytest.raises(DataError) as error:
        load("freyfaces", tmp_path)
    one_line(error, "frey_rawface.mat is not the known file: expected", "content sha256:2438ba4f")


@pytest.mark.parametrize("packed", [True, False], ids=["archive", "unpacked"])
def test_cifar10(tmp_path, packed):
    batches = cifar_batches(20)
    if packed:
        write(tmp_path / CIFAR_TAR, tar_gz(batches | {"cifar-10-batches-py/readme.html": b"x", "../escaped": b"x"}))
    else:
        for name, content in batches.items():
            write(tmp_path / name, content)
    data = load_any("cifar10", tmp_path)
    planes = np.concatenate([random_images(20, 3, 32, 32, seed=seed) for seed in range(5)])
    for found, expected in zip(
        images(data), (planes[:90], planes[90:], random_images(20, 3, 32, 32, seed=5)), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert labels(data) == [list(range(10)) * 9, list(range(10)), list(range(10)) * 2]
    assert (data.shape, data.levels, data.classes, data.class_names[0]) == ((3, 32, 32), 255, 10, "airplane")
    assert not (tmp_path.parent / "escaped").exists()


def test_cifar10_with_keys_of_bytes_is_read(tmp_path):
    for name, content in cifar_batches(20).items():
        batch = {key.encode(): value for key, value in pickle.loads(content).items()}
        write(tmp_path / name, pickle.dumps(batch))
    assert len(load_any("cifar10", tmp_path).train) == 90


def test_an_unpacking_that_was_cut_short_gives_way_to_the_archive(tmp_path):
    batches = cifar_batches(20)
    write(tmp_path / CIFAR_TAR, tar_gz(batches))
    for name, content in batches.items():
        write(tmp_path / name, content[:-500])
    assert len(load_any("cifar10", tmp_path).train) == 90


BAD_FILES: dict[str, tuple[str, str, bytes, str]] = {
    "idx-html": ("mnist", "MNIST/raw/train-images-idx3-ubyte.gz", b"<html>", "starts with 3c 68 74 6d"),
    "idx-empty": ("mnist", "MNIST/raw/train-images-idx3-ubyte.gz", b"", "is empty"),
    "idx-swapped": ("mnist", "MNIST/raw/t10k-images-idx3-ubyte.gz", idx(np.arange(10)), "in 3 dimensions"),
    "idx-size": ("mnist", "MNIST/raw/t10k-images-idx3-ubyte.gz", idx(random_images(10, 9, 9)), "shape (1, 9, 9)"),
    "idx-pairs": ("mnist", "MNIST/raw/train-labels-idx1-ubyte.gz", idx(np.arange(59) % 10), "60 images but 59 labels"),
    "idx-labels": ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte.gz", idx(np.arange(10) + 5), "5 to 14; 0 to 9 are"),
    "idx-none": ("mnist", "MNIST/raw/t10k-images-idx3-ubyte.gz", idx(np.zeros((0, 28, 28))), "holds no images"),
    "amat-html": (
        "static_mnist",
        "MNIST_static/binarized_mnist_test.amat",
        b"<html>",
        "not a matrix of zeros and ones",
    ),
    "amat-cut": ("static_mnist", "MNIST_static/binarized_mnist_test.amat", b"0 1 1 0\n", "where 784 a line are due"),
    "amat-gz": ("static_mnist", f"{AMAT}.gz", b"\x1f\x8b0 1 1 0\n", "not a sound gzip file"),
    "omniglot-range": (
        "omniglot",
        OMNIGLOT,
        mat(data=np.ones((784, 3)), testdata=np.eye(784) * 2),
        "0 to 2; 0 to 1",
    ),
    "omniglot-shape": ("omniglot", OMNIGLOT, mat(data=np.ones((3, 784)), testdata=np.ones((784, 3))), "784 x any"),
    "omniglot-part": ("omniglot", OMNIGLOT, mat(data=np.ones((784, 3))), "no variable 'testdata'"),
    "omniglot-labels": (
        "omniglot",
        OMNIGLOT,
        mat(data=np.ones((784, 3)), testdata=np.ones((784, 3)), target=np.ones((50, 3)), testtarget=np.ones((50, 3))),
        "does not mark one class",
    ),
    "omniglot-half": (
        "omniglot",
        OMNIGLOT,
        mat(data=np.ones((784, 3)), testdata=np.ones((784, 3)), target=np.eye(50)[:, :3]),
        "labels for one of its two parts only",
    ),
    "omniglot-pairs": (
        "omniglot",
        OMNIGLOT,
        mat(data=np.ones((784, 3)), testdata=np.ones((784, 3)), target=np.eye(50)[:, :4], testtarget=np.eye(50)[:, :3]),
        "3 images but 4 labels",
    ),
    "caltech-grey": ("caltech", CALTECH, caltech(val_data=np.full((7, 784), 0.5)), "other values than 0 and 1"),
    "caltech-half": ("caltech", CALTECH, caltech(val_labels=np.full((7, 1), 1.5)), "other values than whole numbers"),
    "caltech-class": ("caltech", CALTECH, caltech(val_labels=np.full((7, 1), 102)), "101 to 101; 0 to 100 are allowed"),
    "caltech-pairs": ("caltech", CALTECH, caltech(val_labels=np.ones((6, 1))), "7 images but 6 labels"),
    "frey-html": ("freyfaces", FREY, b"<html>", "is not a pickle of plain arrays"),
    "frey-shape": ("freyfaces", FREY, pickle.dumps([random_images(5, 28, 20)]), "holds no array of shape N x 560"),
    "frey-floats": ("freyfaces", FREY, pickle.dumps([np.ones((5, 560))]), "N x 560 and type uint8"),
    "frey-text": ("freyfaces", FREY, pickle.dumps("text"), "holds no array of shape N x 560"),
    "frey-mat": ("freyfaces", FREY_MAT, mat(ff=random_images(561, 9)), "shape 561 x 9"),
    "frey-mat-range": ("freyfaces", FREY_MAT, mat(ff=np.full((560, 9), 256.0)), "whole numbers from 0 to 255"),
    "frey-mat-fraction": ("freyfaces", FREY_MAT, mat(ff=np.full((560, 9), 0.5)), "whole numbers from 0 to 255"),
    "cifar-html": ("cifar10", CIFAR_TAR, b"<html>", "not a sound tar archive"),
    "cifar-part": ("cifar10", CIFAR_TAR, tar_gz({"a": b"x"}), "holds no file cifar-10-batches-py/data_batch_1"),
}


@pytest.mark.parametrize(("name", "path", "content", "text"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_in_one_line(tmp_path, name, path, content, text):
    write_mnist(tmp_path)
    for part in ("train", "valid"):
        write(tmp_path / f"MNIST_static/binarized_mnist_{part}.amat", amat(random_images(3, 784, high=1)))
    write(tmp_path / path, content)
    with pytest.raises(DataError) as error:
        load_any(name, tmp_path)
    one_line(error, text)


BAD_BATCHES: dict[str, tuple[object, str]] = {
    "list": ([1, 2], "holds no dictionary with data and labels"),
    "no-data": ({"labels": [1]}, "holds no array 'data'"),
    "shape": ({"data": random_images(2, 3073), "labels": [1, 1]}, "holds no array 'data' of N x 3072 bytes"),
    "floats": ({"data": np.ones((2, 3072)), "labels": [1, 1]}, "holds no array 'data' of N x 3072 bytes"),
    "no-labels": ({"data": random_images(2, 3072)}, "holds no list 'labels'"),
    "pairs": ({"data": random_images(2, 3072), "labels": [1]}, "holds no list 'labels'"),
    "giant": ({"data": random_images(2, 3072), "labels": [1, 10**30]}, "holds no list 'labels'"),
    "negative": ({"data": random_images(2, 3072), "labels": [1, -1]}, "holds no list 'labels'"),
    "words": ({"data": random_images(2, 3072), "labels": ["a", "b"]}, "holds no list 'labels'"),
    "class": ({"data": random_images(2, 3072), "labels": [1, 10]}, "a number from 0 to 9 for each of its 2 images"),
}


@pytest.mark.parametrize(("batch", "text"), BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_a_bad_batch_is_refused_in_one_line(tmp_path, batch, text):
    for name, content in (cifar_batches() | {"cifar-10-batches-py/test_batch": pickle.dumps(batch)}).items():
        write(tmp_path / name, content)
    with pytest.raises(DataError) as error:
        load_any("cifar10", tmp_path)
    one_line(error, text)


@pytest.mark.parametrize(("name", "path"), [("freyfaces", FREY), ("cifar10", "cifar-10-batches-py/data_batch_3")])
@pytest.mark.parametrize("allow", [False, True])
def test_a_malicious_pickle_among_the_data_is_not_executed(tmp_path, name, path, allow):
    canary = tmp_path / "canary"
    for batch, content in cifar_batches().items():
        write(tmp_path / batch, content)
    write(tmp_path / path, pickle.dumps(Canary(canary)))
    with pytest.raises(DataError) as error:
        load(name, tmp_path, allow_unverified=allow)
    one_line(error)
    assert not canary.exists()


def test_a_malicious_pickle_in_an_archive_is_not_executed(tmp_path):
    canary = tmp_path / "canary"
    evil = cifar_batches() | {"cifar-10-batches-py/test_batch": pickle.dumps(Canary(canary))}
    write(tmp_path / CIFAR_TAR, tar_gz(evil))
    with pytest.raises(DataError, match="not allowed"):
        load_any("cifar10", tmp_path)
    assert not canary.exists()
