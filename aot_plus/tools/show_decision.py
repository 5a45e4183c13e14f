"""Explains one decision of a memory policy: draws the stored frames, and prints their scores as a table.

python -m aot_plus.tools.show_decision --result_dir DIR --sequence NAME --output PNG

Needs results of ``python -m aot_plus.tools.eval --trace``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from aot_plus.dataloaders.video_sequence import VideoSequence
from aot_plus.networks.memory.trace import TraceEntry, find_decision, trace_path
from aot_plus.report.result_folder import chosen_data, read_folders
from aot_plus.tools.common import add_run_data_arguments, require_output, run_tool
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from aot_plus.utils.masks import read_image
from aot_plus.viz.decision import draw_decision
from aot_plus.viz.overlay import draw_objects
from evaluation.files import replacing
from evaluation.masks import Mask


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.show_decision") -> int:
    """Parses the flags, prints the table, writes the picture. Returns the exit code."""
    args = _parse(argv, prog)
    return run_tool(lambda: _show(args))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Explains a memory policy's decision: draws the stored frames and prints their scores.",
    )
    add = parser.add_argument
    add("--result_dir", type=Path, required=True, help="result folder of eval --trace")
    add_run_data_arguments(parser)
    add("--sequence", required=True, help="name of the sequence")
    add(
        "--frame",
        type=int,
        help="number of the frame to be appended, from 0 (default: the first decision's)",
    )
    add(
        "--group",
        type=int,
        default=0,
        help="number of the group of up to ten objects, from 0 (default: %(default)s)",
    )
    add("--output", type=Path, required=True, help="PNG file to write")
    return parser.parse_args(argv)


def _show(args: argparse.Namespace) -> int:
    require_output(args.output, ".png")
    entry = find_decision(trace_path(args.result_dir, args.sequence), args.frame, args.group)
    print(_table(entry))  # needs only the trace, and is of use even if the picture cannot be drawn
    folders = read_folders([args.result_dir])
    video = chosen_data(folders, args.dataset, args.split, args.DIR_DATA).open().sequence(args.sequence)
    picture = draw_decision(args.sequence, entry, _pictures(video, args.result_dir, entry))
    with replacing(args.output) as temporary:
        picture.save(temporary, format="PNG", optimize=True)
    print(args.output)
    return 0


def _table(entry: TraceEntry) -> str:
    """Formats the scores as a Markdown table, followed by the facts about the new frame."""
    lines = [f"| {' | '.join(['frame', *entry.scores])} | |", "|" + "---|" * (len(entry.scores) + 2)]
    for number, *values in zip(entry.bank, *entry.scores.values(), strict=True):
        cells = " | ".join([str(number), *(f"{value:.4f}" for value in values)])
        lines.append(f"| {cells} | {'dropped' if number == entry.dropped else ''} |")
    facts = [f"{name} {value:.4f}" for name, value in entry.facts.items()]
    about = ["declined"] * entry.declined + facts
    if about:
        lines += ["", f"frame {entry.frame}: {', '.join(about)}"]
    return "\n".join(lines)


def _pictures(video: VideoSequence, result_dir: Path, entry: TraceEntry) -> list[Image]:
    """Reads the stored frames and the new one, H x W x 3, and draws the predicted objects on them."""
    last = max(entry.frame, *entry.bank)
    if last >= len(video.images):
        found = f"the trace has frame {last}, the video {len(video.images)} frames"
        raise DataError(f"{video.name}: {found}")
    paths = [video.images[number] for number in [*entry.bank, entry.frame]]
    return [_drawn(read_image(path), video.read_result(result_dir / video.name, path.stem)) for path in paths]


def _drawn(image: Image, mask: Mask | None) -> Image:
    """Draws a mask on its frame. There may be none: only masks that are scored are written."""
    return image if mask is None else draw_objects(image, _at_size_of(image, mask), numbered=False)


def _at_size_of(image: Image, mask: Mask) -> Mask:
    """Resizes a mask to its image: results of large frames may be smaller (TEST_OUTPUT_HEIGHT)."""
    if mask.shape == image.shape[:2]:
        return mask
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)


if __name__ == "__main__":
    sys.exit(main())
