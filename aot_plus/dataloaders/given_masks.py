"""Reads the masks that a user gives for a video: files, folders of files, boxes."""

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.box_masks import Box, mask_of_boxes
from aot_plus.dataloaders.coloured_masks import MaskReader
from aot_plus.dataloaders.image_folder import ImageFolder, is_image
from aot_plus.dataloaders.video_input import VideoInput
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image, natural_order
from aot_plus.utils.masks import object_ids
from aot_plus.utils.words import format_list
from evaluation.masks import IGNORE_ID, MOST_OBJECTS, Mask, open_image

__all__ = ["GivenMasks", "NamedMask", "find_masks"]

_log = logging.getLogger(__name__)

_SAME = 0.5  # IoU above which two masks show the same object
_LISTED = 5  # a message names at most this many files


class NamedMask(NamedTuple):
    """Holds a mask and the name of its source."""

    ids: Mask  # H x W, 0 background, 255 ignored
    name: str


class GivenMasks:
    """Holds masks by frame number; each is made when its frame is reached.

    The first frame's mask can consist of several files, one for each object, and of boxes.
    """

    def __init__(self, first: int, files: Mapping[int, Sequence[Path]], boxes: Sequence[Box]) -> None:
        """
        Args:
            first: number of the first frame, which the boxes belong to.
            files: the files of each frame's mask; if there are several, each shows one object.
            boxes: boxes around further objects of the first frame.
        """
        self._first = first
        self._files = dict(files)  # of frames that were not reached yet
        self._boxes = boxes  # empty after the first frame
        self._reader = MaskReader()

    def take(self, number: int, image: Image) -> NamedMask | None:
        """Returns a frame's mask, if any; ``image``: H x W x 3. Raises ``DataError`` if it is bad."""
        files = self._files.pop(number, ())
        boxes: Sequence[Box] = ()
        if number == self._first:
            boxes, self._boxes = self._boxes, ()
        if not files and not boxes:
            return None
        ids = np.zeros(image.shape[:2], np.uint8)
        if len(files) == 1:
            ids = self._reader.read(files[0], may_be_empty=number != self._first)
            if not object_ids(ids):
                _log.warning("%s: shows no object, so the prediction stands", files[0])
                return None
        elif files:
            ids = _joined(files)
        if boxes:
            ids = _with_boxes(ids, image, boxes)
        return NamedMask(ids, ", ".join([*(path.name for path in files), *(f"box {box}" for box in boxes)]))

    def check_sizes(self, size: tuple[int, int]) -> None:
        """Raises ``DataError`` for the first file that is not ``size`` (H, W) pixels; opens headers only."""
        for path in self._paths():
            with open_image(path, "a mask") as image:
                found = image.size
            if found != size[::-1]:
                raise DataError(
                    f"{path}: the mask is {found[0]} x {found[1]} pixels, its frame {size[1]} x {size[0]}"
                )

    def check_all_taken(self, video: str) -> None:
        """Raises ``DataError`` for files of frames that were not reached."""
        if self._files:
            unused = ", ".join(map(str, self._paths()))
            raise DataError(f"{video}: ended before the frames of these masks: {unused}")

    def _paths(self) -> list[Path]:
        return [path for number in sorted(self._files) for path in self._files[number]]


def find_masks(paths: Sequence[Path], video: VideoInput, boxes: Sequence[Box] = ()) -> GivenMasks:
    """Finds the masks of the selected frames, including the first.

    Args:
        paths: one mask of the first selected frame; several such masks of one object each; or a folder, of
            masks that are named after their frames, or of masks of the first frame, one object each.
        video: the video.
        boxes: boxes around objects of the first selected frame.

    Raises:
        DataError: a path does not exist, the first frame has no mask, or a mask's frame does not exist.
    """
    first = video.selection.start
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: there is no such mask, or folder of masks")
        if path.is_dir() and len(paths) > 1:
            raise DataError(f"{path}: several masks must be files that show one object each; found a folder")
        if isinstance(video.source, ImageFolder) and path.is_file() and video.source.holds(path):
            raise DataError(f"{path}: this mask would be a frame of the video; move it to another folder")
    if not paths:
        return GivenMasks(first, {}, boxes)
    if not paths[0].is_dir():
        return GivenMasks(first, {first: paths}, boxes)
    return GivenMasks(first, _find_in_folder(paths[0], video, needs_first=not boxes), boxes)


