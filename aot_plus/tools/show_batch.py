"""``python -m aot_plus.tools.show_batch --stage S --model M --out PNG``: a picture of a training batch."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aot_plus.configs import Config
from aot_plus.dataloaders.clips import Clip
from aot_plus.dataloaders.train_datasets import ClipStream, build_train_dataset
from aot_plus.tools.common import add_config_arguments, config_of, run_tool
from aot_plus.utils.images import restore
from aot_plus.viz.clips import clip_row
from evaluation.files import replacing


def draw_clips(clips: list[Clip]) -> NDArray[np.uint8]:
    """A grid, one row per clip (its name above it), one column per frame, as an RGB image."""
    return np.concatenate([_row(clip) for clip in clips], axis=0)


def _row(clip: Clip) -> NDArray[np.uint8]:
    title = f"{' + '.join(clip.names)}: {clip.num_objects} objects"
    return clip_row(title, list(restore(clip.images.numpy())), list(clip.labels.numpy()))


def show_batch(cfg: Config, step: int, out: Path) -> None:
    """Draws the batch of ``step`` (0 is the first) and writes it to ``out``."""
    stream = ClipStream(build_train_dataset(cfg), cfg.TRAIN_SEED, cfg.TRAIN_BATCH_SIZE)
    first = step * cfg.TRAIN_BATCH_SIZE
    clips = [stream[first + sample] for sample in range(cfg.TRAIN_BATCH_SIZE)]
    with replacing(out) as temporary:
        Image.fromarray(draw_clips(clips)).save(temporary, format="PNG")
    print(f"{out}: {len(clips)} clips of {len(clips[0].images)} frames, step {step}")


def main(arguments: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.show_batch") -> int:
    """Parses the flags and writes the picture."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Write a picture of a training batch with its labels."
    )
    add_config_arguments(parser, stage="mini_vost", model="r50_aotl")
    parser.add_argument("--step", type=int, default=0, help="training step, from 0 (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    options = parser.parse_args(arguments)

    def work() -> int:
        cfg = config_of(options)
        show_batch(cfg, options.step, options.out)
        return 0

    return run_tool(work)


if __name__ == "__main__":
    raise SystemExit(main())
