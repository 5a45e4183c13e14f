"""Checks, before inference starts, that the metric will find all that it needs."""

from pathlib import Path

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.utils.errors import DataError
from evaluation.layouts import scored_sequences
from evaluation.protocols import Protocol
from evaluation.sequences import AnnotatedSequence

__all__ = ["check_truth"]


def check_truth(dataset: Dataset, protocol: Protocol, advice: str = "") -> None:
    """Raises a ``DataError`` that lists everything that prevents scoring a split, unless a server scores it.

    The problems are sets and annotations that cannot be used, annotated frames for which inference writes no
    mask, and a frame that would be scored although its mask is given. ``advice`` ends the message.
    """
    dataset.require()
    if dataset.server:
        return
    dataset.sequences()  # raises for an unknown split
    root, split, protocol = dataset.truth(protocol)
    try:
        # Without a list, the sequences in both folders are scored; inference will write all of them.
        sequences = scored_sequences(root, dataset.masks_folder, split, protocol)
        problems = [problem for one in sequences for problem in _problems(dataset, one, protocol)]
        if problems:
            raise DataError("\n".join(problems))
    except DataError as error:
        raise DataError(f"{error}{advice}") from error


def _problems(dataset: Dataset, annotated: AnnotatedSequence, protocol: Protocol) -> list[str]:
    """Lists the mismatches between a sequence's annotations and its frames."""
    name = annotated.name.partition("/")[0]  # in SA-V, the folder of an object follows
    try:
        video = dataset.sequence(name)
    except DataError:  # inference reports it and does the others
        return []
    written = {f"{frame}.png" for frame in video.saved}
    images = dataset.frames_folder / name
    lost = [frame for frame in annotated.scored_frames if frame not in written]
    problems = [f"{annotated.annotations / frame}: {images} has no image of this frame" for frame in lost]
    first = Path(f"{video.images[0].stem}.png")
    if protocol.skips_first and str(first) in annotated.scored_frames:
        problems.append(
            f"{annotated.annotations / annotated.frames[0]}: {images} has no image of the first annotated "
            f"frame; the mask of {first.stem} would be given, and scored as well"
        )
    return problems
