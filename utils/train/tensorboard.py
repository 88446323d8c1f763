"""The scalars and figures of a run for TensorBoard, which is an extra: nothing else depends on it."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from utils.config.flags import UsageError
from utils.run.records import flatten, mean_of


def check_installed() -> None:
    """Refuse `--tensorboard` where the package is missing.

    Raises:
        UsageError: what to install.
    """
    if find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard: needs the package tensorboard; install it with pip install -r requirements-extras.txt"
        )


def scalar_writer(folder: Path, epoch: int) -> Callable[[Mapping[str, Any]], None]:
    """A function that writes the numbers of a line of `metrics.jsonl`, under names such as `val/elbo`.

    Args:
        folder: takes the event files.
        epoch: the last one that counts; later ones are trained again, and what was written of them is dropped.
    """
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder), purge_step=epoch + 1)

    def write(line: Mapping[str, Any]) -> None:
        for name, found in flatten(line):
            if (value := mean_of(found)) is not None and name != "epoch":
                writer.add_scalar(name.replace(".", "/"), value, line["epoch"])
        writer.flush()

    return write


def write_figures(folder: Path, figures: Path, epoch: int) -> None:
    """Write the PNG files of a folder, under their names, as of an epoch."""
    import numpy as np
    from PIL import Image
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for path in sorted(figures.glob("*.png")):
            with Image.open(path) as image:
                writer.add_image(path.stem, np.asarray(image.convert("RGB")), epoch, dataformats="HWC")
