"""A contact sheet of MiniVOST: a row for a sequence of each kind, its moments in columns, masks laid over."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from aot_plus.dataloaders.mini_vost.events import NOUNS
from aot_plus.dataloaders.mini_vost.planning import plan_scene, sequence_generator
from aot_plus.dataloaders.mini_vost.render import render_frame
from evaluation.files import replacing
from evaluation.masks import IGNORE_ID

MOMENTS = 6
GAP = 4
SCALE = 0.75
OVERLAY = {
    1: (255, 70, 70),
    2: (60, 190, 255),
    3: (255, 210, 40),
    4: (90, 230, 90),
    IGNORE_ID: (255, 255, 255),
}
"""RGB of an object's overlay; the ignored borders are white."""

Picture = NDArray[np.uint8]


def write_preview(path: Path, seed: int, split: str = "val") -> None:
    """Writes the first sequence of each kind of event in a split as rows of a PNG. Raises ``OSError``."""
    rows = [_row(seed, split, index) for index in _one_of_each(seed, split)]
    sheet = np.concatenate(rows, axis=0)[:-GAP]
    height, width = (int(side * SCALE) for side in sheet.shape[:2])
    small = cv2.resize(sheet, (width, height), interpolation=cv2.INTER_AREA)
    coarse = (
        np.asarray(small, dtype=np.uint8) & 0xF8 | 4
    )  # five bits per channel halve the file and are not seen
    with replacing(path) as temporary:
        Image.fromarray(coarse).save(temporary, format="PNG", optimize=True)


def overlay(picture: Picture, ids: Picture) -> Picture:
    """Tints objects in a frame (H x W x 3, RGB; ids H x W) and draws their contours."""
    result = picture.copy()
    for object_id, colour in OVERLAY.items():
        mask = (ids == object_id).astype(np.uint8)
        if not mask.any():
            continue
        tinted = 0.85 * picture[mask > 0] + 0.15 * np.array(colour)
        result[mask > 0] = tinted.astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(result, contours, -1, colour, 2)
    return result


def _one_of_each(seed: int, split: str) -> list[int]:
    """The index of the first sequence of each kind."""
    found: dict[str, int] = {}
    index = 0
    while len(found) < len(NOUNS):
        verb = sequence_generator(seed, split, index)[1].split("_")[1]
        found.setdefault(verb, index)
        index += 1
    return [found[verb] for verb in NOUNS]


def _row(seed: int, split: str, index: int) -> Picture:
    """A sequence's moments side by side with a white gap, its name in the first: (H + GAP) x W' x 3."""
    scene = plan_scene(seed, split, index)
    cells = []
    for frame in np.linspace(0, scene.num_frames - 1, MOMENTS).astype(int):
        cells.append(overlay(*render_frame(scene, int(frame))))
        cells.append(np.full((cells[-1].shape[0], GAP, 3), 255, dtype=np.uint8))
    row = Image.fromarray(np.concatenate(cells[:-1], axis=1))
    ImageDraw.Draw(row).text(
        (5, 3), scene.name, fill="white", stroke_width=2, stroke_fill="black", font_size=18
    )
    gap = np.full((GAP, row.width, 3), 255, dtype=np.uint8)
    return np.concatenate([np.asarray(row), gap], axis=0)
