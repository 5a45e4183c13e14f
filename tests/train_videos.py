"""Small synthetic videos for the training data tests."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aot_plus.dataloaders.clips import RawClip
from aot_plus.dataloaders.video_clips import ClipRules, VideoClips
from aot_plus.utils.masks import write_mask

HEIGHT, WIDTH, LENGTH = 96, 128, 30
ID_STEP = 40  # an image's red channel is id * ID_STEP, its blue channel the frame number


def rectangles(*boxes: tuple[int, int, int, int, int]) -> NDArray[np.uint8]:
    """Returns a mask with a filled box for each (id, top, left, bottom, right)."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for object_id, top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = object_id
    return mask


def picture(mask: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Returns an image that encodes its mask and its frame number."""
    return np.stack([mask * ID_STEP, np.zeros_like(mask), np.full_like(mask, number)], axis=-1)


class FakeVideo:
    """A video in memory, every second frame annotated, that records what is read."""

    def __init__(self, masks: Sequence[NDArray[np.uint8]], name: str = "fake", every: int = 2) -> None:
        self.name = name
        self.masks = masks
        self.annotated = [index % every == 0 for index in range(len(masks))]
        self.read: list[int] = []

    def check(self) -> None:
        """Does nothing: the video can always be read."""

    def read_image(self, index: int) -> NDArray[np.uint8]:
        return picture(self.masks[index], index)

    def read_mask(self, index: int) -> NDArray[np.uint8]:
        assert self.annotated[index]
        self.read.append(index)
        return self.masks[index]


def steady_video(name: str = "fake", every: int = 2) -> FakeVideo:
    return FakeVideo([rectangles((1, 20, 20, 60, 60), (3, 50, 70, 90, 110))] * LENGTH, name, every)


def raw_clip(*masks: NDArray[np.uint8] | None, shade: int = 0, name: str = "clip") -> RawClip:
    frames = [np.full((HEIGHT, WIDTH, 3), shade, dtype=np.uint8) for _ in masks]
    return RawClip(frames, list(masks), [name])


def frame_numbers(clip: RawClip) -> list[int]:
    return [int(frame[0, 0, 2]) for frame in clip.images]


def drawn(video: FakeVideo, rules: ClipRules, seed: int) -> RawClip:
    clip = VideoClips([video], rules).draw(0, np.random.default_rng(seed))
    assert clip is not None
    return clip


def write_dataset(root: Path, sequences: int = 3, length: int = LENGTH) -> None:
    """Writes a small dataset in VOST's layout: moving squares, ids 2 and 5, every second frame annotated."""
    (root / "ImageSets").mkdir(parents=True)
    names = [f"video_{number}" for number in range(sequences)]
    (root / "ImageSets" / "train.txt").write_text("\n".join(names) + "\n")
    for offset, name in enumerate(names):
        images = root / "JPEGImages_10fps" / name
        images.mkdir(parents=True)
        for index in range(length):
            left = 10 + index + offset * 5
            mask = rectangles((2, 10, left, 45, left + 35), (5, 55, left, 90, left + 30))
            Image.fromarray(picture(mask, index)).save(images / f"{index:05d}.png")
            if index % 2 == 0:
                write_mask(root / "Annotations" / name / f"{index:05d}.png", mask)


def local_range(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the largest minus the smallest id in each pixel's 3 x 3 neighbourhood."""
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(label, kernel) - cv2.erode(label, kernel), dtype=np.uint8)
