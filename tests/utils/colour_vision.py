"""How different colours look to eyes that lack one kind of cone."""

from itertools import combinations

import numpy as np
from matplotlib.colors import to_rgb

# Linear RGB as eyes without one kind of cone see it (Machado, Oliveira and Fernandes 2009, severity 1).
SEEN = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def _lab(colour, missing):
    """CIELAB of a colour under the white point D65."""
    given = np.array(to_rgb(colour))
    linear = np.where(given <= 0.04045, given / 12.92, ((given + 0.055) / 1.055) ** 2.4)
    xyz = np.array(XYZ) @ np.clip(np.array(SEEN[missing]) @ linear, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def least_difference(colours, missing):
    """The least Euclidean distance in CIELAB between two of the colours."""
    places = [_lab(colour, missing) for colour in colours]
    return min(np.linalg.norm(first - second) for first, second in combinations(places, 2))
