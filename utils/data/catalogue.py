"""The catalogue of data sets: one entry each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.data import class_names
from utils.data import loaders as data_loaders
from utils.data.files import DataFile

if TYPE_CHECKING:
    from utils.data.files import DataRequest
    from utils.data.loaders import Loaded


@dataclass(frozen=True)
class DataSpec:
    """One data set.

    Attributes:
        name: The word given to `-d`.
        title: What it is, in a few words.
        shape: (C, H, W), or None where the files decide.
        likelihood: a key of `hyperspherical_vae.kinds.LIKELIHOODS`: the one used unless another is asked for.
        classes: Number of classes; 0 without labels, or where the files decide.
        levels: The highest pixel value.
        files: The files that it consists of.
        source: Where it comes from.
        licence: Licence or terms, as far as they are stated.
        splits: Images in the training, validation and test split; None where the files decide.
        split_rule: How the splits come about.
        loader: Reads the files.
        class_names: Names of the classes, where they are known beforehand.
    """

    name: str
    title: str
    shape: tuple[int, int, int] | None
    likelihood: str
    classes: int
    levels: int
    files: tuple[DataFile, ...]
    source: str
    licence: str
    splits: tuple[int, int, int] | None
    split_rule: str
    loader: Callable[[DataSpec, DataRequest], Loaded]
    class_names: tuple[str, ...] = ()


def _idx_files(folder: str, mirrors: tuple[str, ...], sums: tuple[tuple[int, str, str], ...]) -> tuple[DataFile, ...]:
    """The four gzipped files in torchvision's layout, each with its unpacked form."""
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    unpacked_sizes = (47040016, 60008, 7840016, 10008)
    return tuple(
        DataFile(
            f"{folder}/raw/{name}-ubyte.gz",
            size,
            f"md5:{packed_md5}",
            tuple(f"{mirror}{name}-ubyte.gz" for mirror in mirrors),
            forms=(DataFile(f"{folder}/raw/{name}-ubyte", unpacked_size, f"md5:{unpacked_md5}"),),
            torchvision=True,
        )
        for name, unpacked_size, (size, packed_md5, unpacked_md5) in zip(names, unpacked_sizes, sums, strict=True)
    )


def _amat_file(part: str, size: int, sha256: str, parsed: str) -> DataFile:
    """One text matrix of the static binarization, with its gzipped form."""
    name = f"binarized_mnist_{part}.amat"
    return DataFile(
        f"MNIST_static/{name}",
        size,
        f"sha256:{sha256}",
        (
            f"http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/{name}",
            f"https://raw.githubusercontent.com/riannevdberg/sylvester-flows/master/data/MNIST_static/{name}",
        ),
        forms=(DataFile(f"MNIST_static/{name}.gz", size, f"sha256:{sha256}", of_content=True),),
        parsed=parsed,
    )


