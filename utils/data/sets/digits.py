"""The handwritten digits that come with scikit-learn, 8x8 with levels 0 to 16."""

from utils.data.dataset import DataSet, Loaded, Source
from utils.data.splits import fixed_permutation, stratified_split

SIZES = (1297, 200, 300)


def _read(source: Source) -> Loaded:
    import numpy as np
    from sklearn import datasets

    bundle = datasets.load_digits()
    images, labels = bundle.images.astype(np.uint8)[:, None], bundle.target
    parts = stratified_split(labels, fixed_permutation(len(labels), seed=0), SIZES[1:])
    return Loaded(*((images[part], labels[part]) for part in parts))


SPEC = DataSet(
    name="digits",
    title="handwritten digits, bundled with scikit-learn",
    shape=(1, 8, 8),
    likelihood="bce",
    levels=16,
    source="https://archive.ics.uci.edu/dataset/80 (Alpaydin and Kaynak 1998), the part that scikit-learn ships",
    licence="CC BY 4.0",
    split_rule="fixed, in equal shares of each class",
    read=_read,
    splits=SIZES,
    classes=10,
    class_names=tuple("0123456789"),
)
