"""Networks between images and features (encoders) and between latents and pixel parameters (decoders).

An encoder maps images (B, C, H, W) to features (B, F); a decoder maps latents (..., D) to the P numbers per pixel value
that the likelihood asks for, (..., P*C*H*W). Any image size fits.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from hyperspherical_vae.dense import dense

Shape = tuple[int, int, int]

# Numbers of the largest layer that are computed at once where no gradient is recorded: on a CPU 6 MB, which stay in its
# cache (log p(x) of MNIST takes half as long again at 13 MB), elsewhere 256 MB. It depends on no machine's memory,
# because the sizes of products decide how they are rounded.
_CACHED, _ELSEWHERE = 3 * 2**19, 2**26


def at_once(device: torch.device, numbers: int) -> int:
    """How many rows to compute at once on a device where each has that many numbers in its largest layer."""
    return max((_CACHED if device.type == "cpu" else _ELSEWHERE) // numbers, 1)


def in_parts(function: Callable[[Tensor], Tensor], rows: Tensor, numbers: int) -> Tensor:
    """function(rows), part by part where no gradient is recorded: memory is bounded however many rows there are.

    Args:
        function: takes rows (n, ...) to rows (n, ...), each by itself.
        rows: (N, ...).
        numbers: in the largest layer, for each row.
    """
    size = at_once(rows.device, numbers)
    if torch.is_grad_enabled() or len(rows) <= size:
        return function(rows)
    return torch.cat([function(part) for part in rows.split(size)])


class _DenseLayers(nn.Sequential):
    """Linear layers and ReLUs in turn, computed by `dense`."""

    def forward(self, x: Tensor) -> Tensor:
        linear = [layer for layer in self if isinstance(layer, nn.Linear)]
        weights, biases = [layer.weight for layer in linear], [layer.bias for layer in linear]
        return dense(x, weights, biases, relu_last=isinstance(self[-1], nn.ReLU))


class MLPEncoder(nn.Module):
    """Fully connected layers with ReLU after each.

    Args:
        shape: (C, H, W) of an image.
        hidden: units of the layers, first to last.
        bias: whether the layers have biases.
    """

    map_shape = None

    def __init__(self, shape: Shape, hidden: Sequence[int], bias: bool = True) -> None:
        super().__init__()
        widths = [prod(shape), *hidden]
        # The first is there for the names of the others in checkpoints.
        self.layers = _DenseLayers(nn.Flatten(), *_hidden_layers(widths, bias))
        self.out_features = widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.flatten(1))


class MLPDecoder(nn.Module):
    """The mirror of `MLPEncoder`, with a linear last layer.

    Args:
        in_features: D, width of the latent.
        shape: (C, H, W) of an image.
        params_per_pixel: P.
        hidden: units of the encoder's layers, which are taken in reverse.
        bias: whether the layers have biases.
        map_shape: of a latent that is a map; no matter here.
    """

    def __init__(
        self,
        in_features: int,
        shape: Shape,
        params_per_pixel: int,
        hidden: Sequence[int],
        bias: bool = True,
        map_shape: Shape | None = None,
    ) -> None:
        super().__init__()
        widths = [in_features, *reversed(hidden)]
        last = nn.Linear(widths[-1], params_per_pixel * prod(shape), bias)
        self.layers = _DenseLayers(*_hidden_layers(widths, bias), last)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


def _hidden_layers(widths: Sequence[int], bias: bool) -> list[nn.Module]:
    return [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair, bias), nn.ReLU())]


class _Gate(nn.Module):
    """Half of the channels times the sigmoid of the other half (Dauphin et al. 2017)."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.glu(x, 1)


def _halvings(shape: Shape, steps: int) -> list[tuple[int, int]]:
    """(height, width) after 0, 1, ... `steps` halvings, rounded up."""
    sizes = [shape[1:]]
    for _ in range(steps):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


class ConvEncoder(nn.Module):
    """Gated convolutions, each halving height and width (rounded up).

    Args:
        shape: (C, H, W) of an image.
        hidden: channels after each halving.
        bias: whether the layers have biases.

    Attributes:
        map_shape: (C, H, W) of the last map, which the features are, flattened.
    """

    def __init__(self, shape: Shape, hidden: Sequence[int], bias: bool = True) -> None:
        super().__init__()
        channels = [shape[0], *hidden]
        layers = [
            layer
            for before, after in pairwise(channels)
            for layer in (nn.Conv2d(before, 2 * after, 3, stride=2, padding=1, bias=bias), _Gate())
        ]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        sizes = _halvings(shape, len(hidden))
        self.largest = max(2 * after * prod(size) for after, size in zip(hidden, sizes[1:], strict=True))
        self.map_shape = (channels[-1], *sizes[-1])
        self.out_features = prod(self.map_shape)

    def forward(self, images: Tensor) -> Tensor:
        return in_parts(self.layers, images, self.largest)


class ConvDecoder(nn.Module):
    """The mirror of `ConvEncoder`: a linear layer to the smallest map, then gated transposed convolutions.

    Where the latent is a map of that size already, the linear layer is one per cell.

    Args:
        in_features: D, width of the latent.
        shape: (C, H, W) of an image.
        params_per_pixel: P.
        hidden: channels of the encoder's layers, which are taken in reverse.
        bias: whether the layers have biases.
        map_shape: (C, H, W) of a latent that is a map.
    """

    def __init__(
        self,
        in_features: int,
        shape: Shape,
        params_per_pixel: int,
        hidden: Sequence[int],
        bias: bool = True,
        map_shape: Shape | None = None,
    ) -> None:
        super().__init__()
        self.sizes = _halvings(shape, len(hidden))[::-1]
        self.map_shape = map_shape if map_shape is not None and map_shape[1:] == self.sizes[0] else None
        self.first = (
            nn.Linear(in_features, hidden[-1] * prod(self.sizes[0]), bias)
            if self.map_shape is None
            else nn.Conv2d(self.map_shape[0], hidden[-1], 1, bias=bias)
        )
        channels = [*reversed(hidden), hidden[0]]
        # A kernel of 4 covers a stride of 2 evenly, which a kernel of 3 does not (checkerboards).
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(before, 2 * after, 4, stride=2, padding=1, bias=bias)
            for before, after in pairwise(channels)
        )
        self.gate = _Gate()
        self.last = nn.Conv2d(channels[-1], params_per_pixel * shape[0], 3, padding=1, bias=bias)
        self.largest = max(2 * after * prod(size) for after, size in zip(channels[1:], self.sizes[1:], strict=True))

    def forward(self, z: Tensor) -> Tensor:
        return in_parts(self._decode, z.flatten(0, -2), self.largest).unflatten(0, z.shape[:-1])

    def _decode(self, z: Tensor) -> Tensor:
        if self.map_shape is None:
            maps = self.first(z).unflatten(-1, (-1, *self.sizes[0]))
        else:
            maps = self.first(z.unflatten(-1, self.map_shape))
        for layer, (height, width) in zip(self.layers, self.sizes[1:], strict=True):
            # An odd size was rounded up on the way down; the surplus row or column goes here.
            maps = self.gate(layer(maps)[..., :height, :width])
        return self.last(maps).flatten(1)


def build_classifier(in_features: int, classes: int) -> nn.Module:
    """A network with one hidden layer from latents (..., D) to the logits of the classes (..., Y)."""
    return _DenseLayers(nn.Linear(in_features, 128), nn.ReLU(), nn.Linear(128, classes))


def count_parameters(module: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and afterwards in the mode that it was in."""
    before = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(before)
