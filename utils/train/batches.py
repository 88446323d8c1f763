"""Images on the training device: batches for training, fixed images for validation and test.

Shapes: N images of a split, B of a batch, images (., C, H, W), labels (.,). Splits hold grey levels 0..levels as
bytes; models see floats in [0, 1]. Where the likelihood is of binary pixels, a grey level is the probability of a one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utils.config.seeds import derive_seed
from utils.load_data import Split
from utils.train.peers import ALONE, Alone

BLOCK = 1 << 23  # bytes of images that are made floats together


@dataclass(frozen=True)
class Preparation:
    """How the images of a split become what a model sees.

    Attributes:
        levels: highest grey level; 1 says that the images are binary already.
        binary: whether the model needs binary images.
        seed: of the run.
        device: where the images go.
    """

    levels: int
    binary: bool
    seed: int
    device: torch.device

    @property
    def binarizes(self) -> bool:
        """Whether grey images have to be made binary."""
        return self.binary and self.levels > 1

    def fixed(self, split: Split, purpose: str) -> Tensor:
        """The images of a split as floats, (N, C, H, W), binarized once if need be; see `blocks`."""
        return torch.cat(list(self.blocks(split, purpose)))

    def blocks(self, split: Split, purpose: str, seed: int | str | None = None) -> Iterator[Tensor]:
        """The same block by block, (n, C, H, W), each of about `BLOCK` bytes.

        The noise is drawn on the CPU and fixed by the seed alone, so that it is the same on every device.

        Args:
            split: images as bytes.
            purpose: keeps the noise of two splits apart.
            seed: of the noise; by default that of the run.
        """
        seed = self.seed if seed is None else seed
        generator = torch.Generator().manual_seed(derive_seed(seed, "binarize", purpose))
        for part in split.images.split(max(BLOCK // (4 * split.images[0].numel()), 1)):
            images = part.float() / self.levels
            if self.binarizes:
                images = torch.bernoulli(images, generator=generator)
            yield images.to(self.device)


def binarize(grey: Tensor, levels: int) -> Tensor:
    """Float images of zeros and ones whose pixels are one with probability grey / levels, independently.

    A pixel is one where a uniform whole number below `levels` is below its grey level. On a CPU such numbers are made
    of random bytes, a fifth of the work of `torch.bernoulli`: those at or above the largest multiple of `levels` are
    drawn again, so that the probabilities are exact.

    Args:
        grey: levels from 0 to `levels`, uint8.
        levels: 1 to 255.
    """
    if grey.device.type != "cpu":
        return torch.bernoulli(grey.float().div_(levels))
    words = torch.empty(-(-grey.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    # numpy compares bytes, and finds the few among the many, far faster than torch does.
    uniform = words.view(torch.uint8).numpy()[: grey.numel()]
    if 256 % levels:
        limit = 256 - 256 % levels
        again = np.flatnonzero(uniform >= limit)
        uniform[again] = torch.randint(limit, again.shape, dtype=torch.uint8).numpy()
    if levels <= 128:
        uniform %= levels
    ones = uniform.reshape(grey.shape) < grey.numpy()
    return torch.from_numpy(ones.view(np.uint8)).to(torch.get_default_dtype())


class TrainingImages:
    """The training split on the device, given out in shuffled batches.

    Args:
        split: images as bytes, (N, C, H, W).
        preparation: how they become what the model sees; grey ones that have to be binary are binarized in every batch.
        batch_size: B; the last batch of an epoch may be smaller.
        once: binarize once instead, with noise fixed by the seed.
        labels: class of each image, (N,), -1 for those that training must not know; None where none is wanted.
        peers: the processes among which every batch is shared.
    """

    def __init__(
        self,
        split: Split,
        preparation: Preparation,
        batch_size: int,
        once: bool = False,
        labels: Tensor | None = None,
        peers: Alone = ALONE,
    ) -> None:
        device = preparation.device
        self.labelled_fraction = 0.0 if labels is None else (labels >= 0).float().mean().item()
        self.labels = None if labels is None else labels.to(device)
        self.images, self.levels = split.images.to(device), preparation.levels
        self.dynamic = preparation.binarizes and not once
        if preparation.binarizes and once:
            self.images, self.levels = preparation.fixed(split, "train").to(torch.uint8), 1
        self.batch_size = batch_size
        self.peers = peers

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-len(self.images) // self.batch_size)

    def epoch(self, seed: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """The batches of one epoch in the order that the seed gives, from batch number `start` on.

        Binarization noise comes from torch's global generator, which the caller seeds.

        Yields:
            (images,), or (images, labels) where there are labels.
        """
        generator = torch.Generator(self.images.device).manual_seed(seed)
        order = torch.randperm(len(self.images), generator=generator, device=self.images.device)
        for whole in order.split(self.batch_size)[start:]:
            indices = self.peers.share(whole)
            grey = self.images.index_select(0, indices)
            images = binarize(grey, self.levels) if self.dynamic else grey.float().div_(self.levels)
            yield (images,) if self.labels is None else (images, self.labels[indices])
