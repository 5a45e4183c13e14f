"""Looks, before the work of inference, whether the metric will find all that it needs."""

from pathlib import Path

from aot_plus.dataloaders.eval_datasets import Dataset
from aot_plus.utils.errors import DataError
from evaluation.layouts import scored_sequences
from evaluation.protocols import Protocol
from evaluation.vost import AnnotatedSequence

__all__ = ["check_truth"]


def check_truth(dataset: Dataset, protocol: Protocol, advice: str = "") -> None:
    """Raises ``DataError`` with all that keeps a split's masks from being scored, unless a server does it.

    Those are sets and annotations that cannot be used, annotated frames whose masks inference will not write,
    and a frame that would be scored although its mask is given. ``advice`` ends the message.
    """
    dataset.require()
    if dataset.server:
        return
    dataset.sequences()  # an unknown split is one without metric, too
    root, split, protocol = dataset.truth(protocol)
    try:
        # Without a list, the sequences are those that both sides have; inference makes all.
        sequences = scored_sequences(root, dataset.masks_folder, split, protocol)
        problems = [problem for one in sequences for problem in _problems(dataset, one, protocol)]
        if problems:
            raise DataError("\n".join(problems))
    except DataError as error:
        raise DataError(f"{error}{advice}") from error


def _problems(dataset: Dataset, annotated: AnnotatedSequence, protocol: Protocol) -> list[str]:
    """Says what does not fit between a sequence's annotations and its frames."""
    name = annotated.name.partition("/")[0]  # of SA-V, an object's folder follows
    try:
        video = dataset.sequence(name)
    except DataError:  # inference says what is wrong with it, and does the others
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
