"""FashionMNIST, clothing in the format of MNIST."""

from utils.data.dataset import DataSet
from utils.data.idx import idx_files, read_four

SPEC = DataSet(
    name="f_mnist",
    title="FashionMNIST, clothing",
    shape=(1, 28, 28),
    likelihood="bce",
    levels=255,
    source="https://github.com/zalandoresearch/fashion-mnist (Xiao, Rasul and Vollgraf 2017)",
    licence="MIT",
    split_rule="validation: the last 10,000 of the training file; test: the test file",
    read=read_four,
    files=idx_files(
        "FashionMNIST",
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        (
            (26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
            (29515, "25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
            (4422102, "bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
            (5148, "bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
        ),
    ),
    splits=(50000, 10000, 10000),
    classes=10,
    class_names=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
)
