"""The Caltech 101 silhouettes, as Marlin gives them out."""

from functools import partial

from utils.data.dataset import DataSet, Loaded, Source
from utils.data.files import DataError, DataFile
from utils.data.mat import read_mat

PARTS = ("train", "val", "test")
SHAPES = {f"{part}_{kind}": (None, width) for part in PARTS for kind, width in (("data", 784), ("labels", 1))}

# fmt: off
CLASSES = (
    "Airplanes Side 2", "Faces 2", "Faces 3", "Leopards", "Motorbikes 16", "accordion", "anchor", "ant", "barrel",
    "bass", "beaver", "binocular", "bonsai", "brain", "brontosaurus", "buddha", "butterfly", "camera", "cannon",
    "car side", "ceiling fan", "cellphone", "chair", "chandelier", "cougar body", "cougar face", "crab", "crayfish",
    "crocodile", "crocodile head", "cup", "dalmatian", "dollar bill", "dolphin", "dragonfly", "electric guitar",
    "elephant", "emu", "euphonium", "ewer", "ferry", "flamingo", "flamingo head", "garfield", "gerenuk", "gramophone",
    "grand piano", "hawksbill", "headphone", "hedgehog", "helicopter", "ibis", "inline skate", "joshua tree",
    "kangaroo", "ketch", "lamp", "laptop", "llama", "lobster", "lotus", "mandolin", "mayfly", "menorah", "metronome",
    "minaret", "nautilus", "octopus", "okapi", "pagoda", "panda", "pigeon", "pizza", "platypus", "pyramid",
    "revolver", "rhino", "rooster", "saxophone", "schooner", "scissors", "scorpion", "sea horse", "snoopy",
    "soccer ball", "stapler", "starfish", "stegosaurus", "stop sign", "strawberry", "sunflower", "tick", "trilobite",
    "umbrella", "watch", "water lilly", "wheelchair", "wild cat", "windsor chair", "wrench", "yin yang",
)
# fmt: on


def _read(source: Source) -> Loaded:
    """Read the column-major images, and make the silhouette the foreground: 1 - data."""
    import numpy as np

    matrices = source.read(source.files[0])
    splits = []
    for part in PARTS:
        images, labels = matrices[f"{part}_data"], matrices[f"{part}_labels"][:, 0]
        if not ((images == 0) | (images == 1)).all():
            raise DataError(f"variable '{part}_data' holds other values than 0 and 1")
        if (labels != np.rint(labels)).any():
            raise DataError(f"variable '{part}_labels' holds other values than whole numbers")
        foreground = (1 - images).astype(np.uint8).reshape(-1, 1, 28, 28).swapaxes(2, 3)
        splits.append((foreground, labels.astype(np.int64) - 1))
    return Loaded(*splits)


SPEC = DataSet(
    name="caltech",
    title="Caltech 101 silhouettes",
    shape=(1, 28, 28),
    likelihood="bce",
    levels=1,
    source="https://people.cs.umass.edu/~marlin/data.shtml (Marlin et al. 2010)",
    licence="not stated",
    split_rule="as shipped",
    read=_read,
    files=(
        DataFile(
            "Caltech101Silhouettes/caltech101_silhouettes_28_split1.mat",
            872124,
            "sha256:eb6735e8d84b1850fabc5590124aab1755e90c9fd28123585324398405e1e42a",
            partial(read_mat, shapes=SHAPES),
            ("https://people.cs.umass.edu/~marlin/data/caltech101_silhouettes_28_split1.mat",),
        ),
    ),
    splits=(4100, 2264, 2307),
    classes=101,
    class_names=CLASSES,
)
