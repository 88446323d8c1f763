"""Figures from made-up arrays: what is on them, and what the odd inputs do."""

import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.transforms import Affine2D
from PIL import Image

from tests.utils.colour_vision import least_difference
from utils.plotting_utils import (
    COLOURS,
    LEGEND_CLASSES,
    MARKERS,
    Style,
    class_legend,
    class_style,
    image_grid,
    image_rows,
    legend,
    name_of,
    new_figure,
    png,
    render,
    scatter_classes,
)


def images(count, channels=1, height=8, width=6):
    return np.random.default_rng(0).uniform(size=(count, channels, height, width))


def rendered(figure):
    figure.canvas.draw()
    return figure


def test_image_grid_lays_images_in_reading_order():
    grid = image_grid(np.stack([np.full((1, 2, 2), value) for value in (0.1, 0.2, 0.3)]), 2)
    assert grid.shape == (10, 10, 3)
    assert grid[2, 2, 0] == 0.1
    assert grid[2, 6, 0] == 0.2
    assert grid[6, 2, 0] == 0.3
    assert grid[6, 6, 0] == 1


def test_rows_carry_their_labels():
    figure = rendered(image_rows(images(6).reshape(2, 3, 1, 8, 6), "t", ["a", "b"], ["x", "y", "z"], "a note"))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]
    assert figure.get_supxlabel() == "a note"


def test_room_for_labels_of_rows_is_for_what_can_be_seen_of_them():
    def width(text):
        return image_rows(images(6).reshape(2, 3, 1, 8, 6), "t", [text, "b"]).get_size_inches()[0]

    assert width("a") == width("$S^{2}$, seed 1\n$S^{2}$ × $R^{3}$")
    assert width("a longer name of a row") > width("a")


def test_styles_of_classes_differ():
    styles = {class_style(rank) for rank in range(len(COLOURS) * len(MARKERS))}
    assert len(styles) == len(COLOURS) * len(MARKERS)


def test_every_class_has_as_much_ink_and_is_as_opaque():
    axes = new_figure(4, 4, "t").subplots()
    labels = np.arange(44) % 11
    scatter_classes(axes, np.random.default_rng(0).normal(size=(44, 2)), labels)
    ink = []
    for points in axes.collections:
        # The outline of the marker as it is drawn, magnified so that curves are cut finely.
        (path,) = points.get_paths()
        x, y = Affine2D().scale(1000).transform_path(path).to_polygons()[0].T
        ink.append(points.get_sizes()[0] * abs(x[:-1] @ y[1:] - x[1:] @ y[:-1]))
    assert len(ink) == 44
    np.testing.assert_allclose(ink, ink[0], rtol=1e-3)
    assert len({points.get_alpha() for points in axes.collections}) == 1


@pytest.mark.parametrize("rank", range(len(COLOURS)))
def test_every_class_stands_out_on_white(rank):
    axes = new_figure(4, 4, "t").subplots()
    scatter_classes(axes, np.zeros((rank + 1, 2)), np.arange(rank + 1))
    # WCAG 2 asks for a contrast of 3 : 1 of what is to be told from its background.
    red, green, blue, opacity = axes.collections[-1].get_edgecolor()[0]
    seen = [1 - opacity * (1 - part) for part in (red, green, blue)]
    luminance = sum(
        weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
        for weight, part in zip((0.2126, 0.7152, 0.0722), seen, strict=True)
    )
    assert 1.05 / (luminance + 0.05) > 3


def test_names_of_classes():
    assert name_of(1, ["a", "b"]) == "b"
    assert name_of(7, ["a", "b"]) == "7"
    assert name_of(0, ["cost: $5"]) == r"cost: \$5"
    assert len(name_of(0, ["a very long name of a class indeed"])) <= 22


