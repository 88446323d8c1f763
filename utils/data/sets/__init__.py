"""The registry of data sets. A data set is a module that holds a `SPEC`, and its line here."""

from importlib import import_module

from utils.data.dataset import DataSet

_MODULES = (
    "utils.data.sets.digits",
    "utils.data.sets.mnist",
    "utils.data.sets.static_mnist",
    "utils.data.sets.f_mnist",
    "utils.data.sets.kmnist",
    "utils.data.sets.omniglot",
    "utils.data.sets.caltech",
    "utils.data.sets.freyfaces",
    "utils.data.sets.cifar10",
    "utils.data.image_folder",
    "utils.data.arrays",
)

DATASETS: dict[str, DataSet] = {spec.name: spec for spec in (import_module(module).SPEC for module in _MODULES)}
