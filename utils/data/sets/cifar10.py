"""CIFAR-10: small photographs in colour, in six pickled batches."""

from functools import partial

from utils.data.dataset import DataSet, Loaded, Source
from utils.data.files import Array, DataError, DataFile
from utils.data.formats import read_tar_members
from utils.data.pickles import read_array_pickle

BATCHES = {
    "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
    "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
    "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
}


def _parse_batch(data: bytes, name: str) -> tuple[Array, Array]:
    """Read images (N, 3, 32, 32), stored as planes of red, green and blue, and labels (N,)."""
    import numpy as np

    content = read_array_pickle(data, name)
    if not isinstance(content, dict):
        raise DataError(f"{name} holds no dictionary with data and labels")
    batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in content.items()}
    images, labels = batch.get("data"), batch.get("labels")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != 3072:
        raise DataError(f"{name} holds no array 'data' of N x 3072 bytes")
    if not isinstance(labels, list) or len(labels) != len(images) or any(label not in range(10) for label in labels):
        raise DataError(
            f"{name} holds no list 'labels' with a number from 0 to 9 for each of its {len(images):,} images"
        )
    return images.reshape(-1, 3, 32, 32), np.array(labels, np.int64)


def _read(source: Source) -> Loaded:
    """Read the six batches, unpacked or in their archive; the last tenth of the training images validates."""
    import numpy as np

    *train, test = source.read(source.files[0])
    images, labels = (np.concatenate(arrays) for arrays in zip(*train, strict=True))
    n_val = len(images) // 10
    return Loaded((images[:-n_val], labels[:-n_val]), (images[-n_val:], labels[-n_val:]), test)


SPEC = DataSet(
    name="cifar10",
    title="small photographs, in colour",
    shape=(3, 32, 32),
    likelihood="logistic",
    levels=255,
    source="https://www.cs.toronto.edu/~kriz/cifar.html (Krizhevsky 2009)",
    licence="not stated; the page asks to cite the report",
    split_rule="validation: the last 5,000 of the training batches; test: the test batch",
    read=_read,
    files=(
        DataFile(
            "cifar-10-python.tar.gz",
            170498071,
            "md5:c58f30108f718f92721af3b95e74349a",
            partial(read_tar_members, wanted=BATCHES),
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            parts=tuple(DataFile(path, None, f"md5:{md5}", _parse_batch) for path, md5 in BATCHES.items()),
            torchvision=True,
        ),
    ),
    splits=(45000, 5000, 10000),
    classes=10,
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