@pytest.mark.parametrize("classes", [None, 1, 3, LEGEND_CLASSES, LEGEND_CLASSES + 5])
def test_scatter_and_its_legend(classes):
    points = np.random.default_rng(0).normal(size=(100, 2))
    labels = None if classes is None else np.arange(100) % classes
    figure = new_figure(4, 4, "t")
    axes = figure.subplots()
    scatter_classes(axes, points, labels)
    class_legend(figure, [axes], labels, [])
    rendered(figure)
    assert sum(len(collection.get_offsets()) for collection in axes.collections) == 100
    if classes is None:
        assert not figure.legends
        assert len(figure.axes) == 1
    elif classes <= LEGEND_CLASSES:
        assert len(figure.legends[0].get_texts()) == classes
    else:
        assert figure.axes[1].get_ylabel() == "number of the class"


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("Samples: a model, epoch 56", ["Samples: a model, epoch 56"]),
        (
            "Images and what is made of them: by a model, epoch 56",
            ["Images and what is made of them:", "by a model, epoch 56"],
        ),
        ("A: " + "model " * 7 + "on digits, epoch 56", ["A:", "model " * 7 + "on", "digits, epoch 56"]),
        ("A: " + "model " * 6 + "digits, epoch 56", ["A:", "model " * 6 + "digits,", "epoch 56"]),
        ("Samples: on $S^{2}$ x $S^{3}$ x $S^{4}$, epoch 56", ["Samples: on $S^{2}$ x $S^{3}$ x $S^{4}$, epoch 56"]),
    ],
)
def test_titles_break_after_what_is_shown_and_not_within_the_epoch(title, lines):
    with rc_context(Style().settings):
        assert new_figure(4, 3, title).get_suptitle().split("\n") == lines


def test_long_titles_are_wrapped():
    with rc_context(Style().settings):
        figure = rendered(new_figure(4, 3, "word " * 40))
    width = figure._suptitle.get_window_extent().width
    assert width <= figure.bbox.width


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_png_holds_the_pixels(channels, mode):
    image = images(1, channels)[0]
    found = Image.open(BytesIO(png(image)))
    assert found.mode == mode
    pixels = np.asarray(found).reshape(8, 6, channels) / 255
    np.testing.assert_allclose(pixels, np.moveaxis(image, 0, -1), atol=0.501 / 255)


def drawn(style, kinds=("png", "pdf", "svg"), title="Something: a model, epoch 3", note="Small print."):
    def draw():
        figure = new_figure(7.4, 4.4, title, note)
        figure.subplots().plot([0, 1], [0, 1])
        return figure

    return render(draw, replace(style, formats=kinds))


def test_fonts_of_files_are_not_type_3_and_text_of_svg_is_text():
    files = drawn(Style())
    pdf = b"".join(zlib.decompress(part) for part in streams(files["pdf"])) + files["pdf"]
    assert b"/TrueType" in pdf or b"/Type0" in pdf
    assert b"/Type3" not in pdf
    assert "Small print." in files["svg"].decode()


def streams(pdf):
    """The compressed streams of a PDF file."""
    for part in pdf.split(b"stream\n")[1:]:
        try:
            zlib.decompress(part.split(b"endstream")[0].strip(b"\r\n"))
        except zlib.error:
            continue
        yield part.split(b"endstream")[0].strip(b"\r\n")


@pytest.mark.parametrize("width", [3.3, 6.9, 12.0])
def test_width_is_that_of_the_files(width):
    files = drawn(Style(width=width))
    assert Image.open(BytesIO(files["png"])).width == round(300 * width)
    assert f'width="{72 * width:g}pt"' in files["svg"].decode()


def test_without_titles_the_words_are_in_the_metadata():
    files = drawn(Style(titles=False), title="Samples: vmf on $S^{2}$", note="A note.")
    assert Image.open(BytesIO(files["png"])).text["Title"] == "Samples: vmf on S2. A note."
    assert "A note." not in files["svg"].decode().split("</metadata>")[1]
    assert drawn(Style())["png"] != drawn(Style(titles=False))["png"]


def test_files_are_the_same_twice():
    assert drawn(Style(width=5.0)) == drawn(Style(width=5.0))


@pytest.mark.parametrize("title", ["", "a title"])
@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("width", [3.3, 7.4])
def test_legend_covers_neither_data_nor_title(width, count, title):
    with rc_context(Style(width=width).settings):
        figure = new_figure(width, 4, "t")
        axes = figure.subplots()
        for number in range(count):
            axes.plot([0, 1], label=f"a label of some length, {number}")
        axes.set_title(title)
        legend(axes)
        rendered(figure)
        box = axes.get_legend().get_window_extent()
        assert box.y0 >= axes.get_window_extent().y1 - 1
        if title:
            assert axes.title.get_window_extent().y0 >= box.y1 - 1


@pytest.mark.parametrize("missing", ["none", "protan", "deutan", "tritan"])
def test_colours_differ_for_every_eye(missing):
    # 2.3 in CIELAB is just noticeable; the palette of Okabe and Ito itself has 16.
    assert least_difference(COLOURS, missing) > 16
