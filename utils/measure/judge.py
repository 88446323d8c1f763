"""A small classifier of real images, by which samples are judged: never the model's own.

It is trained once for each data set, with a fixed seed, and stored beside the runs on it.

Shapes: N images (N, C, H, W) with values from 0 to 1, Y classes.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import fill
from utils.config.seeds import derive_seed
from utils.load_data import Data, Split
from utils.run import stamped
from utils.run.stamped import Damaged

WIDTH, FEATURES = 256, 64
SIDE = 32  # larger pictures are averaged down to so many pixels a side, which bounds the first layer
STEPS, BATCH, DROPOUT = 2000, 200, 0.2
BLOCK = 2000


class Judge(nn.Module):
    """Two hidden layers with ReLU and dropout.

    Args:
        shape: (C, H, W) of an image.
        classes: Y.

    Attributes:
        scale: the root mean square of the activations over the training images, so that the features of all data sets
            are of one size.
    """

    scale: Tensor

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.size = (height, width) if height == 1 else (min(height, SIDE), min(width, SIDE))  # one row is a vector
        self.shrinks = self.size != (height, width)
        self.hidden = nn.Sequential(
            nn.Linear(channels * prod(self.size), WIDTH), nn.ReLU(), nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, FEATURES), nn.ReLU(),
        )  # fmt: skip
        self.last = nn.Linear(FEATURES, classes)
        self.register_buffer("scale", torch.ones(()))

    def features(self, images: Tensor) -> Tensor:
        """The activations before the last layer, (N, 64), divided by `scale`."""
        small = F.adaptive_avg_pool2d(images, self.size) if self.shrinks else images
        return self.hidden(small.flatten(1)) / self.scale

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, Y)."""
        return self.last(F.dropout(self.features(images) * self.scale, DROPOUT, self.training))


@dataclass(frozen=True)
class Trained:
    """A trained judge.

    Attributes:
        judge: in evaluation mode.
        accuracy: the share of the real test images that it gets right.
        file: where it is stored.
    """

    judge: Judge
    accuracy: float
    file: Path


def judge_of(data: Data, folder: Path, device: torch.device, say: Callable[[str], None]) -> Trained:
    """The judge of a data set: the stored one, or where there is none a new one, which is stored.

    Args:
        data: with labels.
        folder: that holds the runs on it.
        device: where to compute.
        say: takes a line for the user.

    Raises:
        Foreign, OSError: the file cannot be used or written.
    """
    file = folder / f"classifier-{data.digest[:16]}.pt"
    stamp = {"format": 1, "hash": "classifier", "seed": 0, "data": data.digest}
    judge = Judge(data.shape, data.classes).to(device)
    with contextlib.suppress(Damaged):  # there is none yet, or it has to be trained again
        state = stamped.read(file, stamp, device)
        fill(judge, state.get("judge"), file)
        if isinstance(state.get("accuracy"), float):
            return Trained(judge.eval(), state["accuracy"], file)
    say(f"training the judge of samples, once for this data set: {file}")
    judge = train(data, device)
    accuracy = _accuracy(judge, data.test, data.levels)
    stamped.write(file, {"judge": judge.state_dict(), "accuracy": accuracy}, stamp)
    return Trained(judge, accuracy, file)


def train(data: Data, device: torch.device) -> Judge:
    """A new judge, trained on the training images; equal data give equal weights.

    Args:
        data: with labels.
        device: where to compute.
    """
    torch.manual_seed(derive_seed(data.digest, "judge"))
    judge = Judge(data.shape, data.classes).to(device)
    images, labels = data.train.images.to(device), data.train.labels
    assert labels is not None
    labels = labels.to(device)
    optimizer = torch.optim.Adam(judge.parameters(), lr=2e-3, fused=True)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(images), (BATCH,), device=device)
        loss = F.cross_entropy(judge(images[chosen].float() / data.levels), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
    judge.eval()
    with torch.no_grad():
        squares = [judge.features(part.float() / data.levels).square().mean(1) for part in images.split(BLOCK)]
        judge.scale.copy_(torch.cat(squares).mean().sqrt())
    return judge


@torch.no_grad()
def _accuracy(judge: Judge, split: Split, levels: int) -> float:
    """The share of a split that a judge gets right."""
    assert split.labels is not None
    device = judge.last.weight.device
    parts = zip(split.images.split(BLOCK), split.labels.split(BLOCK), strict=True)
    right = [judge(images.to(device).float() / levels).argmax(-1).cpu() == labels for images, labels in parts]
    return torch.cat(right).double().mean().item()
