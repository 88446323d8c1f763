"""The judge of samples: trained once for each data set, and checked on reading."""

import pytest
import torch

from tests.utils.measure.small_judge import digits, digits_judge
from tests.utils.small_data import load
from utils.measure import judge as judges
from utils.measure.judge import Judge, judge_of
from utils.run.stamped import Foreign

CPU = torch.device("cpu")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(judges, "STEPS", 30)


def test_judge_knows_digits_and_its_features_are_of_size_one():
    data, judge = digits(), digits_judge()
    with torch.no_grad():
        test = judge(data.test.images.float() / data.levels).argmax(-1)
        features = judge.features(data.train.images.float() / data.levels)
    assert (test == data.test.labels).float().mean() > 0.9
    assert features.square().mean() == pytest.approx(1, rel=1e-4)


def test_judge_is_trained_once_and_named_by_the_content_of_the_data(tmp_path, quick):
    lines = []
    first = judge_of(digits(), tmp_path, CPU, lines.append)
    assert first.file.name == f"classifier-{digits().digest[:16]}.pt"
    torch.manual_seed(99)
    again = judge_of(digits(), tmp_path, CPU, lines.append)
    assert len(lines) == 1
    assert again.accuracy == first.accuracy
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(again.judge(x), first.judge(x))
    first.file.write_bytes(first.file.read_bytes()[:-100])
    anew = judge_of(digits(), tmp_path, CPU, lines.append)
    assert len(lines) == 2
    assert torch.equal(anew.judge(x), first.judge(x)), "the seed fixes the weights"


def test_judge_of_other_data_is_refused(tmp_path, quick):
    first = judge_of(digits(), tmp_path, CPU, str)
    other = load("digits", ".")
    other.train.images[0, 0, 0, 0] += 1
    first.file.rename(tmp_path / f"classifier-{other.digest[:16]}.pt")
    with pytest.raises(Foreign, match="is of another run"):
        judge_of(other, tmp_path, CPU, str)


def test_large_pictures_are_averaged_down_and_vectors_are_not():
    assert Judge((3, 500, 400), 2).hidden[0].in_features == 3 * 32 * 32
    assert Judge((1, 1, 500), 2).hidden[0].in_features == 500
    assert Judge((3, 500, 400), 2)(torch.rand(2, 3, 500, 400)).shape == (2, 2)