def _find_in_folder(folder: Path, video: VideoInput, *, needs_first: bool) -> dict[int, Sequence[Path]]:
    """Returns the files of a folder's masks by frame number."""
    masks = [path for path in folder.iterdir() if is_image(path) and path.suffix.lower() == ".png"]
    masks.sort(key=lambda path: natural_order(path.name))
    found: dict[int, Sequence[Path]] = {}
    unknown = [path for path in masks if video.source.index(path.stem) is None]
    if len(masks) > 1 and len(unknown) == len(masks):
        _log.info("%s: no mask is named after a frame, so each shows one object of the first frame", folder)
        return {video.selection.start: masks}
    if unknown:
        total = video.source.total
        length = "" if total is None else f"; it has {total} frames"
        raise DataError(f"{unknown[0]}: {video.name} has no frame of this name{length}")
    for path in masks:
        number = video.source.index(path.stem)
        assert number is not None
        if number in found:
            raise DataError(f"{path}: two masks of one frame, the other is {found[number][0].name}")
        found[number] = [path]
    return _selected(folder, found, video, needs_first=needs_first)


def _selected(
    folder: Path, found: Mapping[int, Sequence[Path]], video: VideoInput, *, needs_first: bool
) -> dict[int, Sequence[Path]]:
    """Drops the masks of frames that are not selected, with a warning."""
    first = video.selection.start
    if needs_first and first not in found:
        names = [path.name for paths in found.values() for path in paths]
        have = format_list(names, _LISTED) or "no .png files"
        raise DataError(f"{folder}: no mask of the first frame (number {first}); found {have}")
    unused = [found[number][0].name for number in sorted(found) if number not in video.selection]
    if unused:
        listed = format_list(unused, _LISTED)
        _log.warning("%s: masks of frames that are not selected are not used: %s", folder, listed)
    return {number: paths for number, paths in found.items() if number in video.selection}


def _joined(paths: Sequence[Path]) -> Mask:
    """Joins masks of one object each to ids, H x W, 1 for the first; later objects lie on top."""
    objects = [_one_object(path) for path in paths]
    if len(objects) > MOST_OBJECTS:
        raise DataError(
            f"{paths[0].parent}: {len(objects)} masks of an object each; at most {MOST_OBJECTS} fit"
        )
    for (one, first), (other, second) in combinations(zip(paths, objects, strict=True), 2):
        if np.sum(first & second) > _SAME * np.sum(first | second):
            raise DataError(
                f"{other}: shows the same object as {one.name}; several masks of one frame show an object "
                "each, and masks of several frames are named after their frames"
            )
    ids = np.zeros(objects[0].shape, np.uint8)
    for number, shown in enumerate(objects, start=1):
        ids[shown] = number
    for number, path in enumerate(paths, start=1):
        if not np.any(ids == number):
            raise DataError(f"{path}: the masks after it cover all of its object; give it after them")
    return ids


def _one_object(path: Path) -> NDArray[np.bool_]:
    """Reads a mask of one object, H x W."""
    ids = MaskReader().read(path)
    shown = object_ids(ids)
    if len(shown) > 1:
        raise DataError(f"{path}: shows {len(shown)} objects; where there are several masks, each shows one")
    return np.asarray(ids == shown[0])


def _with_boxes(ids: Mask, image: Image, boxes: Sequence[Box]) -> Mask:
    """Adds the objects in boxes, with the next free ids, where a mask (H x W) shows no object."""
    highest = int(np.max(ids, where=ids != IGNORE_ID, initial=0))
    if highest + len(boxes) > MOST_OBJECTS:
        raise DataError(f"--box: at most {MOST_OBJECTS} objects fit")
    found = mask_of_boxes(image, boxes)
    joined = np.where((ids == 0) & (found > 0), found + np.uint8(highest), ids).astype(np.uint8)
    for number, box in enumerate(boxes, start=highest + 1):
        if not np.any(joined == number):
            raise DataError(f"box {box}: other objects in the mask cover all of its object")
    return joined
