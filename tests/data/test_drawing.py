"""Lines land on OpenCV's pixels: the pictures below were drawn with cv2.line 4.10."""

import numpy as np
import pytest

from videogen_cli.data.drawing import thick_line

PICTURES = {
    ((2, 2), (9, 4), 3): [
        "..###.......",
        ".#######....",
        "###########.",
        ".##########.",
        ".###########",
        "....#######.",
        ".......###..",
        "............",
    ],
    ((-2, 7), (6, -3), 4): [
        ".######.....",
        "######......",
        "######......",
        "#####.......",
        "####........",
        "###.........",
        "##..........",
        "##..........",
    ],
    ((5, 3), (5, 3), 5): [
        ".....#......",
        "...#####....",
        "...#####....",
        "..#######...",
        "...#####....",
        "...#####....",
        ".....#......",
        "............",
    ],
    ((8, 9), (14, 5), 2): [
        "............",
        "............",
        "............",
        "............",
        "............",
        "............",
        "..........##",
        ".........###",
    ],
}


def drawn(start, end, thickness):
    image = np.zeros((8, 12), np.float32)
    thick_line(image, start, end, thickness)
    return ["".join(".#"[int(pixel)] for pixel in row) for row in image]


@pytest.mark.parametrize("line", PICTURES)
def test_pixels(line):
    assert drawn(*line) == PICTURES[line]


def test_outside_draws_nothing():
    assert drawn((40, 40), (60, 50), 6) == ["............"] * 8


def test_the_value_replaces_what_was_there():
    image = np.full((8, 12), 5.0)
    thick_line(image, (3, 3), (8, 3), 3, value=2.0)
    assert set(np.unique(image)) == {2.0, 5.0}
