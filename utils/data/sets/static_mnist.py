"""MNIST as Larochelle binarized it once, three text matrices."""

from functools import partial

from utils.data.dataset import DataSet, Loaded, Source
from utils.data.files import DataFile
from utils.data.formats import read_amat


def _file(part: str, size: int, sha256: str, content: str) -> DataFile:
    name = f"binarized_mnist_{part}.amat"
    return DataFile(
        f"MNIST_static/{name}",
        size,
        f"sha256:{sha256}",
        partial(read_amat, columns=784),
        (
            f"http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/{name}",
            f"https://raw.githubusercontent.com/riannevdberg/sylvester-flows/master/data/MNIST_static/{name}",
        ),
        content=f"sha256:{content}",
    )


def _read(source: Source) -> Loaded:
    return Loaded(*((source.read(file).reshape(-1, 1, 28, 28), None) for file in source.files))


SPEC = DataSet(
    name="static_mnist",
    title="handwritten digits, binarized once by Larochelle",
    shape=(1, 28, 28),
    likelihood="bce",
    levels=1,
    source="http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist (Larochelle and Murray 2011)",
    licence="not stated; made from MNIST",
    split_rule="as shipped",
    read=_read,
    files=(
        _file(
            "train",
            78400000,
            "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
            "43490d4d6ac9002727af4426d8748609fdb7e4094fa65ad8d681ea60082a7a5a",
        ),
        _file(
            "valid",
            15680000,
            "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
            "069b4f0beb389b776478c3e872b4df71c95ac4be64d7cbe6d32e24ebac8e6d5e",
        ),
        _file(
            "test",
            15680000,
            "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
            "ca0294c3b8d984c7a1dc891015a8eea6f37bae59a34e35ea0fc8c47110a8dd86",
        ),
    ),
    splits=(50000, 10000, 10000),
)
