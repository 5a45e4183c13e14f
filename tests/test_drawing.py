"""Objects drawn on frames, and the strip of stored frames."""

import numpy as np
import pytest
from numpy.typing import NDArray

from aot_plus.viz.drawing import StripCell, draw_objects, draw_strip, strip_height, text

Array = NDArray[np.uint8]


def test_background_and_ignored_pixels_stay_and_objects_do_not() -> None:
    image = np.random.default_rng(0).integers(60, 200, (120, 160, 3), dtype=np.uint8)
    before = image.copy()
    labels = np.zeros((120, 160), np.uint8)
    labels[20:60, 20:60], labels[80:110, 100:150] = 3, 255
    drawn = draw_objects(image, labels)
    np.testing.assert_array_equal(image, before)
    far = np.ones((120, 160), bool)
    far[14:66, 14:66] = False
    np.testing.assert_array_equal(drawn[far], image[far])
    assert (drawn[24:56, 24:56] != image[24:56, 24:56]).any(axis=2).all()


def test_objects_are_told_apart_by_colour_and_id() -> None:
    image = np.full((90, 90, 3), 128, np.uint8)
    pictures = set()
    for value in range(1, 60):
        drawn = draw_objects(image, np.pad(np.full((50, 50), value, np.uint8), 20))
        pictures.add(drawn[23, 23].tobytes())  # inside, away from contour and id
        assert (drawn[38:52, 38:52] > 190).all(axis=2).sum() > 5  # the id's white
    assert len(pictures) == 59


def test_the_id_of_an_object_at_the_border_stays_inside() -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[99, 99] = 12
    drawn = draw_objects(np.zeros((100, 100, 3), np.uint8), labels)
    assert (drawn[80:, 80:] > 190).all(axis=2).sum() > 10


@pytest.mark.parametrize("size", [(5, 7), (480, 854), (480, 270), (40, 500)])
def test_the_strip_has_the_size_it_says(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 200, np.uint8)
    cells = [
        StripCell(picture, f"a_long_name_{n:05d}", mark) for n, mark in enumerate(["", "dropped", "added"])
    ]
    for shown in ([], cells, cells * 5):
        strip = draw_strip(size, shown, 10, "title " * 20)
        assert strip.shape == (strip_height(size, 10), size[1], 3)


def test_dropped_and_added_frames_look_different() -> None:
    picture = np.full((48, 80, 3), 200, np.uint8)
    strips = [
        draw_strip((480, 800), [StripCell(picture, "1", mark)], 4, "") for mark in ("", "added", "dropped")
    ]
    assert not np.array_equal(strips[0], strips[1])
    red, green = strips[2][24, 20], strips[1][24, 20]  # on the border of the thumbnail
    assert red[0] > 200 > green[0]
    assert green[1] > red[1]


def test_long_names_keep_their_end() -> None:
    picture = np.full((48, 80, 3), 200, np.uint8)
    strips = [
        draw_strip((48, 80), [StripCell(picture, f"holidays_in_the_south_{end}", "")], 1, "")
        for end in (1, 2)
    ]
    assert not np.array_equal(strips[0], strips[1])


def test_text_that_does_not_fit_is_cut() -> None:
    image = np.zeros((6, 9, 3), np.uint8)
    text(image, "far too long", (0, 0), 20)
    assert image.any()
