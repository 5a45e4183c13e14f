"""Explains one decision of EMFS: a picture of the stored frames and their scores, and the numbers as a table.

python -m aot_plus.tools.show_decision --result_dir DIR --dataset mini_vost --sequence NAME --out PNG

The results were made with ``python -m aot_plus.tools.eval --policy emfs --trace``.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from aot_plus.dataloaders.eval_datasets import VideoSequence, open_dataset
from aot_plus.networks.memory.trace import Entry, read_trace
from aot_plus.tools.common import run_tool
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.masks import read_image
from aot_plus.viz.decision import Decision, StoredFrame, draw_decision
from aot_plus.viz.overlay import draw_objects
from evaluation.files import replacing, require_writable
from evaluation.home import home
from evaluation.masks import read_mask

_SCORES = frozenset({"relevance", "redundancy", "score"})  # of EMFS, at each of its decisions
_CONFIG = ("DIR_DATA", "MEM_EMFS_MIDPOINT", "MEM_EMFS_SLOPE", "MEM_EMFS_WEIGHT", "MEM_RELEVANCE_KEEP")


class Figures(NamedTuple):
    """What EMFS knew of a stored frame."""

    before: float | None  # running average of the relevance at the last append, if it was there
    read: float  # relevance of this read alone
    relevance: float  # running average
    redundancy: float
    novelty: float
    score: float


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.show_decision") -> int:
    """Parses the flags, writes the picture, prints the table. Gives the exit code."""
    args = _parse(argv, prog)
    return run_tool(lambda: _show(args))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=prog, description="Explains one decision of EMFS.")
    add = parser.add_argument
    add("--result_dir", type=Path, required=True, help="results of tools.eval with EMFS and --trace")
    add("--dataset", required=True, help="the dataset of these results: vost, mini_vost or a folder")
    add("--sequence", required=True, help="name of the sequence")
    add("--frame", type=int, help="number of the appended frame, from 0 (default: the first decision's)")
    add("--group", type=int, default=0, help="group of ten objects (default: %(default)s)")
    add("--out", type=Path, required=True, help="PNG file to write")
    return parser.parse_args(argv)


def _show(args: argparse.Namespace) -> int:
    if args.out.suffix.lower() != ".png":
        raise DataError(f"--out: expected a name that ends in .png, found {args.out}")
    require_writable(args.out)
    config = _read_config(args.result_dir / "config.yaml")
    path = args.result_dir / "traces" / f"{args.sequence}.jsonl"
    appends = [entry for entry in _read_decisions(path) if entry["group"] == args.group]
    entry, before = find_decision(appends, args.frame, path)
    figures = decision_figures(entry, before, config)
    video = open_dataset(args.dataset, home() / config["DIR_DATA"])
    pictures = _pictures(video.sequence(args.sequence), args.result_dir, [*entry["bank"], entry["frame"]])
    frames = [
        StoredFrame(number, picture, row.relevance, row.novelty, row.score)
        for number, picture, row in zip(entry["bank"], pictures, figures, strict=False)
    ]
    title = f"{args.sequence}: frame {entry['frame']} is appended to a full memory of {len(frames)} frames"
    dropped = entry["bank"].index(entry["dropped"])
    decision = Decision(title, config["MEM_EMFS_WEIGHT"], frames, dropped, entry["frame"], pictures[-1])
    _write(decision, args.out)
    print(_table(entry, figures))
    decisions = [other for other in appends if other["dropped"] is not None]
    by_relevance = sum(least_relevant(other) == other["dropped"] for other in decisions)
    print(f"{by_relevance} of the sequence's {len(decisions)} decisions dropped the least relevant frame.")
    print(args.out)
    return 0


def _write(decision: Decision, path: Path) -> None:
    try:
        with replacing(path) as temporary:
            draw_decision(decision).save(temporary, format="PNG", optimize=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def _read_decisions(path: Path) -> list[Entry]:
    """The frames that were appended, from a trace of EMFS.

    Raises ``DataError``: no such file, damaged, of another policy, or without any decision.
    """
    entries = read_trace(path)
    decisions = [entry for entry in entries if entry["dropped"] is not None]
    if not decisions or not all(entry.keys() >= _SCORES for entry in decisions):
        raise DataError(f"{path}: expected decisions of EMFS, found none")
    return entries


def find_decision(appends: Sequence[Entry], frame: int | None, path: Path) -> tuple[Entry, Entry | None]:
    """The decision at ``frame`` (None: the first one) and the append before it. Raises ``DataError``."""
    known = []
    for before, entry in zip([None, *appends], appends, strict=False):
        if entry["dropped"] is not None:
            known.append(str(entry["frame"]))
            if frame is None or entry["frame"] == frame:
                return entry, before
    if not known:
        raise DataError(f"{path}: this group of objects has no decision")
    raise DataError(f"{path}: no decision at frame {frame}; there are: {', '.join(known)}")


def decision_figures(entry: Entry, before: Entry | None, config: Mapping[str, Any]) -> list[Figures]:
    """The figures of each stored frame, from a decision and the append before it."""
    keep, slope, midpoint = (
        config[name] for name in ("MEM_RELEVANCE_KEEP", "MEM_EMFS_SLOPE", "MEM_EMFS_MIDPOINT")
    )
    averages = {}
    if before and "relevance" in before:
        averages = dict(zip(before["bank"], before["relevance"], strict=True))
    rows = []
    for index, number in enumerate(entry["bank"]):
        old, relevance = averages.get(number), entry["relevance"][index]
        read = relevance if old is None else (relevance - keep * old) / (1 - keep)
        redundancy = entry["redundancy"][index]
        novelty = 1 / (1 + math.exp(slope * (redundancy - midpoint)))
        rows.append(Figures(old, read, relevance, redundancy, novelty, entry["score"][index]))
    return rows


def least_relevant(entry: Entry) -> int:
    """The stored frame with the smallest relevance, the protected first one apart."""
    pairs = list(zip(entry["relevance"], entry["bank"], strict=True))
    return int(min(pairs[1:])[1])


def _table(entry: Entry, figures: Sequence[Figures]) -> str:
    """The figures in Markdown."""
    lines = [f"| frame | {' | '.join(Figures._fields)} | |", "|" + "---|" * (len(Figures._fields) + 2)]
    for number, row in zip(entry["bank"], figures, strict=True):
        cells = " | ".join("" if value is None else f"{value:.4f}" for value in row)
        note = "dropped" if number == entry["dropped"] else ""
        lines.append(f"| {number} | {cells} | {note} |")
    return "\n".join(lines)


def _pictures(video: VideoSequence, result_dir: Path, numbers: Sequence[int]) -> list[NDArray[np.uint8]]:
    """The frames with these numbers, H x W x 3, with the predicted objects."""
    if max(numbers) >= len(video.frames):
        raise DataError(
            f"{video.name}: the trace has frame {max(numbers)}, the video {len(video.frames)} frames"
        )
    paths = [video.frames[number] for number in numbers]
    masks = [read_mask(result_dir / video.name / f"{path.stem}.png") for path in paths]
    return [
        draw_objects(read_image(path), mask, numbered=False) for path, mask in zip(paths, masks, strict=True)
    ]


def _read_config(path: Path) -> dict[str, Any]:
    """What the tool needs of the config that a result folder was made with."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))["config"]
        return {name: values[name] for name in _CONFIG}
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a saved config ({error!r})") from error


if __name__ == "__main__":
    sys.exit(main())
