"""Objects drawn on frames, and the strip of stored frames."""

import numpy as np
import pytest
from numpy.typing import NDArray

from aot_plus.viz.clips import clip_row
from aot_plus.viz.ink import write
from aot_plus.viz.overlay import OBJECT_COLOURS, draw_objects, object_layer
from aot_plus.viz.strip import MemoryStrip

Array = NDArray[np.uint8]
GREY = np.full((48, 80, 3), 200, np.uint8)


def test_objects_are_drawn_and_nothing_else() -> None:
    image = np.random.default_rng(0).integers(60, 200, (120, 160, 3), dtype=np.uint8)
    before = image.copy()
    ids = np.zeros((120, 160), np.uint8)
    ids[20:60, 20:60] = 3
    drawn = draw_objects(image, ids)
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
        pictures.add(drawn[23, 23].tobytes())  # inside, away from the contour and the id
        assert (drawn[38:52, 38:52] > 190).all(axis=2).sum() > 5  # the white id
    assert len(pictures) == 59


def test_the_id_of_an_object_at_the_border_stays_inside() -> None:
    ids = np.zeros((100, 100), np.uint8)
    ids[99, 99] = 12
    drawn = draw_objects(np.zeros((100, 100, 3), np.uint8), ids)
    assert (drawn[80:, 80:] > 190).all(axis=2).sum() > 10


def test_ignored_regions_are_striped() -> None:
    ids = np.zeros((12, 10), np.uint8)
    ids[4:8] = 255
    drawn = draw_objects(np.full((12, 10, 3), 100, np.uint8), ids)
    assert {tuple(pixel) for pixel in drawn[4:8].reshape(-1, 3).tolist()} == {(114,) * 3, (177,) * 3}
    assert (drawn[:4] == 100).all()
    assert (drawn[8:] == 100).all()


def test_a_clips_frames_are_side_by_side_under_a_title() -> None:
    row = clip_row("a clip", [GREY, GREY // 2], [np.zeros((48, 80), np.uint8)] * 2)
    assert row.shape[1] >= 160
    assert (row[-20, 40], row[-20, 130]) == (pytest.approx(200), pytest.approx(100))
    assert row[:12, :40].min() < 100  # the title


def test_text_that_does_not_fit_is_cut() -> None:
    image = np.zeros((6, 9, 3), np.uint8)
    write(image, "far too long", (0, 0), 20)
    assert image.any()


@pytest.mark.parametrize("size", [(5, 7), (480, 854), (480, 270), (40, 500)])
def test_the_strip_keeps_its_size(size: tuple[int, int]) -> None:
    strip, picture = MemoryStrip(size, room=9), np.full((*size, 3), 200, np.uint8)
    sizes = set()
    for number in range(30):
        strip.update(list(range(number + 1)), number, f"a_long_name_{number:05d}", picture)
        sizes.add(strip.draw("title " * 20).shape)
    assert sizes == {(strip.height, size[1], 3)}


def marks(strip: MemoryStrip) -> dict[int, str]:
    return {number: cell.mark for number, cell in strip._cells.items()}


def test_the_strip_marks_what_changed_and_does_not_grow() -> None:
    strip = MemoryStrip((48, 80), room=3)
    for number in range(40):
        strip.update([0, *range(max(1, number - 1), number + 1)], number, str(number), GREY)
        if number == 5:
            assert marks(strip) == {0: "", 3: "dropped", 4: "", 5: "added"}
    assert len(marks(strip)) == 4
    for number in range(40, 60):  # nothing changes, so the marks disappear
        strip.update([0, 38, 39], number, str(number), GREY)
    assert marks(strip) == {0: "", 38: "", 39: ""}


def test_the_strip_of_an_unbounded_memory_shows_the_last_frames() -> None:
    strip = MemoryStrip((48, 80), room=3)
    for number in range(12):
        strip.update(list(range(number + 1)), number, str(number), GREY)
    assert list(marks(strip)) == [8, 9, 10, 11]


def test_dropped_and_added_frames_look_different() -> None:
    strip = MemoryStrip((480, 800), room=2)
    for number in range(3):
        strip.update([0, number], number, str(number), np.full((480, 800, 3), 200, np.uint8))
    drawn = strip.draw("")
    first, dropped, added = (drawn[22, 144 * cell + 20] for cell in range(3))  # on the thumbnails' borders
    assert first.tolist() == [110] * 3
    assert dropped[0] > 200 > dropped[1]
    assert added[1] > added[0]


def test_long_names_keep_their_end() -> None:
    strips = []
    for end in (1, 2):
        strip = MemoryStrip((48, 80), room=0)
        strip.update([0], 0, f"holidays_in_the_south_{end}", GREY)
        strips.append(strip.draw(""))
    assert not np.array_equal(*strips)


def test_a_layer_of_objects_alone() -> None:
    ids = np.zeros((20, 30), np.uint8)
    ids[4:14, 4:14], ids[4:14, 14:24] = 1, 7
    layer = object_layer(ids)
    assert layer.shape == (20, 30, 4)
    np.testing.assert_array_equal(layer[..., 3] > 0, ids > 0)
    np.testing.assert_array_equal(layer[9, [6, 20], :3], OBJECT_COLOURS[[1, 7]])
    assert (
        layer[9, 8, 3] < layer[9, 13, 3] == layer[4, 8, 3] == 255
    )  # inside, between two objects, at the rim
