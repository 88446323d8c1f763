"""The catalogue of data sets, the checks that all share, the table, and the real data where they are at hand."""

import gzip
import hashlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from hyperspherical_vae.kinds import LIKELIHOODS
from tests.utils.small_data import REAL_DATA, load, needs_real_data, one_line, write, write_mnist
from utils.config.config import Config
from utils.data.dataset import DataSet, Loaded, Source
from utils.data.files import DataFile, checksum
from utils.load_data import DATASETS, Data, DataError, DataUsageError, Split, dataset_table, load_data

NAMES = list(DATASETS)


@pytest.mark.parametrize("spec", DATASETS.values(), ids=DATASETS)
def test_the_entries_are_sound(spec):
    assert spec.likelihood in (*LIKELIHOODS, "")
    assert len(spec.class_names) in (0, spec.classes)
    assert all((spec.title, spec.source, spec.licence, spec.split_rule))
    for file in spec.files:
        assert file.urls
        for form in (file, *file.parts):
            kind, digest = form.checksum.split(":")
            assert len(digest) == {"md5": 32, "sha256": 64, "git-blob": 40}[kind]
            assert checksum(b"", kind) != form.checksum
            assert not form.path.startswith("/")
            assert ".." not in form.path


def test_addresses_and_checksums_are_those_of_torchvision():
    from torchvision import datasets

    for name, known in (("mnist", datasets.MNIST), ("f_mnist", datasets.FashionMNIST), ("kmnist", datasets.KMNIST)):
        found = {(url, f"md5:{md5}") for url, md5 in known.resources}
        assert {(file.path.split("/")[-1], file.checksum) for file in DATASETS[name].files} == found
        # The list of mirrors changes from one version of torchvision to the next.
        assert all(file.urls[0].rsplit("/", 1)[0] + "/" in known.mirrors for file in DATASETS[name].files)
    (archive,) = DATASETS["cifar10"].files
    assert (archive.path, *archive.urls) == (datasets.CIFAR10.filename, datasets.CIFAR10.url)
    assert archive.checksum == f"md5:{datasets.CIFAR10.tgz_md5}"
    known_parts = [*datasets.CIFAR10.train_list, *datasets.CIFAR10.test_list]
    assert [(part.path, part.checksum) for part in archive.parts] == [
        (f"{datasets.CIFAR10.base_folder}/{name}", f"md5:{md5}") for name, md5 in known_parts
    ]


def test_the_catalogue_costs_no_heavy_import():
    code = "import sys, utils.load_data as d; d.dataset_table('.'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "torchvision", "numpy", "scipy", "sklearn", "PIL", "tqdm", "urllib.request"}
    assert not heavy & set(loaded)


def test_digits():
    data = load("digits", "nowhere")
    assert isinstance(data, Data)
    assert [len(split) for split in (data.train, data.val, data.test)] == [1297, 200, 300]
    assert (data.shape, data.levels, data.likelihood, data.classes) == ((1, 8, 8), 16, "bce", 10)
    assert data.class_names == tuple("0123456789")
    for split in (data.train, data.val, data.test):
        assert isinstance(split, Split)
        assert (split.images.dtype, split.images.shape[1:]) == (torch.uint8, (1, 8, 8))
        assert split.labels is not None
        assert (split.labels.dtype, split.labels.shape) == (torch.int64, (len(split),))
        assert split.images.max() == 16
        shares = torch.bincount(split.labels) / len(split)
        assert (shares - 0.1).abs().max() < 0.006
    together = torch.cat([split.images for split in (data.train, data.val, data.test)])
    assert len(torch.unique(together, dim=0)) == 1797, "every digit is in one split only"


def test_the_split_of_the_digits_is_the_same_for_ever():
    data = load("digits", "nowhere")
    digest = hashlib.sha256(data.test.images.numpy().tobytes()).hexdigest()
    assert digest.startswith("5e2dca979841ded7")


@pytest.mark.parametrize("name", ["minst", "../mnist"])
def test_a_name_that_is_no_data_set(tmp_path, name):
    with pytest.raises(DataUsageError) as error:
        load(name, tmp_path)
    one_line(error, f"unknown data set '{name}'; known are digits, mnist")


@pytest.mark.parametrize("name", [name for name in NAMES if DATASETS[name].files])
def test_without_files_and_without_downloads_each_file_is_named(tmp_path, name):
    with pytest.raises(DataError, match="downloading is off") as error:
        load(name, tmp_path)
    message = str(error.value)
    assert message.startswith(f"data set '{name}': ")
    for file in DATASETS[name].files:
        for part in (str(tmp_path / file.path), file.urls[0], file.checksum):
            assert part in message
    assert list(tmp_path.iterdir()) == []


