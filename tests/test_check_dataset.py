"""``check_dataset``: every kind of finding on a tiny dataset with that one fault, none on a sound dataset."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from aot_plus.dataloaders.dataset_check import findings as kinds
from aot_plus.dataloaders.dataset_check import runner
from aot_plus.dataloaders.dataset_check.findings import Finding, Kind, Severity, format_findings
from aot_plus.dataloaders.dataset_check.mask_facts import read_facts
from aot_plus.dataloaders.dataset_check.runner import check_dataset
from aot_plus.dataloaders.eval_datasets import open_dataset
from aot_plus.dataloaders.layouts import VOSTDataset
from aot_plus.dataloaders.video_clips import ClipRules
from aot_plus.networks.engines.prepared import PreparedFrame
from aot_plus.networks.engines.segmenter import FrameLabels
from aot_plus.networks.managers.evaluator import Evaluator
from aot_plus.networks.managers.frame_reading import read_first_mask
from aot_plus.pipeline.truth import check_truth
from aot_plus.tools.check_dataset import main
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import write_mask
from evaluation import evaluate
from evaluation.layouts import scored_sequences
from evaluation.protocols import PROTOCOLS

HEIGHT, WIDTH, FRAMES = 48, 64, 9  # every second frame is annotated: 0, 2, .. 8
SEQUENCE = "b"  # the sequence that gets the faults


def mask_of(*ids: int) -> np.ndarray:
    """Returns a mask with a square of 16 x 16 pixels for each id."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for place, number in enumerate(ids):
        top, left = 16 * (place // 4), 16 * (place % 4)
        mask[top : top + 16, left : left + 16] = number
    return mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound dataset: sequences a and b for val, c for train."""
    root = tmp_path / "data"
    for name in "abc":
        for number in range(FRAMES):
            for folder in ("JPEGImages_10fps", "JPEGImages")[: 2 - number % 2]:
                write_image(root / folder / name / f"{number:05d}.jpg")
            if number % 2 == 0:
                write_mask(root / "Annotations" / name / f"{number:05d}.png", mask_of(1, 2))
    (root / "ImageSets").mkdir()
    write_split(root, "val", "a\nb\n")
    write_split(root, "train", "c\n")
    return root


def write_image(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path)


def write_split(root: Path, split: str, text: str) -> None:
    (root / "ImageSets" / f"{split}.txt").write_text(text, encoding="utf-8")


def frame(root: Path, number: int) -> Path:
    return root / "JPEGImages_10fps" / SEQUENCE / f"{number:05d}.jpg"


def annotation(root: Path, number: int) -> Path:
    return root / "Annotations" / SEQUENCE / f"{number:05d}.png"


def found(root: Path, split: str | None = None) -> list[Finding]:
    return check_dataset(VOSTDataset(root, "data"), split).findings


def remove_folder(folder: Path) -> None:
    folder.rename(folder.parent.parent / "removed")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def every_mask(root: Path, mask: np.ndarray) -> None:
    for number in range(0, FRAMES, 2):
        write_mask(annotation(root, number), mask)


def grey(path: Path) -> None:
    Image.fromarray(mask_of(1, 2)).save(path)


def recolour(path: Path) -> None:
    image = Image.fromarray(mask_of(1, 2), mode="P")
    image.putpalette([0, 0, 0, 1, 2, 3, 4, 5, 6])
    image.save(path)


def unpadded_names(root: Path) -> None:
    frame(root, 8).rename(frame(root, 8).with_name("10.jpg"))
    frame(root, 7).rename(frame(root, 7).with_name("9.jpg"))
    annotation(root, 8).rename(annotation(root, 8).with_name("10.png"))
    (root / "JPEGImages" / SEQUENCE / "00008.jpg").unlink()


FAULTS: list[tuple[Kind, Callable[[Path], object], str]] = [
    (kinds.SPLIT_TWICE, lambda r: write_split(r, "val", "a\nb\na\n"), "a"),
    (kinds.SPLIT_WORDS, lambda r: write_split(r, "val", "a b\n"), "a b"),
    (kinds.SPLIT_EMPTY, lambda r: write_split(r, "test", "\n"), "test.txt"),
    (kinds.SPLITS_OVERLAP, lambda r: write_split(r, "train", "c\na\n"), "val"),
    (kinds.UNLISTED, lambda r: write_split(r, "val", "a\n"), "JPEGImages_10fps/b"),
    (kinds.NO_JPEGIMAGES, lambda r: (r / "JPEGImages").rename(r / "old"), "JPEGImages"),
    (kinds.FRAMES_BROKEN, lambda r: remove_folder(frame(r, 0).parent), "JPEGImages_10fps/b"),
    (kinds.FRAMES_BROKEN, lambda r: write_image(frame(r, 3).with_suffix(".png")), "00003.png"),
    (kinds.FIRST_NOT_ANNOTATED, lambda r: write_image(frame(r, 0).with_name("0.jpg")), "0.jpg"),
    (
        kinds.MASK_WITHOUT_FRAME,
        lambda r: write_mask(annotation(r, 4).with_stem("00004b"), mask_of(1)),
        "00004b.png",
    ),
    (
        kinds.FIRST_MASK_WITHOUT_FRAME,
        lambda r: write_mask(annotation(r, 0).with_stem("0000"), mask_of(1)),
        "0000.png",
    ),
    (kinds.LAST_MASK_WITHOUT_FRAME, lambda r: write_mask(annotation(r, 99), mask_of(1)), "00099.png"),
    (kinds.IMAGE_UNREADABLE, lambda r: truncate(frame(r, 3)), "00003.jpg"),
    (kinds.IMAGE_SIZE, lambda r: write_image(frame(r, 3), (32, 32)), "32 x 32, expected 64 x 48"),
    (kinds.MASK_UNREADABLE, lambda r: truncate(annotation(r, 4)), "00004.png"),
    (kinds.MASK_UPPER_CASE, lambda r: annotation(r, 2).rename(annotation(r, 2).with_suffix(".PNG")), "2.PNG"),
    (kinds.MASK_SIZE, lambda r: write_mask(annotation(r, 4), mask_of(1)[:32]), "64 x 32, the frames 64 x 48"),
    (kinds.LAST_MASK, lambda r: truncate(annotation(r, 8)), "00008.png"),
    (kinds.LAST_MASK, lambda r: write_mask(annotation(r, 8), mask_of(1)[:32]), "64 x 32"),
    (kinds.ID_GAPS, lambda r: every_mask(r, mask_of(1, 4)), "2, 3"),
    (kinds.LATE_IDS, lambda r: write_mask(annotation(r, 4), mask_of(1, 2, 3)), "id 3 from 00004.png"),
    (kinds.FRAME_ORDER, unpadded_names, "10.jpg"),
    (kinds.NO_REFERENCE, lambda r: every_mask(r, mask_of(1) * (np.arange(WIDTH) < 8)), "at most 128"),
    (kinds.MUCH_IGNORED, lambda r: write_mask(annotation(r, 4), mask_of(1, 255)), "1 of 5 masks"),
    (kinds.IGNORED_IN_FIRST, lambda r: write_mask(annotation(r, 0), mask_of(1, 2, 1, 2, 1, 255)), "8.3%"),
    (kinds.MANY_OBJECTS, lambda r: every_mask(r, mask_of(*range(1, 12))), "11 objects"),
    (kinds.GREY_MASK, lambda r: grey(annotation(r, 4)), "1 of 5 masks, first 00004.png"),
    (kinds.OTHER_PALETTE, lambda r: recolour(annotation(r, 4)), "1 of 5 masks, first 00004.png"),
    (kinds.OTHER_FILES, lambda r: annotation(r, 1).with_suffix(".gif").touch(), "00001.gif"),
    (kinds.FRAME_NOT_ANNOTATED, lambda r: annotation(r, 4).unlink(), "JPEGImages/b/00004"),
    (kinds.FRAME_NOT_AT_10FPS, lambda r: write_image(r / "JPEGImages/b/4b.jpg"), "JPEGImages/b/4b"),
]


def test_a_sound_dataset_gives_no_finding(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(root), "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "train 1, val 2" in out
    assert "3 sequences, 27 frames, 15 masks; 0.00%" in out
    assert "errors: 0, warnings: 0, notes: 0" in out


@pytest.mark.parametrize(("kind", "fault", "detail"), FAULTS, ids=[kind.title for kind, _, _ in FAULTS])
def test_a_fault_is_found(root: Path, kind: Kind, fault: Callable[[Path], object], detail: str) -> None:
    fault(root)
    findings = found(root)
    assert any(
        finding.kind == kind and detail in f"{finding.place}: {finding.detail}" for finding in findings
    )
    expected = 1 if kind.severity is Severity.ERROR else 0
    # An extra or missing frame or mask also gives a note; nothing may be more severe than the fault itself.
    assert main([str(root), "--workers", "1"]) == expected


class FirstMask:
    """A segmenter that repeats the first mask."""

    def prepare(self, image: NDArray[np.uint8]) -> PreparedFrame:
        return PreparedFrame((image.shape[0], image.shape[1]), [])

    def start(
        self, image: PreparedFrame, mask: NDArray[np.uint8], *, memory_gap: int | None = None
    ) -> NDArray[np.uint8]:
        self.mask = mask
        return mask

    def submit(self, image: PreparedFrame, mask: NDArray[np.uint8] | None = None) -> FrameLabels:
        return FrameLabels(torch.from_numpy(self.mask), range(1, 256))

    def check_finite(self) -> None:
        """Finds nothing."""


def run_breaks(root: Path, results: Path) -> bool:
    """Returns whether an evaluation on val ends with an error in its checks, inference or metric."""
    cfg = get_config("pre_vost_2", "r50_aotl")
    dataset = VOSTDataset(root, "data")
    try:
        check_truth(dataset, PROTOCOLS["vost"])
        summary = Evaluator(cfg, FirstMask(), dataset, dataset.sequences(), results).run()
        evaluate(results, root, "val", workers=1)
    except DataError:
        return True
    return bool(summary.failed)


@pytest.mark.parametrize(("kind", "fault", "_"), FAULTS, ids=[kind.title for kind, _, _ in FAULTS])
def test_errors_break_a_run_and_nothing_else_does(
    root: Path, tmp_path: Path, kind: Kind, fault: Callable[[Path], object], _: str
) -> None:
    fault(root)
    assert run_breaks(root, tmp_path / "results") == (kind.severity is Severity.ERROR)


def test_a_split_file_that_is_no_text(root: Path) -> None:
    (root / "ImageSets" / "val.txt").write_bytes(b"\xff\xfe\x00a")
    assert kinds.SPLIT_UNREADABLE in {finding.kind for finding in found(root)}


def test_a_split_with_a_path_for_a_name(root: Path) -> None:
    write_split(root, "val", "../a\n")
    assert kinds.SPLIT_BAD_NAME in {finding.kind for finding in found(root)}


def test_only_empty_splits_are_an_error(root: Path) -> None:
    write_split(root, "val", "")
    assert {finding.kind for finding in found(root, "val")} == {kinds.SPLIT_EMPTY, kinds.NOTHING_TO_CHECK}
    assert main([str(root), "--split", "val", "--workers", "1"]) == 1


def test_a_missing_folder_is_one_finding(root: Path) -> None:
    (root / "JPEGImages_10fps").rename(root / "frames")
    assert [finding.kind for finding in found(root)] == [kinds.FOLDER_MISSING]


def test_videos_of_davis_that_give_no_training_clip_are_found(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / "JPEGImages" / "480p" / "a" / f"{number}.jpg")
        small = mask_of(1) * (np.arange(WIDTH) < 8)
        write_mask(tmp_path / "Annotations" / "480p" / "a" / f"{number}.png", small)
    for split in ("train", "val"):
        (tmp_path / "ImageSets" / "2017").mkdir(parents=True, exist_ok=True)
        (tmp_path / "ImageSets" / "2017" / f"{split}.txt").write_text("a\n")
    dataset = open_dataset(str(tmp_path), tmp_path)
    train, val = (check_dataset(dataset, split).findings for split in ("train", "val"))
    assert kinds.NO_REFERENCE in {finding.kind for finding in train}
    assert kinds.NO_REFERENCE not in {finding.kind for finding in val}


@pytest.mark.parametrize("ids", [(), (255,)])
def test_a_first_mask_without_objects_stops_inference_and_metric(root: Path, ids: tuple[int, ...]) -> None:
    write_mask(annotation(root, 0), mask_of(*ids))
    assert kinds.FIRST_MASK_EMPTY in {finding.kind for finding in found(root)}
    with pytest.raises(DataError):
        read_first_mask(VOSTDataset(root, "data").sequence(SEQUENCE))
    with pytest.raises(DataError):
        evaluate(root / "Annotations", root, "val", workers=1)


@pytest.mark.parametrize("left", [0, 2])
def test_too_few_annotations_stop_the_metric(root: Path, left: int) -> None:
    for number in range(2 * left, FRAMES, 2):
        annotation(root, number).unlink()
    expected = kinds.FEW_ANNOTATIONS if left else kinds.NO_ANNOTATIONS
    assert expected in {finding.kind for finding in found(root)}
    with pytest.raises(DataError):
        scored_sequences(root, root, "val", PROTOCOLS["vost"])


def test_a_mask_of_16_bits_names_its_largest_id(root: Path) -> None:
    Image.fromarray(mask_of(1).astype(np.uint16) * 300).save(annotation(root, 4))
    (finding,) = found(root)
    assert finding.kind == kinds.MASK_UNREADABLE
    assert " 300" in finding.detail


@pytest.mark.parametrize("pixels", [200, 201])
@pytest.mark.parametrize("ignored", [0, 40, 41])
def test_what_may_begin_a_clip_is_what_training_accepts(tmp_path: Path, pixels: int, ignored: int) -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask.ravel()[:pixels] = 1
    mask.ravel()[:ignored] = 255
    write_mask(tmp_path / "0.png", mask)
    accepted = ClipRules(length=2).accepts_reference(mask)
    assert read_facts(tmp_path / "0.png").may_begin_clip == accepted == (pixels == 201 and ignored <= 40)


def test_one_split_alone_is_checked(root: Path) -> None:
    truncate(frame(root, 3))
    assert found(root, "train") == []
    assert [finding.place for finding in found(root, "val")] == [SEQUENCE]


def test_sequences_of_several_splits_are_read_once(root: Path) -> None:
    write_split(root, "train", "a\n")
    report = check_dataset(VOSTDataset(root, "data"))
    assert [sequence.name for sequence in report.sequences] == ["a", "b"]


def test_a_sequence_of_a_split_without_images_is_read_for_another_split(root: Path) -> None:
    """Val has no frames: only other splits are read at 5 fps."""
    shutil.rmtree(root / "JPEGImages_10fps")
    write_split(root, "whole", "a\nb\n")
    report = check_dataset(VOSTDataset(root, "data"))
    assert [sequence.name for sequence in report.sequences] == ["c", "a", "b"]


def test_an_unknown_split_is_an_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(root), "--split", "tests"]) == 1
    assert re.search("'tests'.*train, val", capsys.readouterr().err)


def test_vost_has_a_known_number_of_sequences(root: Path) -> None:
    dataset = VOSTDataset(root, "vost")
    findings = check_dataset(dataset).findings
    assert {finding.kind for finding in findings} == {kinds.VOST_COUNTS}
    details = [re.findall(r"\d+", finding.detail) for finding in findings]
    assert details == [["1", "572"], ["2", "70"], ["0", "71"]]  # found, published
    assert len(check_dataset(dataset, "val").findings) == 1


def test_the_test_split_of_vosts_archive_is_no_error(root: Path) -> None:
    """It has only frames at 5 fps, and no masks."""
    for folder in ("JPEGImages_10fps", "Annotations"):
        shutil.rmtree(root / folder / "a")
    write_split(root, "val", "b\n")
    write_split(root, "test", "a\n")
    dataset = VOSTDataset(root, "vost")
    report = check_dataset(dataset)
    assert {finding.kind for finding in report.findings} == {kinds.VOST_COUNTS, kinds.MASKS_WITHHELD}
    assert [sequence.name for sequence in report.sequences] == ["c", "b"]
    assert dataset.of_split("test").images == "JPEGImages"
    assert kinds.NO_ANNOTATIONS in {finding.kind for finding in check_dataset(dataset, "test").findings}


def test_workers_do_not_change_the_report(root: Path) -> None:
    truncate(frame(root, 3))
    write_mask(root / "Annotations" / "c" / "00004.png", mask_of(1, 2, 3))
    dataset = VOSTDataset(root, "data")
    assert check_dataset(dataset, workers=2) == check_dataset(dataset, workers=1)


def test_ctrl_c_gives_130(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "check_sequence", interrupted)
    assert main([str(root), "--workers", "1"]) == 130


def test_long_lists_are_cut_and_counted() -> None:
    findings = [Finding(kinds.IMAGE_SIZE, f"s{i // 2}", f"{i}.jpg") for i in range(40)]
    findings.append(Finding(kinds.GREY_MASK, "s0", "0.png"))
    text = format_findings(findings)
    assert f"{kinds.IMAGE_SIZE.title} (40)" in text
    assert re.search(r"s0: 0\.jpg .*\b1\b", text)
    assert re.search(r"\b24\b.*\b12\b", text)
    assert text.index("Errors") < text.index("Notes")
