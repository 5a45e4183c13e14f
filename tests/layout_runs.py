"""A small dataset in VOST's layout and evaluations on it without a network, for the layout tests."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from aot_plus.networks.engines.prepared import PreparedFrame
from aot_plus.networks.engines.segmenter import FrameLabels
from aot_plus.networks.managers.evaluator import Evaluator
from aot_plus.networks.managers.summary import EvaluationSummary
from aot_plus.pipeline.run import Job
from aot_plus.utils.config import get_config
from aot_plus.utils.masks import write_mask

Mask = NDArray[np.uint8]

HEIGHT, WIDTH, FRAMES = 48, 64, 9  # every second frame has a mask
LATE, LATE_FRAME = 3, "00004"  # an object of sequence b, and the frame in which it first appears
PALETTE = [0, 0, 0, 200, 10, 10, 10, 200, 10, 10, 10, 200] + [90] * (768 - 12)


def mask_of(sequence: str, frame: int) -> Mask:
    """Returns a mask with two squares; sequence b has a third from the fifth frame on."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4:20, 4 + frame : 20 + frame] = 1
    mask[24:40, 30:44] = 2
    if sequence == "b" and frame >= int(LATE_FRAME):
        mask[2:18, 44:60] = LATE
    return mask


def make_source(root: Path) -> Path:
    """Writes sequences a and b."""
    rng = np.random.default_rng(0)
    for name in "ab":
        for frame in range(FRAMES):
            path = root / "JPEGImages_10fps" / name / f"{frame:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)
            if frame % 2 == 0:
                write_mask(root / "Annotations" / name / f"{frame:05d}.png", mask_of(name, frame), PALETTE)
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "val.txt").write_text("a\nb\n")
    return root


class Still:
    """A segmenter whose objects stay where a mask first showed them.

    ``given`` records, for each video, the mask that each frame was given with.
    """

    def __init__(self) -> None:
        self.given: list[list[Mask | None]] = []
        self.labels = np.zeros((0, 0), np.uint8)

    def prepare(self, image: Mask) -> PreparedFrame:
        return PreparedFrame((image.shape[0], image.shape[1]), [torch.zeros(1)])

    def start(self, image: PreparedFrame, mask: Mask, *, memory_gap: int | None = None) -> Mask:
        assert image.size == mask.shape
        self.given.append([mask])
        self.labels = mask.copy()
        return mask

    def submit(self, image: PreparedFrame, mask: Mask | None = None) -> FrameLabels:
        self.given[-1].append(mask)
        if mask is not None:
            self.labels = np.where(mask > 0, mask, self.labels)
        return FrameLabels(torch.from_numpy(self.labels.copy()), range(1, 256))

    def check_finite(self) -> None:
        """Finds nothing."""


def job_of(name: str, data_folder: Path, **values: object) -> Job:
    overrides = {"TEST_DATASET": name, "DIR_DATA": str(data_folder), **values}
    return Job(get_config("pre_vost_2", "aott", overrides=overrides), None, data_folder / "results")


def run(job: Job) -> list[list[Mask | None]]:
    """Evaluates with ``Still`` and returns what each video was given."""
    segmenter = Still()
    assert summary_of(job, segmenter).failed == {}
    return segmenter.given


def summary_of(job: Job, segmenter: Still) -> EvaluationSummary:
    """Evaluates with ``Still``."""
    dataset = job.open_dataset()
    return Evaluator(job.cfg, segmenter, dataset, dataset.sequences(), job.folder).run()
