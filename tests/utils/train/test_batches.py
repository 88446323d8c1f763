"""Images on their way into a model: range, binarization, order."""

import pytest
import torch

from utils.load_data import Split
from utils.train.batches import Preparation, TrainingImages, binarize

CPU = torch.device("cpu")


def split(n=1000, levels=255):
    generator = torch.Generator().manual_seed(0)
    return Split(torch.randint(0, levels + 1, (n, 1, 4, 5), dtype=torch.uint8, generator=generator), None)


def training(images, levels=255, batch_size=64, binary=True, **how):
    return TrainingImages(images, Preparation(levels, binary, 1, CPU), batch_size, **how)


def fixed(images, seed, purpose):
    return Preparation(255, True, seed, CPU).fixed(images, purpose)


def test_grey_level_is_the_probability_of_a_one():
    # Raw levels 0..255 taken for probabilities would turn every grey pixel into a one.
    images = split(4000)
    torch.manual_seed(0)
    drawn = torch.cat([batch for (batch,) in training(images).epoch(3)])
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    expected = images.images.float().mean() / 255
    # 80,000 pixels: the standard error is below 0.0018; five of them.
    assert abs(drawn.mean() - expected) < 0.009


def test_noise_is_new_in_every_batch_unless_binarized_once():
    images = split(64)
    for once, same in ((False, False), (True, True)):
        batches = training(images, once=once)
        torch.manual_seed(0)
        first, second = (next(batches.epoch(5))[0] for _ in range(2))
        assert torch.equal(first, second) == same


def test_grey_images_stay_grey_where_the_likelihood_is_not_binary():
    images = split(64)
    batch = next(training(images, binary=False).epoch(5))[0]
    assert batch.min() >= 0
    assert batch.max() == 1
    assert torch.equal(batch.sort(0).values, (images.images.float() / 255).sort(0).values)


def test_binary_data_is_used_as_it_is():
    images = split(64, levels=1)
    batch = next(training(images, levels=1).epoch(5))[0]
    assert torch.equal(batch.sort(0).values, images.images.float().sort(0).values)


@pytest.mark.parametrize(("n", "batch_size", "batches"), [(100, 10, 10), (101, 10, 11), (5, 10, 1)])
def test_every_image_comes_once_an_epoch(n, batch_size, batches):
    images = Split(torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1), None)
    source = training(images, binary=False, batch_size=batch_size)
    found = [batch for (batch,) in source.epoch(7)]
    assert len(found) == len(source) == batches
    assert sorted((torch.cat(found).flatten() * 255).round().int().tolist()) == list(range(n))


def test_order_depends_on_the_seed_and_an_epoch_can_begin_in_the_middle():
    source = training(split(100), binary=False, batch_size=10)
    whole = [batch for (batch,) in source.epoch(7)]
    assert all(torch.equal(a, b) for a, (b,) in zip(whole[4:], source.epoch(7, start=4)))
    assert not torch.equal(whole[0], next(source.epoch(8))[0])


def test_test_noise_is_fixed_by_the_seed_alone():
    images = split(200)
    torch.manual_seed(1)
    first = fixed(images, 3, "test")
    torch.manual_seed(2)
    assert torch.equal(first, fixed(images, 3, "test"))
    assert not torch.equal(first, fixed(images, 4, "test"))
    assert not torch.equal(first, fixed(images, 3, "val"))


def test_labels_travel_with_their_images():
    images = Split(torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1), None)
    labels = torch.arange(50) % 7
    labels[::2] = -1
    source = training(images, binary=False, batch_size=8, labels=labels)
    assert source.labelled_fraction == 0.5
    seen = 0
    for x, y in source.epoch(3):
        assert torch.equal(y, labels[(x.flatten() * 255).round().long()])
        seen += len(y)
    assert seen == 50


@pytest.mark.parametrize("levels", [1, 2, 3, 16, 100, 127, 128, 200, 254, 255])
def test_binarization_is_exact_at_every_level(levels):
    # 40,000 pixels at each grey level; levels 0 and the highest are certain. The squares of the standardized counts of
    # the others average to 1 with a standard error of sqrt(2 / number of them).
    torch.manual_seed(levels)
    grey = torch.arange(levels + 1, dtype=torch.uint8).repeat(40_000, 1)
    drawn = binarize(grey, levels)
    assert drawn.dtype == torch.float32
    assert drawn.shape == grey.shape
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    assert (drawn[:, 0] == 0).all()
    assert (drawn[:, -1] == 1).all()
    p = torch.arange(1, levels, dtype=torch.float64) / levels
    z2 = (drawn[:, 1:-1].double().mean(0) - p).square() / (p * (1 - p) / 40_000)
    # Five standard errors of each count and, where there are many, of their average: one seed in ten thousand fails.
    assert (z2 < 25).all()
    assert levels < 100 or z2.mean() < 1 + 5 * (2 / (levels - 1)) ** 0.5


def test_binarized_pixels_are_independent_and_any_number_of_them_fits():
    torch.manual_seed(0)
    grey = torch.full((3001, 7), 128, dtype=torch.uint8)
    drawn = binarize(grey, 255).double() - 128 / 255
    # Neighbours in a row and in a column share no noise; 4.5 standard errors.
    assert abs((drawn[:, 1:] * drawn[:, :-1]).mean()) < 4.5 * 0.25 / (6 * 3001) ** 0.5
    assert abs((drawn[1:] * drawn[:-1]).mean()) < 4.5 * 0.25 / (7 * 3000) ** 0.5
    torch.manual_seed(0)
    assert torch.equal(binarize(grey, 255).double() - 128 / 255, drawn)