_SPECS = (
    DataSpec(
        name="digits",
        title="handwritten digits, bundled with scikit-learn",
        shape=(1, 8, 8),
        likelihood="bce",
        classes=10,
        levels=16,
        files=(),
        source="https://archive.ics.uci.edu/dataset/80 (Alpaydin and Kaynak 1998), the part that scikit-learn ships",
        licence="CC BY 4.0",
        splits=(1297, 200, 300),
        split_rule="fixed, in equal shares of each class",
        loader=data_loaders.load_digits,
        class_names=class_names.DIGITS,
    ),
    DataSpec(
        name="mnist",
        title="handwritten digits",
        shape=(1, 28, 28),
        likelihood="bce",
        classes=10,
        levels=255,
        files=_idx_files(
            "MNIST",
            ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
            (
                (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
                (28881, "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
                (1648877, "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
                (4542, "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
            ),
        ),
        source="http://yann.lecun.com/exdb/mnist/ (LeCun, Cortes and Burges)",
        licence="CC BY-SA 3.0",
        splits=(50000, 10000, 10000),
        split_rule="validation: the last 10,000 of the training file; test: the test file",
        loader=data_loaders.load_mnist,
        class_names=class_names.DIGITS,
    ),
    DataSpec(
        name="static_mnist",
        title="handwritten digits, binarized once by Larochelle",
        shape=(1, 28, 28),
        likelihood="bce",
        classes=0,
        levels=1,
        files=(
            _amat_file(
                "train",
                78400000,
                "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
                parsed="727146c35424b019f3e350e1e69faa05644a0abaf787e3f4e1a9632220a13906",
            ),
            _amat_file(
                "valid",
                15680000,
                "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
                parsed="a256ac44ae26be720fad8616a05ed6ecfd1619930d9a208379bb2a4405df5b6d",
            ),
            _amat_file(
                "test",
                15680000,
                "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
                parsed="9fcd8da6f0fdf09b2ba30fe63a0bb784042a0de82563172530229b983e294ff2",
            ),
        ),
        source="http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist (Larochelle and Murray 2011)",
        licence="not stated; made from MNIST",
        splits=(50000, 10000, 10000),
        split_rule="as shipped",
        loader=data_loaders.load_static_mnist,
    ),
    DataSpec(
        name="f_mnist",
        title="FashionMNIST, clothing",
        shape=(1, 28, 28),
        likelihood="bce",
        classes=10,
        levels=255,
        files=_idx_files(
            "FashionMNIST",
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
            (
                (26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
                (29515, "25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
                (4422102, "bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
                (5148, "bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
            ),
        ),
        source="https://github.com/zalandoresearch/fashion-mnist (Xiao, Rasul and Vollgraf 2017)",
        licence="MIT",
        splits=(50000, 10000, 10000),
        split_rule="validation: the last 10,000 of the training file; test: the test file",
        loader=data_loaders.load_mnist,
        class_names=class_names.FASHION,
    ),
    DataSpec(
        name="omniglot",
        title="handwritten characters of 50 alphabets",
        shape=(1, 28, 28),
        likelihood="bce",
        classes=50,
        levels=255,
        files=(
            DataFile(
                "OMNIGLOT/chardata.mat",
                None,
                "git-blob:016a3536ffe5e1d38e42563a18d7a78bfaf643ec",
                ("https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat",),
            ),
        ),
        source="https://github.com/yburda/iwae (Burda et al. 2016), from the drawings of Lake et al. 2015",
        licence="not stated; the drawings are MIT",
        splits=(23000, 1345, 8070),
        split_rule="validation: 1,345 of the training part, by a fixed lot; test: the test part",
        loader=data_loaders.load_omniglot,
    ),
    DataSpec(
        name="caltech",
        title="Caltech 101 silhouettes",
        shape=(1, 28, 28),
        likelihood="bce",
        classes=101,
        levels=1,
        files=(
            DataFile(
                "Caltech101Silhouettes/caltech101_silhouettes_28_split1.mat",
                872124,
                "sha256:eb6735e8d84b1850fabc5590124aab1755e90c9fd28123585324398405e1e42a",
                ("https://people.cs.umass.edu/~marlin/data/caltech101_silhouettes_28_split1.mat",),
            ),
        ),
        source="https://people.cs.umass.edu/~marlin/data.shtml (Marlin et al. 2010)",
        licence="not stated",
        splits=(4100, 2264, 2307),
        split_rule="as shipped",
        loader=data_loaders.load_caltech,
        class_names=class_names.CALTECH101,
    ),
    DataSpec(
        name="freyfaces",
        title="video frames of one face",
        shape=(1, 28, 20),
        likelihood="logistic",
        classes=0,
        levels=255,
        files=(
            DataFile(
                "Freyfaces/freyfaces.pkl",
                3568521,
                "sha256:3b69410c6a5fd6e03f09012905168be3712373a094a776f7e58fcd0670d2138a",
                ("https://raw.githubusercontent.com/riannevdberg/sylvester-flows/master/data/Freyfaces/freyfaces.pkl",),
                forms=(
                    DataFile(
                        "Freyfaces/frey_rawface.mat",
                        1100400,
                        "sha256:2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78",
                        ("https://cs.nyu.edu/~roweis/data/frey_rawface.mat",),
                        of_content=True,
                    ),
                ),
            ),
        ),
        source="https://cs.nyu.edu/~roweis/data.html (Brendan Frey and Sam Roweis)",
        licence="not stated",
        splits=(1565, 200, 200),
        split_rule="by a fixed lot, that of Sylvester normalizing flows",
        loader=data_loaders.load_freyfaces,
    ),
    DataSpec(
        name="cifar10",
        title="small photographs, in colour",
        shape=(3, 32, 32),
        likelihood="logistic",
        classes=10,
        levels=255,
        files=(
            DataFile(
                "cifar-10-python.tar.gz",
                170498071,
                "md5:c58f30108f718f92721af3b95e74349a",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
                parts=tuple(
                    DataFile(f"cifar-10-batches-py/{name}", None, f"md5:{md5}")
                    for name, md5 in (
                        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
                        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
                        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
                        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
                        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
                        ("test_batch", "40351d587109b95175f43aff81a1287e"),
                    )
                ),
                torchvision=True,
            ),
        ),
        source="https://www.cs.toronto.edu/~kriz/cifar.html (Krizhevsky 2009)",
        licence="not stated; the page asks to cite the report",
        splits=(45000, 5000, 10000),
        split_rule="validation: the last 5,000 of the training batches; test: the test batch",
        loader=data_loaders.load_cifar10,
        class_names=class_names.CIFAR10,
    ),
    DataSpec(
        name="folder",
        title="your own PNG or JPEG images, in --data_dir",
        shape=None,
        likelihood="logistic",
        classes=0,
        levels=255,
        files=(),
        source="class folders, or train, val and test folders of them",
        licence="yours",
        splits=None,
        split_rule="by folders, else 80 : 10 : 10, fixed, in equal shares of each class",
        loader=data_loaders.load_folder,
    ),
)

DATASETS: dict[str, DataSpec] = {spec.name: spec for spec in _SPECS}
