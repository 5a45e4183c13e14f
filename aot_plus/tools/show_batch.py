"""``python -m aot_plus.tools.show_batch --stage S --model M --out PNG``: a picture of a training batch."""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from aot_plus.configs import Config
from aot_plus.dataloaders.clips import Clip
from aot_plus.dataloaders.train_datasets import ClipStream, build_train_dataset
from aot_plus.dataloaders.video_transforms import restore_frames
from aot_plus.tools.common import add_config_arguments, run_tool
from aot_plus.utils.config import get_config, parse_assignments
from aot_plus.utils.files import replacing
from aot_plus.utils.masks import IGNORE_ID, davis_palette

_OVERLAY = 0.5  # share of the palette colour on an object
_STRIPE = 6  # pixels from one stripe of an ignored region to the next
_MARGIN = 4  # pixels between frames
_TITLE = 16  # pixels above a row


def paint(image: NDArray[np.uint8], label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays the palette's colours over an image (H x W x 3 RGB); objects have a white edge.

    Ignored regions are grey with stripes.
    """
    palette = np.array(davis_palette(), dtype=np.float64).reshape(256, 3)
    colours = palette[label]
    rows, columns = np.indices(label.shape)
    stripes = np.asarray((rows + columns) % _STRIPE < _STRIPE // 3)
    ignored = label == IGNORE_ID
    colours[ignored] = np.where(stripes[ignored], 255, 128)[:, None]
    mixed = (1 - _OVERLAY) * image + _OVERLAY * colours
    painted: NDArray[np.uint8] = np.where((label == 0)[..., None], image, mixed).astype(np.uint8)
    painted[_edges(label)] = 255
    return painted


def _edges(label: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The outermost pixels of each object, H x W; an ignored region has none."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(label, cross) == cv2.dilate(label, cross)
    return np.asarray(~inner & (label != 0) & (label != IGNORE_ID))


def draw_clips(clips: list[Clip]) -> NDArray[np.uint8]:
    """A grid, one row per clip (its name above it), one column per frame, as an RGB image."""
    return np.concatenate([_row(clip) for clip in clips], axis=0)


def _row(clip: Clip) -> NDArray[np.uint8]:
    frames = restore_frames(clip.frames.numpy())
    cells = [
        np.pad(paint(frame, label), ((0, _MARGIN), (0, _MARGIN), (0, 0)), constant_values=255)
        for frame, label in zip(frames, clip.labels.numpy(), strict=True)
    ]
    row = np.concatenate(cells, axis=1)
    title = Image.new("RGB", (row.shape[1], _TITLE), "white")
    ImageDraw.Draw(title).text((2, 1), f"{' + '.join(clip.names)}: {clip.num_objects} objects", fill="black")
    return np.concatenate([np.asarray(title), row], axis=0)


def show_batch(cfg: Config, step: int, out: Path) -> None:
    """Draws the batch of ``step`` (0 is the first) and writes it to ``out``."""
    stream = ClipStream(build_train_dataset(cfg), cfg.TRAIN_SEED, cfg.TRAIN_BATCH_SIZE)
    first = step * cfg.TRAIN_BATCH_SIZE
    clips = [stream[first + sample] for sample in range(cfg.TRAIN_BATCH_SIZE)]
    with replacing(out) as temporary:
        Image.fromarray(draw_clips(clips)).save(temporary, format="PNG")
    print(f"{out}: {len(clips)} clips of {len(clips[0].frames)} frames, step {step}")


def main(arguments: list[str] | None = None) -> int:
    """Parses the flags and writes the picture."""
    parser = argparse.ArgumentParser(description="Write a picture of a training batch with its labels.")
    add_config_arguments(parser, stage="mini_vost", model="r50_aotl")
    parser.add_argument("--step", type=int, default=0, help="training step, from 0 (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    options = parser.parse_args(arguments)

    def work() -> int:
        cfg = get_config(options.stage, options.model, options.exp_name, parse_assignments(options.set))
        show_batch(cfg, options.step, options.out)
        return 0

    return run_tool(work)


if __name__ == "__main__":
    raise SystemExit(main())
