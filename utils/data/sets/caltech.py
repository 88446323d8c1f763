"""The Caltech 101 silhouettes, as Marlin gives them out."""

from utils.data.dataset import DataSet, Loaded, Source
from utils.data.files import Array, DataError, DataFile
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


def _parse(data: bytes, name: str) -> dict[str, Array]:
    """Read the matrices as bytes: images (N, 784), column-major with 0 as the foreground, and labels (N, 1) from 1."""
    import numpy as np

    matrices = read_mat(data, name, SHAPES)
    for key, matrix in matrices.items():
        if key.endswith("_data") and not ((matrix == 0) | (matrix == 1)).all():
            raise DataError(f"variable '{key}' holds other values than 0 and 1")
        if (matrix != np.rint(matrix)).any() or matrix.min() < 0 or matrix.max() > 255:
            raise DataError(f"variable '{key}' holds other values than whole numbers from 0 to 255")
    return {key: matrix.astype(np.uint8) for key, matrix in matrices.items()}


def _read(source: Source) -> Loaded:
    """Turn the images, and make the silhouette the foreground: 1 - data."""
    matrices = source.read(source.files[0])
    images = (1 - matrices[f"{part}_data"].reshape(-1, 1, 28, 28).swapaxes(2, 3) for part in PARTS)
    labels = (matrices[f"{part}_labels"][:, 0].astype("int64") - 1 for part in PARTS)
    return Loaded(*zip(images, labels, strict=True))


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
            _parse,
            ("https://people.cs.umass.edu/~marlin/data/caltech101_silhouettes_28_split1.mat",),
            content="sha256:e2086e72117b92c25ef5b1e8f45e15d70f7106a1f8b62e60b84f48b73e9aa245",
        ),
    ),
    splits=(4100, 2264, 2307),
    classes=101,
    class_names=CLASSES,
)
