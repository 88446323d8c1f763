"""MNIST, the handwritten digits of LeCun, Cortes and Burges."""

from utils.data.dataset import DataSet
from utils.data.idx import idx_files, read_four

SPEC = DataSet(
    name="mnist",
    title="handwritten digits",
    shape=(1, 28, 28),
    likelihood="bce",
    levels=255,
    source="http://yann.lecun.com/exdb/mnist/ (LeCun, Cortes and Burges)",
    licence="CC BY-SA 3.0",
    split_rule="validation: the last 10,000 of the training file; test: the test file",
    read=read_four,
    files=idx_files(
        "MNIST",
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        (
            (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
            (28881, "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
            (1648877, "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
            (4542, "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
        ),
    ),
    splits=(50000, 10000, 10000),
    classes=10,
    class_names=tuple("0123456789"),
)
