"""Frey's face: video frames, 28x20 with 256 levels."""

from utils.data.dataset import DataSet, Loaded, Source
from utils.data.files import Array, DataError, DataFile
from utils.data.mat import read_mat
from utils.data.pickles import read_array_pickle
from utils.data.splits import fixed_permutation


def _parse(data: bytes, name: str) -> Array:
    """Read the frames, (N, 560), from the MAT file of their authors or from the pickle that VAE papers pass around."""
    import numpy as np

    if data.startswith(b"MATLAB") or data[:2] == b"\0\0":  # version 4 begins with its type, a small number
        stored = read_mat(data, name, {"ff": (560, None)})["ff"].T
        faces = stored.clip(0, 255).astype(np.uint8)
        if (faces != stored).any():
            raise DataError(f"variable 'ff' of {name} holds other values than whole numbers from 0 to 255")
        return faces
    content = read_array_pickle(data, name)
    faces = content[0] if isinstance(content, list) and len(content) == 1 else content
    if not isinstance(faces, np.ndarray) or faces.ndim != 2 or faces.shape[1] != 560 or faces.dtype != np.uint8:
        raise DataError(f"{name} holds no array of shape N x 560 and type uint8")
    return faces


def _read(source: Source) -> Loaded:
    """Split the frames by lot, as they follow each other in time.

    The seed is the default of Sylvester normalizing flows (van den Berg et al. 2018), whose split others have reported
    on.
    """
    faces = source.read(source.files[0])
    shuffled = faces[fixed_permutation(len(faces), seed=123)].reshape(-1, 1, 28, 20)
    held_out = len(faces) * 200 // 1965
    n_train = len(faces) - 2 * held_out
    test = n_train + held_out
    return Loaded((shuffled[:n_train], None), (shuffled[n_train:test], None), (shuffled[test:], None))


SPEC = DataSet(
    name="freyfaces",
    title="video frames of one face",
    shape=(1, 28, 20),
    likelihood="logistic",
    levels=255,
    source="https://cs.nyu.edu/~roweis/data/frey_rawface.mat (Brendan Frey and Sam Roweis), or the pickle made of it",
    licence="not stated",
    split_rule="by a fixed lot, that of Sylvester normalizing flows",
    read=_read,
    files=(
        DataFile(
            "Freyfaces/freyfaces.pkl",
            3568521,
            "sha256:3b69410c6a5fd6e03f09012905168be3712373a094a776f7e58fcd0670d2138a",
            _parse,
            ("https://raw.githubusercontent.com/riannevdberg/sylvester-flows/master/data/Freyfaces/freyfaces.pkl",),
            content="sha256:2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78",
            names=("frey_rawface.mat",),
        ),
    ),
    splits=(1565, 200, 200),
)
