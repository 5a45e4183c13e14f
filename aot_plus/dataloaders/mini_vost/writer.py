"""Writes MiniVOST in VOST's layout, so that a sequence is either complete or absent."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from aot_plus.dataloaders.mini_vost.planning import GENERATOR_VERSION, SPLIT_NAMES, sequence_generator
from aot_plus.dataloaders.mini_vost.sequence import RenderedSequence, render_sequence
from aot_plus.utils.errors import DataError
from aot_plus.utils.json_text import parse_json
from aot_plus.utils.masks import write_mask
from evaluation.files import replace_text, require_regular, writing
from evaluation.folder_lock import LOCK_FILE, FolderLock
from evaluation.parallel import map_in_processes
from evaluation.vost import SPLITS, read_names

_log = logging.getLogger(__name__)

INFO_FILE = "mini_vost.json"
UNFINISHED = ".unfinished"
FOLDERS = ("JPEGImages_10fps", "JPEGImages", "Annotations")
"""Moved into place in this order: a sequence with a folder of annotations is complete."""
JPEG_QUALITY = 92


def make_dataset(out: Path, seed: int, train: int, val: int, workers: int | None = 1) -> None:
    """Writes ``train`` + ``val`` sequences and their lists to ``out``; finished sequences are kept.

    A list that is already longer keeps its length, with a warning in the log. ``workers``: as for
    ``map_in_processes``; the bytes do not depend on it. The lists in ImageSets are written last (test.txt is
    empty). Raises ``DataError`` if ``out`` contains something else, or a dataset of another seed or
    generator, or if another run writes there.
    """
    with _locked(out):
        _make_missing(out, seed, train, val, workers)


def add_val(out: Path, seed: int, val: int, workers: int | None = 1) -> None:
    """Writes ``val`` sequences of val and their list, unless val has some; the list of train stays as it is.

    Raises ``DataError`` for the same reasons as ``make_dataset``.
    """
    with _locked(out):
        if not count_listed(out, "val"):
            _make_missing(out, seed, 0, val, workers)


def count_listed(out: Path, split: str) -> int:
    """Counts the sequences in a split's list; 0 if there is no list. Raises ``DataError``."""
    path = out / SPLITS / f"{split}.txt"
    return len(read_names(path)) if path.is_file() else 0


def _kept_length(out: Path, split: str, number: int) -> int:
    """Returns the new length of a split's list: ``number``, but never less than its present length."""
    listed = count_listed(out, split)
    if 0 < number < listed:
        _log.warning("%s: keeping all %d sequences of %s, not only %d", out, listed, split, number)
    return max(listed, number)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Makes the folder, and locks it against other runs during the block. Raises ``DataError``."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with FolderLock(out):
        yield


def _make_missing(out: Path, seed: int, train: int, val: int, workers: int | None) -> None:
    """Writes the sequences that are missing, then the lists, none of which gets shorter."""
    train, val = (_kept_length(out, split, number) for split, number in (("train", train), ("val", val)))
    wanted = [("train", index) for index in range(train)] + [("val", index) for index in range(val)]
    names = {job: sequence_generator(seed, *job)[1] for job in wanted}
    _claim(out, seed, train, val)
    missing = [job for job in wanted if not is_complete(out, names[job])]
    map_in_processes(partial(_make_one, out, seed), missing, workers, "make")
    shutil.rmtree(out / UNFINISHED, ignore_errors=True)
    for split in (*SPLIT_NAMES, "test"):
        lines = [f"{name}\n" for (of_split, _), name in names.items() if of_split == split]
        replace_text(out / SPLITS / f"{split}.txt", "".join(lines))


def write_sequence(out: Path, sequence: RenderedSequence) -> None:
    """Writes one sequence in VOST's layout: all frames at 10 fps, and images and annotations at 5 fps.

    The files are written to a temporary folder and moved into place as whole folders. Raises ``DataError``.
    """
    with writing(out / FOLDERS[-1] / sequence.name):
        _write_sequence(out, sequence)


def _write_sequence(out: Path, sequence: RenderedSequence) -> None:
    aside = out / UNFINISHED / sequence.name
    shutil.rmtree(aside, ignore_errors=True)
    for folder in FOLDERS:
        (aside / folder).mkdir(parents=True)
    annotated = set(sequence.annotated.tolist())
    for number, name in enumerate(sequence.frame_names):
        jpeg = _encode(sequence, number)
        (aside / "JPEGImages_10fps" / f"{name}.jpg").write_bytes(jpeg)
        if number in annotated:
            (aside / "JPEGImages" / f"{name}.jpg").write_bytes(jpeg)
            write_mask(aside / "Annotations" / f"{name}.png", sequence.masks[number])
    for folder in FOLDERS:
        target = out / folder / sequence.name
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        (aside / folder).rename(target)
    aside.rmdir()


def is_complete(out: Path, name: str) -> bool:
    """Returns True if a sequence of that name has been written."""
    return all((out / folder / name).is_dir() for folder in FOLDERS)


def _encode(sequence: RenderedSequence, number: int) -> bytes:
    bgr = cv2.cvtColor(sequence.images[number], cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return bytes(data)


def _make_one(out: Path, seed: int, job: tuple[str, int]) -> None:
    split, index = job
    write_sequence(out, render_sequence(seed, split, index))


def _claim(out: Path, seed: int, train: int, val: int) -> None:
    """Marks the folder as MiniVOST of this seed and generator, after checking that it holds nothing else."""
    info = out / INFO_FILE
    identity = {"seed": seed, "generator_version": GENERATOR_VERSION}
    if info.exists():
        found = _read_info(info)
        for key, value in identity.items():
            if found.get(key) != value:
                raise DataError(
                    f"{info}: expected {key} {value}, found {found.get(key)}; choose another folder"
                )
    elif any(path.name != LOCK_FILE for path in out.iterdir()):
        raise DataError(f"{out}: holds files but no {INFO_FILE}; expected an empty or new folder")
    replace_text(info, json.dumps({**identity, "train": train, "val": val}, indent=2) + "\n")


def _read_info(info: Path) -> dict[str, Any]:
    require_regular(info)
    try:
        found = parse_json(info.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{info}: cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise DataError(f"{info}: expected a JSON object, found {type(found).__name__}")
    return found