def test_without_network_the_message_says_what_to_do_and_nothing_is_left(tmp_path, monkeypatch):
    import urllib.request
    from urllib.error import URLError

    def offline(*args: object, **kwargs: object) -> None:
        raise URLError(OSError(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for name in ("mnist", "omniglot"):
        with pytest.raises(DataError, match=r"download failed: .*Temporary failure in name resolution") as error:
            load_data(Config(dataset=name, data_dir=str(tmp_path)))
        assert str(tmp_path / DATASETS[name].files[-1].path) in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_sizes_other_than_the_published_ones_are_noted(tmp_path):
    write_mnist(tmp_path)
    notes = load("mnist", tmp_path, allow_unverified=True).notes
    assert [note.split(":")[0] for note in notes[:4]] == ["unverified"] * 4
    assert (
        notes[4] == "the splits hold (50, 10, 10) images, not the (50000, 10000, 10000) that published figures are on"
    )


def test_a_folder_of_images(tmp_path):
    from PIL import Image

    for name in ("happy", "sad"):
        for i in range(10):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("RGB", (20, 30), (i, 2, 3)).save(tmp_path / name / f"{i}.png")
    data = load("folder", tmp_path)
    assert (data.shape, data.levels, data.likelihood, data.classes) == ((3, 64, 64), 255, "logistic", 2)
    assert data.class_names == ("happy", "sad")
    assert [len(split) for split in (data.train, data.val, data.test)] == [16, 2, 2]
    assert data.notes == (
        f"read 20 images at 64x64 from {tmp_path}",
        "examples: 16 training (happy 8, sad 8); 2 validation (happy 1, sad 1); 2 test (happy 1, sad 1)",
        "2 of 2 validation examples are equal to training examples",
        "2 of 2 test examples are equal to training examples",
    )
    assert load("folder", tmp_path, image_size=(6, 5), grey=True).shape == (1, 6, 5)


def test_the_table_says_what_is_on_disk(tmp_path):
    write_mnist(tmp_path)
    lines = dataset_table(tmp_path).splitlines()
    status = {line.split()[0]: line for line in lines[1:] if not line.startswith(" ")}
    assert list(status) == NAMES
    assert status["digits"].endswith("no download")
    size = (tmp_path / "MNIST/raw/train-images-idx3-ubyte.gz").stat().st_size
    assert status["mnist"].endswith(f"MNIST/raw/train-images-idx3-ubyte.gz has {size:,} bytes, not 9,912,422")
    assert status["cifar10"].endswith("absent")
    assert status["folder"].endswith("yours")
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte.gz").unlink()
    assert "3 of 4 files" in dataset_table(tmp_path)
    for part in DATASETS["cifar10"].files[0].parts:
        write(tmp_path / part.path, b"x")
    assert "complete" in dataset_table(tmp_path)
    for spec in DATASETS.values():
        for text in (spec.title, spec.source, spec.licence, spec.split_rule):
            assert text in dataset_table(tmp_path)


def test_a_data_set_is_its_facts_and_its_reader(tmp_path, monkeypatch):
    def read(source: Source) -> Loaded:
        (values,) = (source.read(file) for file in source.files)
        return Loaded((values[:6], None), (values[6:8], None), (values[8:], None))

    content = np.arange(90, dtype=np.uint8)
    images = content.reshape(10, 1, 3, 3)
    file = DataFile("Toy/toy.bin", 90, checksum(content.tobytes(), "md5"), lambda data, name: images)
    spec = DataSet("toy", "a toy", (1, 3, 3), "logistic", 255, "here", "none", "as it is", read, (file,), (6, 2, 2))
    monkeypatch.setitem(DATASETS, "toy", spec)
    write(tmp_path / "toy.bin.gz", gzip.compress(content.tobytes()))
    data = load("toy", tmp_path)
    assert (data.shape, data.likelihood, len(data.test), data.notes) == ((1, 3, 3), "logistic", 2, ())
    assert "toy           1x3x3" in dataset_table(tmp_path)


# Counts, range of the levels, and mean of the test split as a share of the highest level.
REAL: dict[str, tuple[tuple[int, int, int], tuple[int, int], float]] = {
    "mnist": ((50000, 10000, 10000), (0, 255), 0.1325),
    "static_mnist": ((50000, 10000, 10000), (0, 1), 0.1325),
    "f_mnist": ((50000, 10000, 10000), (0, 255), 0.2868),
    "caltech": ((4100, 2264, 2307), (0, 1), 0.4610),
    "freyfaces": ((1565, 200, 200), (8, 238), 0.6062),
}


@needs_real_data
@pytest.mark.parametrize(("name", "expected"), REAL.items(), ids=REAL)
def test_real_data(name, expected):
    counts, levels, mean = expected
    folder = Path(str(REAL_DATA))
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    data = load(name, folder)
    splits = (data.train, data.val, data.test)
    assert tuple(len(split) for split in splits) == counts
    assert (min(int(split.images.min()) for split in splits), max(int(s.images.max()) for s in splits)) == levels
    assert data.test.images.double().mean() / data.levels == pytest.approx(mean, abs=5e-5)
    if data.classes:
        assert all(len(torch.unique(split.labels)) == data.classes for split in splits if split.labels is not None)
    assert data.notes == ()
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before, "nothing is written there"


@needs_real_data
def test_the_validation_split_of_mnist_holds_the_classes_in_balance():
    for name in ("mnist", "f_mnist"):
        labels = load(name, str(REAL_DATA)).val.labels
        assert labels is not None
        assert torch.bincount(labels).min() > 900


@needs_real_data
def test_the_names_of_the_silhouettes_are_those_in_their_file():
    from scipy.io import loadmat

    (file,) = DATASETS["caltech"].files
    names = loadmat(f"{REAL_DATA}/{file.path}", variable_names=["classnames"])["classnames"]
    assert tuple(str(name[0]) for name in names[0]) == DATASETS["caltech"].class_names


@needs_real_data
def test_digits_stand_upright():
    """The ones of MNIST are taller than wide: an image on its side would turn that round."""
    data = load("mnist", str(REAL_DATA))
    assert data.test.labels is not None
    ones = data.test.images[data.test.labels == 1, 0].double().mean(0).numpy()
    rows, columns = np.mgrid[:28, :28]
    spread = [float((ones * (axis - (ones * axis).sum() / ones.sum()) ** 2).sum()) for axis in (rows, columns)]
    assert spread[0] > 3 * spread[1]
