"""Files that were packed in another way and hold the same: they are the known ones, verified and without a word."""

import dataclasses
import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
from scipy import io as scipy_io

from tests.utils.small_data import REAL_DATA, cifar_batches, load, mat, needs_real_data, one_line, tar, write
from utils.data.files import DataError, checksum
from utils.data.sets import DATASETS


@pytest.fixture
def small_cifar10(monkeypatch):
    """Let a small CIFAR-10 be the known one; its batches by their place."""
    spec, batches = DATASETS["cifar10"], cifar_batches(20)
    (archive,) = spec.files
    parts = tuple(
        dataclasses.replace(part, checksum=checksum(batches[part.path], "md5")) for part in archive.parts
    )
    files = (dataclasses.replace(archive, size=None, parts=parts),)
    monkeypatch.setitem(DATASETS, "cifar10", dataclasses.replace(spec, files=files, splits=(90, 10, 20)))
    return batches


def renamed(batches):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in reversed(batches.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uname = len(content), 1_234_567, "somebody"
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("pack", [tar, renamed, lambda b: gzip.compress(tar(b), 1)], ids=["tar", "pax", "gz"])
def test_another_archive_of_the_known_batches_is_known(tmp_path, small_cifar10, pack):
    write(tmp_path / "cifar-10-python.tar.gz", pack(small_cifar10))
    assert load("cifar10", tmp_path).notes == ()


def test_an_archive_with_another_batch_is_not(tmp_path, small_cifar10):
    batches = small_cifar10 | {"cifar-10-batches-py/test_batch": cifar_batches(20)["cifar-10-batches-py/data_batch_1"]}
    write(tmp_path / "cifar-10-python.tar.gz", tar(batches))
    with pytest.raises(DataError) as error:
        load("cifar10", tmp_path)
    one_line(error, "cifar-10-python.tar.gz is not the known file", "--allow_unverified")
    assert len(load("cifar10", tmp_path, allow_unverified=True).notes) == 1


def matrices(path: Path) -> dict[str, Any]:
    return {name: value for name, value in scipy_io.loadmat(path).items() if "data" in name or "labels" in name}


def pickled(path: Path, protocol: int, wrapped: bool) -> bytes:
    (faces,) = pickle.loads(path.read_bytes(), encoding="latin1")
    return pickle.dumps([faces] if wrapped else faces, protocol=protocol)


CALTECH = "Caltech101Silhouettes/caltech101_silhouettes_28_split1.mat"
FREY = "Freyfaces/freyfaces.pkl"
REPACKED = {
    "caltech-plain": ("caltech", CALTECH, lambda path: mat(compress=False, **matrices(path))),
    "caltech-doubles": ("caltech", CALTECH, lambda path: mat(**{k: v * 1.0 for k, v in matrices(path).items()})),
    "caltech-version-4": ("caltech", CALTECH, lambda path: mat(version="4", **matrices(path))),
    "caltech-gz": ("caltech", CALTECH, lambda path: gzip.compress(path.read_bytes(), 1)),
    "frey-0": ("freyfaces", FREY, lambda path: pickled(path, 0, wrapped=False)),
    "frey-2": ("freyfaces", FREY, lambda path: pickled(path, 2, wrapped=True)),
    "frey-5": ("freyfaces", FREY, lambda path: pickled(path, 5, wrapped=False)),
    "frey-gz": ("freyfaces", FREY, lambda path: gzip.compress(path.read_bytes(), 1)),
}


def linked(folder: Path, left_out: str) -> Path:
    """A folder with links to all real files but one."""
    for path in Path(str(REAL_DATA)).rglob("*"):
        place = folder / path.relative_to(str(REAL_DATA))
        if path.is_file() and place != folder / left_out:
            place.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(path, place)
    return folder


@needs_real_data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "path", "pack"), REPACKED.values(), ids=REPACKED)
def test_real_files_that_were_packed_in_another_way_are_known(tmp_path, name, path, pack):
    write(linked(tmp_path, path) / path, pack(Path(str(REAL_DATA)) / path))
    data = load(name, tmp_path)
    assert data.notes == ()
    assert data.digest == load(name, str(REAL_DATA)).digest


@needs_real_data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("f_mnist", "FashionMNIST")])
@pytest.mark.parametrize("place", ["{}/raw/{}", "{}/{}", "{}"])
def test_real_files_of_mnist_are_known_packed_again_and_plain_wherever_they_lie(tmp_path, name, folder, place):
    for number, path in enumerate((Path(str(REAL_DATA)) / folder / "raw").glob("*.gz")):
        content = gzip.decompress(path.read_bytes())
        packed = gzip.compress(content, 1) if number % 2 else content
        file = path.name if number % 2 else path.stem.replace("-idx", ".idx")
        write(tmp_path / (place.format(folder, file) if place != "{}" else file), packed)
    assert load(name, tmp_path).notes == ()


@needs_real_data
@pytest.mark.slow
def test_a_real_text_matrix_with_other_blanks_is_known(tmp_path):
    path = "MNIST_static/binarized_mnist_test.amat"
    content = gzip.decompress((Path(str(REAL_DATA)) / f"{path}.gz").read_bytes())
    text = content.replace(b" ", b"\t").replace(b"\n", b"\r\n")
    write(linked(tmp_path, f"{path}.gz") / path, text)
    assert load("static_mnist", tmp_path).notes == ()
