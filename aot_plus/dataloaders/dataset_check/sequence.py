"""Checks one sequence: its file names, images and masks."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from aot_plus.dataloaders.dataset import IMAGE_SUFFIXES, Dataset
from aot_plus.dataloaders.dataset_check import findings as kinds
from aot_plus.dataloaders.dataset_check.findings import Finding, Kind
from aot_plus.dataloaders.dataset_check.mask_facts import MaskFacts, check_objects, read_facts
from aot_plus.dataloaders.layouts import VOSTDataset
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import first_out_of_order
from aot_plus.utils.masks import read_image
from evaluation.metrics import MIN_ANNOTATED_FRAMES
from evaluation.vost import is_upper_case_png


@dataclass
class SequenceReport:
    """Holds the findings of a sequence and the amount read (``pixels`` and ``ignored`` count its masks)."""

    name: str
    findings: list[Finding] = field(default_factory=list)
    frames: int = 0
    masks: int = 0
    pixels: int = 0
    ignored: int = 0

    def add(self, kind: Kind, detail: str) -> None:
        """Adds a finding for this sequence."""
        self.findings.append(Finding(kind, self.name, detail))


def check_sequence(dataset: Dataset, name: str) -> SequenceReport:
    """Reads and checks every frame and mask of a sequence."""
    report = SequenceReport(name)
    frames = _list_frames(dataset, report)
    try:
        masks = _list_masks(dataset, report)
        _check_names(dataset, report, frames, masks)
        _check_other_files(dataset, report)
        _check_5fps(dataset, report, frames, masks)
        size = _check_images(report, frames)
        facts = _check_masks(report, frames, masks, size, binary=bool(dataset.object_folders(name)))
    except OSError as error:
        report.add(kinds.FRAMES_BROKEN, str(error))
        return report
    if not dataset.object_folders(name):
        report.findings += check_objects(dataset, name, facts, frames[0].stem if frames else None)
    return report


def _list_frames(dataset: Dataset, report: SequenceReport) -> list[Path]:
    try:
        frames = list(dataset.list_images(report.name))
    except (DataError, OSError) as error:
        report.add(kinds.FRAMES_BROKEN, str(error))
        return []
    if pair := first_out_of_order([path.name for path in frames]):
        report.add(kinds.FRAME_ORDER, "{} comes where {} should".format(*pair))
    return frames


def _list_masks(dataset: Dataset, report: SequenceReport) -> list[Path]:
    by_frame = dataset.list_masks(report.name)
    if not by_frame:
        report.add(kinds.NO_ANNOTATIONS, f"{dataset.masks_folder.name}/{report.name}: no .png file")
    elif len(by_frame) < MIN_ANNOTATED_FRAMES and not dataset.server:
        report.add(kinds.FEW_ANNOTATIONS, f"{dataset.masks_folder.name}/{report.name}: {len(by_frame)}")
    return [path for files in by_frame.values() for path in files]


def _check_names(dataset: Dataset, report: SequenceReport, frames: list[Path], masks: list[Path]) -> None:
    """Reports annotations without a frame and, in VOST's layout, a first frame without an annotation.

    Frames between annotations need none.
    """
    if not frames or not masks:
        return
    if isinstance(dataset, VOSTDataset) and frames[0].stem not in {mask.stem for mask in masks}:
        report.add(kinds.FIRST_NOT_ANNOTATED, f"{frames[0].name}; the first annotation is {masks[0].name}")
    stems = {frame.stem for frame in frames}
    for mask in masks:
        if mask.stem not in stems:
            ends = {
                masks[0]: kinds.FIRST_MASK_WITHOUT_FRAME,
                masks[-1]: kinds.LAST_MASK_WITHOUT_FRAME,
            }
            report.add(ends.get(mask, kinds.MASK_WITHOUT_FRAME), mask.name)


def _check_other_files(dataset: Dataset, report: SequenceReport) -> None:
    for folder, suffixes in ((dataset.frames_folder, IMAGE_SUFFIXES), (dataset.masks_folder, (".png",))):
        for path in _visible_files(folder / report.name):
            if path.suffix.lower() not in suffixes and not path.is_dir():
                report.add(kinds.OTHER_FILES, f"{folder.name}/{report.name}/{path.name}")
            elif folder == dataset.masks_folder and is_upper_case_png(path):
                report.add(kinds.MASK_UPPER_CASE, f"{folder.name}/{report.name}/{path.name}")


def _check_5fps(dataset: Dataset, report: SequenceReport, frames: list[Path], masks: list[Path]) -> None:
    if not isinstance(dataset, VOSTDataset):
        return
    images = _visible_files(dataset.root / dataset.frames_at_5fps / report.name)
    stems = [path.stem for path in images if path.suffix.lower() in IMAGE_SUFFIXES]
    for kind, others in ((kinds.FRAME_NOT_ANNOTATED, masks), (kinds.FRAME_NOT_AT_10FPS, frames)):
        there = {path.stem for path in others}
        for stem in stems if others else ():
            if stem not in there:
                report.add(kind, f"{dataset.frames_at_5fps}/{report.name}/{stem}")


def _visible_files(folder: Path) -> list[Path]:
    paths: Iterable[Path] = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in paths if not path.name.startswith("."))


def _check_images(report: SequenceReport, frames: list[Path]) -> tuple[int, int] | None:
    """Reads all frames; returns the size (H, W) of the first one that can be read."""
    size: tuple[int, int] | None = None
    for path in frames:
        report.frames += 1
        try:
            height, width, _ = read_image(path).shape
        except DataError as error:
            report.add(kinds.IMAGE_UNREADABLE, str(error))
            continue
        size = size or (height, width)
        if (height, width) != size:
            report.add(kinds.IMAGE_SIZE, f"{path.name}: {_text((height, width))}, expected {_text(size)}")
    return size


def _check_masks(
    report: SequenceReport,
    frames: list[Path],
    masks: list[Path],
    size: tuple[int, int] | None,
    *,
    binary: bool,
) -> list[MaskFacts | None]:
    """Reads all masks; returns their facts, None for masks that cannot be read."""
    facts: list[MaskFacts | None] = []
    for path in masks:
        report.masks += 1
        # Inference reads the last annotation if it is also the first frame's.
        last = path == masks[-1] and not (frames and path.stem == frames[0].stem)
        try:
            mask = read_facts(path, binary=binary)
        except DataError as error:
            report.add(kinds.LAST_MASK if last else kinds.MASK_UNREADABLE, str(error))
            facts.append(None)
            continue
        size = size or mask.size
        if mask.size != size:
            detail = f"{path.name}: {_text(mask.size)}, the frames {_text(size)}"
            report.add(kinds.LAST_MASK if last else kinds.MASK_SIZE, detail)
        report.pixels += mask.size[0] * mask.size[1]
        report.ignored += mask.ignored
        facts.append(mask)
    return facts


def _text(size: tuple[int, int]) -> str:
    """Formats a size (H, W) as width x height, as image tools do."""
    return f"{size[1]} x {size[0]}"
