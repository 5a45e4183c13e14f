"""Boxes are turned into masks of the objects in them."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aot_plus.dataloaders.box_masks import Box, mask_of_box, mask_of_boxes
from aot_plus.utils.errors import DataError

SIZE = (120, 160)


def _scene(scale: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns an image of noisy grass with a red ball and a blue plate, and the masks of both."""
    height, width = (side * scale for side in SIZE)
    image = np.full((height, width, 3), (60, 140, 50), np.uint8)
    ball, plate = (np.zeros((height, width), np.uint8) for _ in range(2))
    cv2.circle(ball, (50 * scale, 60 * scale), 22 * scale, 1, -1)
    cv2.rectangle(plate, (100 * scale, 40 * scale), (139 * scale, 89 * scale), 1, -1)
    image[ball > 0], image[plate > 0] = (200, 40, 30), (40, 60, 210)
    noise = np.random.default_rng(0).integers(-12, 13, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), ball > 0, plate > 0


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("scale", [1, 3])
def test_a_box_becomes_its_object(scale: int) -> None:
    image, ball, plate = _scene(scale)
    before = image.copy()
    boxes = [Box(*(scale * n for n in box)) for box in [(20, 30, 60, 60), (92, 32, 56, 66)]]
    ids = mask_of_boxes(image, boxes)
    assert _iou(ids == 1, ball) > 0.95
    assert _iou(ids == 2, plate) > 0.95
    np.testing.assert_array_equal(image, before)
    if scale == 1:
        np.testing.assert_array_equal(mask_of_box(image, boxes[0]), ids == 1)  # deterministic


def test_an_object_that_the_image_cuts_off() -> None:
    image, ball, _ = _scene()
    found = mask_of_box(image[:, 40:], Box(-30, 30, 70, 60))
    assert _iou(found, ball[:, 40:]) > 0.95


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(3, 4, 1, 1), np.s_[4:5, 3:4]),
        (Box(10, 10, 30, 30), np.s_[10:40, 10:40]),  # nothing in it
        (Box(-5, -5, 500, 10**400), np.s_[:, :]),  # nothing around it
    ],
)
def test_without_an_object_it_is_the_whole_box(box: Box, expected: tuple[slice, slice]) -> None:
    whole = np.zeros(SIZE, bool)
    whole[expected] = True
    np.testing.assert_array_equal(mask_of_box(np.full((*SIZE, 3), 90, np.uint8), box), whole)


@pytest.mark.parametrize("box", [Box(160, 0, 5, 5), Box(-9, 3, 9, 9), Box(5, 5, 0, 10), Box(5, 5, 9, -3)])
def test_a_box_without_pixels_is_named(box: Box) -> None:
    with pytest.raises(DataError, match=f"box {box}: .*160 x 120"):
        mask_of_box(_scene()[0], box)


def test_an_object_that_others_cover_is_named() -> None:
    image, _, _ = _scene()
    with pytest.raises(DataError, match="box 20,30,60,60: "):
        mask_of_boxes(image, [Box(20, 30, 60, 60), Box(20, 30, 60, 60)])
