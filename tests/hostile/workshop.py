"""Small good files of every kind, which the fuzzer damages and the tools read."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from aot_plus.utils.config import get_config, save_config
from aot_plus.utils.masks import write_mask
from evaluation.command import main as metric

FRAMES = 5
SIZE = (24, 32)  # H, W
NAMES = ("one", "two")


def network() -> nn.Module:
    """A stand-in for a model."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


@dataclass(frozen=True)
class Workshop:
    """A folder with a dataset, the results of a run on it, and a checkpoint."""

    root: Path

    @classmethod
    def build(cls, root: Path) -> "Workshop":
        """Writes the good files."""
        shop = cls(root)
        _write_dataset(shop.dataset)
        _write_run(shop.run, shop.dataset)
        torch.save(network().state_dict(), shop.checkpoint)
        return shop

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def checkpoint(self) -> Path:
        return self.root / "model.pth"

    def copy(self, folder: Path) -> "Workshop":
        """Copies the good files into a new folder, to be damaged there."""
        shutil.copytree(self.root, folder)
        return Workshop(folder)

    def files(self) -> list[Path]:
        """Lists all files in the folder."""
        return sorted(path for path in self.root.rglob("*") if path.is_file())


def _write_dataset(root: Path) -> None:
    rng = np.random.default_rng(0)
    for name in NAMES:
        for frame in range(FRAMES):
            image = root / "JPEGImages_10fps" / name / f"{frame:05d}.jpg"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(image)
            write_mask(root / "Annotations" / name / f"{frame:05d}.png", _mask(frame))
    (root / "ImageSets").mkdir()
    for split in ("train", "val"):
        (root / "ImageSets" / f"{split}.txt").write_text("".join(f"{name}\n" for name in NAMES))


def _write_run(folder: Path, dataset: Path) -> None:
    for name in NAMES:
        for frame in range(FRAMES):
            write_mask(folder / name / f"{frame:05d}.png", _mask(frame // 2))
        lines = [
            {"frame": 1, "group": 0, "bank": [0], "dropped": None},
            {"frame": 2, "group": 0, "bank": [0, 1], "relevance": [0.5, 0.25], "dropped": 1},
            {"frame": 4, "group": 0, "bank": [0, 2], "relevance": [0.5, 0.125], "dropped": 2},
        ]
        trace = folder / "traces" / f"{name}.jsonl"
        trace.parent.mkdir(exist_ok=True)
        trace.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    values = {"TEST_DATASET": str(dataset), "LATTER_MEM_LEN": 1, "DIR_DATA": str(dataset.parent)}
    save_config(get_config("pre_vost_2", "aot_mini", overrides=values), folder / "config.yaml")
    (folder / "summary.json").write_text(json.dumps({"frames_per_second": 12.5, "peak_memory": 512.0}))
    (folder / "train.jsonl").write_text("".join(f'{{"step": {step}, "loss": 0.5}}\n' for step in range(1, 9)))
    flags = ["--results_path", str(folder), "--dataset_path", str(dataset), "--workers", "1"]
    for more in ([], ["--per_frame"]):
        if metric([*flags, *more]):
            raise RuntimeError("the good files cannot be evaluated")


def _mask(shift: int) -> np.ndarray:
    """Returns H x W ids with two squares."""
    mask = np.zeros(SIZE, np.uint8)
    mask[4:12, 4 + shift : 12 + shift] = 1
    mask[14:22, 12 + shift : 20 + shift] = 2
    return mask
