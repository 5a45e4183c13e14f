"""Draws a contact sheet of MiniVOST: a row for each kind of event, moments in columns, masks on top."""

from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from aot_plus.dataloaders.mini_vost.events import NOUNS
from aot_plus.dataloaders.mini_vost.planning import plan_scene, sequence_generator
from aot_plus.dataloaders.mini_vost.render import render_frame
from aot_plus.utils.images import Image
from aot_plus.viz.clips import clip_row
from evaluation.files import replacing

_SPLIT = "val"
_MOMENTS = 6
_SCALE = 0.75


def write_preview(path: Path, seed: int) -> None:
    """Writes the first val sequence of each kind of event as rows of a PNG. Raises ``DataError``."""
    sheet = np.concatenate([_row(seed, index) for index in _one_of_each(seed)])
    small = cv2.resize(sheet, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_AREA)
    # Five bits per channel halve the file's size, without visible loss.
    coarse = np.asarray(small, dtype=np.uint8) & 0xF8 | 4
    with replacing(path) as temporary:
        PIL.Image.fromarray(coarse).save(temporary, format="PNG", optimize=True)


def _one_of_each(seed: int) -> list[int]:
    """Finds the first sequence of each kind of event."""
    found: dict[str, int] = {}
    index = 0
    while len(found) < len(NOUNS):
        verb = sequence_generator(seed, _SPLIT, index)[1].split("_")[1]
        found.setdefault(verb, index)
        index += 1
    return [found[verb] for verb in NOUNS]


def _row(seed: int, index: int) -> Image:
    """Draws a sequence's moments side by side under its name."""
    scene = plan_scene(seed, _SPLIT, index)
    moments = np.linspace(0, scene.num_frames - 1, _MOMENTS).astype(int)
    images, masks = zip(*(render_frame(scene, int(frame)) for frame in moments), strict=True)
    return clip_row(scene.name, images, masks)
