"""Hand-drawn masks: colours, smooth edges, grey levels, transparency."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from aot_plus.dataloaders.coloured_masks import MaskReader
from aot_plus.utils.errors import DataError

RED, TEAL, PINK = (255, 0, 0), (0, 128, 128), (250, 130, 130)
Array = NDArray[np.uint8]


def discs(*colours: tuple[int, int, int], smooth: bool = False) -> Array:
    """Draws touching discs, from left to right, on black."""
    image = np.zeros((60, 40 * len(colours) + 20, 3), np.uint8)
    for place, colour in enumerate(colours):
        cv2.circle(image, (30 + 38 * place, 30), 20, colour, -1, cv2.LINE_AA if smooth else cv2.LINE_8)
    return image


def read(tmp_path: Path, *images: Image.Image) -> list[Array]:
    reader = MaskReader()
    masks = []
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
        masks.append(reader.read(tmp_path / f"{number}.png"))
    return masks


def test_colours_become_ids_in_the_order_in_which_they_appear(tmp_path: Path) -> None:
    image = np.zeros((9, 12, 3), np.uint8)
    image[4:, :4], image[2:, 6:] = RED, TEAL  # teal begins in an earlier row
    (mask,) = read(tmp_path, Image.fromarray(image))
    expected = np.zeros((9, 12), np.uint8)
    expected[4:, :4], expected[2:, 6:] = 2, 1
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("colours", [(RED, TEAL), (RED, PINK, TEAL), (PINK, (255, 255, 255))])
def test_smooth_edges_are_no_objects(colours: tuple[tuple[int, int, int], ...], tmp_path: Path) -> None:
    smooth, sharp = read(
        tmp_path, Image.fromarray(discs(*colours, smooth=True)), Image.fromarray(discs(*colours))
    )
    assert set(np.unique(smooth)) == set(range(len(colours) + 1))
    assert (smooth != sharp).mean() < 0.03  # OpenCV draws smooth discs a little larger
    inner = cv2.erode(sharp, np.ones((5, 5))) == cv2.dilate(sharp, np.ones((5, 5)))
    np.testing.assert_array_equal(smooth[inner], sharp[inner])


def test_blurred_edges_are_no_objects(tmp_path: Path) -> None:
    blurred = np.asarray(cv2.GaussianBlur(discs(RED, TEAL), (5, 5), 1.0), np.uint8)
    (mask,) = read(tmp_path, Image.fromarray(blurred))
    assert set(np.unique(mask)) == {0, 1, 2}


def test_thin_lines_in_a_separate_colour_are_objects(tmp_path: Path) -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, :8], image[10, 8:] = RED, TEAL
    (mask,) = read(tmp_path, Image.fromarray(image))
    assert (mask[5, 3], mask[10, 15]) == (1, 2)


def test_a_colour_keeps_its_id_from_mask_to_mask(tmp_path: Path) -> None:
    _, later = read(tmp_path, Image.fromarray(discs(RED, TEAL)), Image.fromarray(discs(TEAL, PINK)))
    assert (later[30, 30], later[30, 68]) == (2, 3)


def test_new_colours_do_not_take_the_ids_of_indexed_masks(tmp_path: Path) -> None:
    indexed = np.zeros((60, 60), np.uint8)
    indexed[10:20, 10:20] = 1
    _, later = read(tmp_path, Image.fromarray(indexed).convert("P"), Image.fromarray(discs(RED)))
    assert set(np.unique(later)) == {0, 2}


@pytest.mark.parametrize("mode", ["L", "P"])
def test_indexed_and_grey_masks_hold_ids(mode: str, tmp_path: Path) -> None:
    ids = np.zeros((20, 30), np.uint8)
    ids[2:9, 2:9], ids[2:9, 9], ids[12:18, 12:18], ids[0] = 3, 2, 200, 255
    image = Image.fromarray(ids)
    if mode == "P":
        image = Image.frombytes("P", image.size, ids.tobytes())
        image.putpalette(list(range(256)) * 3)
    (mask,) = read(tmp_path, image)
    np.testing.assert_array_equal(mask, ids)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("smooth", [True, False])
def test_white_on_black_is_one_object(mode: str, smooth: bool, tmp_path: Path) -> None:
    drawn = Image.fromarray(discs((255, 255, 255), smooth=smooth))
    (mask,) = read(tmp_path, drawn.convert(mode))
    assert set(np.unique(mask)) == {0, 1}
    assert mask[30, 30] == 1


def test_transparent_pixels_are_background(tmp_path: Path) -> None:
    image = np.zeros((20, 20, 4), np.uint8)
    image[...] = (*TEAL, 0)
    image[5:10, 5:10] = (*RED, 255)
    (mask,) = read(tmp_path, Image.fromarray(image))
    assert mask.sum() == 25


@pytest.mark.parametrize("side", [32, 64, 120])
def test_a_small_photograph_is_no_mask(side: int, tmp_path: Path) -> None:
    import skimage.data

    picture = cv2.resize(skimage.data.astronaut(), (side, side), interpolation=cv2.INTER_AREA)
    with pytest.raises(DataError, match=r"0\.png: .*\d+ colours"):
        read(tmp_path, Image.fromarray(picture))


def test_what_is_no_mask_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    cases = [
        (Image.fromarray(noise), r"\d+ colours"),
        (Image.fromarray(np.zeros((9, 9, 3), np.uint8)), "no object"),
        (Image.fromarray(np.zeros((9, 9), np.uint8)), "no object"),
        (Image.fromarray(np.ones((9, 9), np.uint16)), "found mode I;16"),
    ]
    for image, found in cases:
        with pytest.raises(DataError, match=r"0\.png: .*" + found):
            read(tmp_path, image)
    with pytest.raises(DataError, match=r"none\.png: "):
        MaskReader().read(tmp_path / "none.png")
