"""How far images are from the nearest training image."""

import math

import torch
from torch import Tensor

BYTES = 2**26  # of the training images and distances that are held at once


def nearest_distance(images: Tensor, train: Tensor, levels: int) -> Tensor:
    """The Euclidean distance of each image to the nearest training image, over all its values.

    Args:
        images: (N, C, H, W), floats; their copy is held whole.
        train: training images as they are stored, (M, C, H, W).
        levels: by which those are divided.

    Returns:
        (N,), exact for the image that is found: squares of close distances cancel in the search alone.
    """
    flat = images.flatten(1)
    best = flat.new_full((len(flat),), math.inf)
    index = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
    rows = max(BYTES // (4 * (flat.shape[1] + len(flat))), 1)
    for start in range(0, len(train), rows):
        part = _floats(train[start : start + rows], flat.device, levels)
        # |x - y|^2 less |x|^2, which does not change the order.
        values, places = torch.addmm(part.square().sum(1), flat, part.T, alpha=-2).min(1)
        closer = values < best
        best = torch.where(closer, values, best)
        index = torch.where(closer, start + places, index)
    pairs = zip(flat.split(rows), index.to(train.device).split(rows), strict=True)
    return torch.cat([(x - _floats(train[nearest], flat.device, levels)).norm(dim=1) for x, nearest in pairs])


def _floats(images: Tensor, device: torch.device, levels: int) -> Tensor:
    return images.to(device).flatten(1).float() / levels
