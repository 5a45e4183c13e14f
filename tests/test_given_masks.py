"""The first mask from files with one object each, from folders of such files, and from boxes."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from aot_plus.dataloaders.box_masks import Box
from aot_plus.dataloaders.frame_source import Selection
from aot_plus.dataloaders.given_masks import find_masks
from aot_plus.dataloaders.video_input import VideoInput, open_video
from aot_plus.utils.errors import DataError
from tests.video_files import write_video

SIZE = (41, 57)
Ids = NDArray[np.uint8]
FRAME = np.full((*SIZE, 3), 90, np.uint8)  # uniform, so a box becomes an object as a whole
WHITE = 255


def place(top: int, left: int, width: int = 12, value: int = WHITE) -> Ids:
    mask = np.zeros(SIZE, np.uint8)
    mask[top : top + 10, left : left + width] = value
    return mask


def save(path: Path, mask: Ids) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask).save(path)
    return path


@pytest.fixture
def video(tmp_path: Path) -> VideoInput:
    """A video with frames 8, 9 and 10."""
    for number in (8, 9, 10):
        save(tmp_path / "frames" / f"{number}.png", FRAME)
    return open_video(str(tmp_path / "frames"), Selection())


def first_mask(video: VideoInput, *masks: Path, boxes: tuple[Box, ...] = ()) -> Ids:
    found = find_masks(masks, video, boxes)
    found.check_sizes(SIZE)
    given = found.take(0, FRAME)
    assert given is not None
    assert found.take(0, FRAME) is None  # already taken
    return given.ids


def test_a_file_for_each_object(video: VideoInput, tmp_path: Path) -> None:
    expected = np.where(place(2, 3), 1, 0)
    expected[place(8, 10) > 0] = 2  # the later object is in front
    cup = save(tmp_path / "objects" / "2 cup.png", place(2, 3))
    hand = save(tmp_path / "objects" / "11 hand.png", place(8, 10, value=7))  # 11 comes after 2
    np.testing.assert_array_equal(first_mask(video, cup, hand), expected)
    np.testing.assert_array_equal(first_mask(video, tmp_path / "objects"), expected)


def test_a_later_mask_without_objects_changes_nothing(video: VideoInput, tmp_path: Path) -> None:
    for number, mask in enumerate([place(2, 3), np.zeros(SIZE, np.uint8)]):
        save(tmp_path / "masks" / f"{8 + number}.png", mask)
    found = find_masks([tmp_path / "masks"], video)
    assert found.take(0, FRAME) is not None
    assert found.take(1, FRAME) is None
    found.check_all_taken("video")


def test_a_mask_after_the_end_of_the_video_is_named(video: VideoInput, tmp_path: Path) -> None:
    for number in (8, 10):
        save(tmp_path / "masks" / f"{number}.png", place(2, 3))
    found = find_masks([tmp_path / "masks"], video)
    found.take(0, FRAME)
    with pytest.raises(DataError, match=r"video: .*10\.png"):  # the last frames could not be read
        found.check_all_taken("video")


def test_two_masks_of_one_frame_are_named(tmp_path: Path) -> None:
    write_video(tmp_path / "video.mp4", "mpeg4", 3)
    for name in ("0.png", "1.png", "01.png"):
        save(tmp_path / "masks" / name, place(2, 3))
    with pytest.raises(DataError, match=r"two masks of one frame"):
        find_masks([tmp_path / "masks"], open_video(str(tmp_path / "video.mp4"), Selection()))


def test_images_of_the_same_name_are_no_video(video: VideoInput, tmp_path: Path) -> None:
    save(tmp_path / "frames" / "9.jpg", FRAME)
    with pytest.raises(DataError, match="same name"):
        open_video(str(tmp_path / "frames"), Selection())


@pytest.mark.parametrize(
    ("masks", "facts"),
    [
        ([place(2, 3), place(3, 3)], r"1\.png: .* 0\.png"),
        ([place(2, 3, 5), place(2, 3)], r"0\.png: "),
        ([place(2, 3), place(2, 3, value=1) + place(20, 3, value=2)], r"1\.png: .* 2 objects"),
        ([place(2, 3), place(2, 3)[:-1]], r"1\.png: .*57 x 40 .*57 x 41"),
        ([place(2, 3), np.zeros(SIZE, np.uint8)], r"1\.png: .*empty"),
    ],
)
def test_bad_files_of_one_object_are_named(
    masks: list[Ids], facts: str, video: VideoInput, tmp_path: Path
) -> None:
    paths = [save(tmp_path / f"{number}.png", mask) for number, mask in enumerate(masks)]
    with pytest.raises(DataError, match=facts):
        first_mask(video, *paths)


def test_several_masks_are_files(video: VideoInput, tmp_path: Path) -> None:
    mask = save(tmp_path / "0.png", place(2, 3))
    for other, found in ((tmp_path / "none.png", ""), (tmp_path, ".*found a folder")):
        with pytest.raises(DataError, match=f"{other}: {found}"):
            first_mask(video, mask, other)


def test_boxes_get_the_ids_after_the_mask(video: VideoInput, tmp_path: Path) -> None:
    mask = place(2, 3, value=5)
    mask[40] = WHITE  # ignored
    boxes = (Box(3, 7, 12, 10), Box(30, 31, 12, 10))
    expected = np.where(place(7, 3), 6, 0) + np.where(place(31, 30), 7, 0)
    expected = np.where(mask > 0, mask, expected)  # the mask takes precedence over boxes
    found = first_mask(video, save(tmp_path / "mask.png", mask), boxes=boxes)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(first_mask(video, boxes=boxes[1:]), np.where(place(31, 30), 1, 0))
    with pytest.raises(DataError, match="box 4,3,5,5: "):
        first_mask(video, tmp_path / "mask.png", boxes=(Box(4, 3, 5, 5),))


def test_boxes_belong_to_the_first_selected_frame(video: VideoInput) -> None:
    later = VideoInput(video.name, video.source, Selection(start=1))
    found = find_masks([], later, [Box(1, 1, 5, 5)])
    assert found.take(0, FRAME) is None
    first = found.take(1, FRAME)
    assert first is not None
    assert np.unique(first.ids).tolist() == [0, 1]


def test_a_folder_of_later_masks_with_a_box_for_the_first(tmp_path: Path, video: VideoInput) -> None:
    save(tmp_path / "masks" / "10.png", place(2, 3))
    found = find_masks([tmp_path / "masks"], video, [Box(1, 1, 5, 5)])
    assert [found.take(number, FRAME) is not None for number in range(3)] == [True, False, True]
    with pytest.raises(DataError, match=str(tmp_path / "masks")):
        find_masks([tmp_path / "masks"], video)
