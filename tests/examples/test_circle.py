"""The example of the circle: its measures are exact, and it runs."""

import math

import pytest
import torch
from matplotlib.image import imread

from examples.circle import LATENTS, align, angle_error, angles, circular_correlation, experiment, main


def on_circle(angle):
    return torch.stack([angle.cos(), angle.sin()], -1)


@pytest.mark.parametrize("turn", [0.0, 1.0, 3.5])
@pytest.mark.parametrize("sign", [1, -1])
def test_rotation_and_reflection_cost_nothing(turn, sign):
    truth = 2 * math.pi * torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points = 3 * on_circle(sign * truth + turn)
    assert angle_error(angles(align(points, truth)), truth) == pytest.approx(0, abs=1e-6)
    assert circular_correlation(sign * truth + turn, truth) == pytest.approx(sign)
    assert circular_correlation(angles(align(points, truth)), truth) == pytest.approx(1)


def test_error_is_the_mean_distance_in_degrees():
    truth = torch.tensor([0.0, 1.0, 2.0, 6.2])
    away = torch.tensor([0.1, -0.1, 0.2, 0.2])
    assert angle_error(truth + away, truth) == pytest.approx(math.degrees(0.15), rel=1e-5)


def test_unrelated_angles_are_uncorrelated_and_a_right_angle_apart():
    # 4,000 pairs: the s.d. of the correlation is below 0.001 and of the mean distance 0.8 degrees.
    one, other = 2 * math.pi * torch.rand(2, 4000, generator=torch.Generator().manual_seed(1))
    assert abs(circular_correlation(one, other)) < 0.01
    assert angle_error(one, other) == pytest.approx(90, abs=4)


def test_table_and_picture(tmp_path, capsys):
    picture = tmp_path / "new" / "circle.png"
    words = ["--seeds", "2", "--steps", "3", "--picture", str(picture)]
    assert main(words) == 0
    table = capsys.readouterr().out
    assert all(latent.label in table for latent in LATENTS.values())
    assert imread(picture).std() > 0
    assert main([*words, "--latents", "vmf"]) == 0
    assert capsys.readouterr().out.splitlines()[2] in table  # the same seeds, the same numbers


@pytest.mark.parametrize(
    "words",
    [
        *("--seeds 1", "--steps none", "--latents circle", "--noise -1", "--noise nan", "--step 3"),
        *("--picture circle.abc", "--picture circle"),
    ],
)
def test_mistake_is_one_line(words, capsys):
    with pytest.raises(SystemExit) as left:
        main(words.split())
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert error.count("\n") == 1
    assert words.split()[0] in error


def test_picture_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--picture", str(tmp_path / "file" / "circle.png")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_the_circle_recovers_the_circle_better_than_the_plane():
    # Over the seeds the errors are about 6 and 8 degrees.
    errors = {}
    for name in ("normal", "vmf"):
        truth, points = experiment(LATENTS[name], seed=0, steps=300, noise=0.5)
        errors[name] = angle_error(angles(points), truth)
    assert errors["vmf"] < 10
    assert errors["vmf"] < errors["normal"]
