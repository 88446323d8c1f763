"""Networks fit any image size and number of channels."""

from pkgutil import resolve_name

import pytest
import torch

from utils import model_utils
from utils.config.networks import NETWORKS
from utils.model_utils import ConvDecoder, ConvEncoder, MLPEncoder, count_parameters

SHAPES = [(1, 8, 8), (1, 28, 28), (1, 28, 20), (3, 32, 32), (3, 5, 7), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", sorted(NETWORKS))
@pytest.mark.parametrize("hidden", [(6,), (6, 5), (7, 6, 5)])
def test_shapes_and_gradients(kind, shape, hidden):
    network = NETWORKS[kind]
    encoder = resolve_name(network.encoder)(shape, hidden)
    decoder = resolve_name(network.decoder)(4, shape, 2, hidden)
    features = encoder(torch.rand(3, *shape))
    assert features.shape == (3, encoder.out_features)
    z = torch.randn(5, 3, 4)
    params = decoder(z)
    assert params.shape == (5, 3, 2 * shape[0] * shape[1] * shape[2])
    (features.sum() + params.square().sum()).backward()
    for module in (encoder, decoder):
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_latents_are_decoded_independently_of_their_neighbours(kind):
    decoder = resolve_name(NETWORKS[kind].decoder)(4, (1, 9, 6), 1, (6, 5))
    z = torch.randn(2, 3, 4)
    assert torch.allclose(decoder(z)[1, 2], decoder(z[1, 2:3])[0], atol=1e-6)


def test_computing_in_parts_is_computing_at_once(monkeypatch):
    encoder, decoder = ConvEncoder((1, 9, 6), (6, 5)), ConvDecoder(4, (1, 9, 6), 1, (6, 5))
    images, z = torch.rand(15, 1, 9, 6), torch.randn(3, 5, 4)
    at_once = encoder(images), decoder(z)
    monkeypatch.setattr(model_utils, "_CACHED", 4 * encoder.largest)
    with torch.no_grad():
        assert torch.allclose(encoder(images), at_once[0], atol=1e-6)
        assert torch.allclose(decoder(z), at_once[1], atol=1e-6)


@pytest.mark.parametrize("numbers", [1, 100, 2**20, 2**30])
def test_parts_are_as_large_as_their_bytes_allow(numbers):
    parts = []
    with torch.no_grad():
        model_utils.in_parts(lambda part: parts.append(len(part)) or part, torch.zeros(50, 1), numbers)
    assert sum(parts) == 50
    assert max(parts) == 1 or 4 * numbers * max(parts) <= 6 * 2**20
    assert len(parts) == 1 or 4 * numbers * (max(parts) + 1) > 6 * 2**20


def test_default_mlp_has_the_published_size():
    # 784-256-128 and back: the network of Davidson et al. 2018.
    encoder = MLPEncoder((1, 28, 28), NETWORKS["mlp"].hidden)
    assert count_parameters(encoder) == 784 * 256 + 256 + 256 * 128 + 128
