"""The networks that a model can be made of; importing this module does not import torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """An encoder and its mirror image as a decoder.

    Attributes:
        encoder, decoder: their classes, for `pkgutil.resolve_name`; see `utils.model_utils` for what they take.
        hidden: the hidden layers that they have unless others are asked for.
        has_map: whether the encoder's features are a map, with a vector for each cell.
    """

    encoder: str
    decoder: str
    hidden: tuple[int, ...]
    has_map: bool = False


NETWORKS: dict[str, Network] = {
    "mlp": Network("utils.model_utils:MLPEncoder", "utils.model_utils:MLPDecoder", (256, 128)),
    "cnn": Network("utils.model_utils:ConvEncoder", "utils.model_utils:ConvDecoder", (16, 32), has_map=True),
}
