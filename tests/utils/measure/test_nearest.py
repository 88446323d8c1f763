"""The nearest training image is found exactly, whatever fits into the memory."""

import pytest
import torch

from utils.measure import nearest


@pytest.mark.parametrize("rows", [None, 7])
def test_distance_is_that_of_the_nearest(rows, monkeypatch):
    torch.manual_seed(0)
    train = torch.randint(0, 17, (50, 1, 4, 3), dtype=torch.uint8)
    images = torch.rand(20, 1, 4, 3)
    images[3] = train[41] / 16
    if rows:
        monkeypatch.setattr(nearest, "BYTES", rows * 4 * (12 + 20))
    found = nearest.nearest_distance(images, train, 16)
    exact = torch.cdist(images.flatten(1).double(), train.flatten(1).double() / 16).min(1).values
    assert found[3] == 0
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)
