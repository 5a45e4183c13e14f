"""A small dataset and result folders for the report's tests, and a page's data that needs no files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from aot_plus.utils.masks import write_mask

# Sequence names come from the user and may look like HTML.
HTML_NAME = '0002_<b>&amp;"x'
SEQUENCES = ("0001_cut", HTML_NAME, "0003_tear")
FRAMES = 24  # of each video; every second one is annotated
SIZE = (64, 96)  # H, W


def make_dataset(root: Path) -> Path:
    """Writes videos in VOST's layout; the first has two objects, the others one."""
    rng = np.random.default_rng(0)
    for name in SEQUENCES:
        for frame in range(FRAMES):
            path = root / "JPEGImages_10fps" / name / f"frame{frame:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            small = Image.fromarray(rng.integers(0, 255, (8, 12, 3), dtype=np.uint8))
            small.resize(SIZE[::-1]).save(path)
            if frame % 2 == 0:
                write_mask(root / "Annotations" / name / f"frame{frame:05d}.png", mask_of(name, 0))
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "val.txt").write_text("\n".join(SEQUENCES) + "\n")
    return root


def mask_of(name: str, shift: int) -> np.ndarray:
    """Returns H x W ids, with the objects moved to the right by ``shift`` pixels."""
    mask = np.zeros(SIZE, np.uint8)
    mask[8:28, 10 + shift : 30 + shift] = 1
    if name == SEQUENCES[0]:
        mask[36:56, 10 + shift : 30 + shift] = 2
    return mask


def make_run(
    folder: Path,
    dataset: Path,
    policy: str,
    *,
    drift: float = 0.0,
    sequences: tuple[str, ...] = SEQUENCES,
    scores: tuple[str, ...] = (),
) -> Path:
    """Writes a result folder whose masks drift by ``drift`` pixels a frame; ``scores`` are in its trace."""
    for name in sequences:
        for frame in range(FRAMES):
            write_mask(folder / name / f"frame{frame:05d}.png", mask_of(name, int(frame * drift)))
        lines = [json.dumps(entry) for entry in trace(scores)]
        (folder / "traces").mkdir(exist_ok=True)
        (folder / "traces" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    config = {
        "MEM_POLICY": policy,
        "FORMER_MEM_LEN": 1,
        "LATTER_MEM_LEN": 2,
        "MODEL_NAME": "aot_mini",
        "TEST_CKPT_PATH": "somewhere/weights.pth",
        "TEST_DATASET": str(dataset),
        "TEST_DATASET_SPLIT": "val",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({"config": config}))
    (folder / "summary.json").write_text(json.dumps({"frames_per_second": 12.5, "peak_memory": 512.0}))
    return folder


def trace(scores: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns the trace of a 3-frame memory that stores every fifth frame and drops the second oldest.

    Frame 20 came with a mask.
    """
    entries, bank = [], [0]
    for frame in range(5, FRAMES, 5):
        full = len(bank) == 3
        entry: dict[str, Any] = {"frame": frame, "group": 0, "bank": list(bank)}
        entry |= {name: [0.1 * (i + 1) for i in range(3)] for name in scores if full}
        entry["dropped"] = bank.pop(1) if full else None
        if frame == 20:
            entry["given"] = True
        bank.append(frame)
        entries.append(entry)
    return entries


def page_data(sequences: int, runs: int = 2) -> dict[str, Any]:
    """Returns data like that of ``gather``, for the given number of sequences with 4 pictures each."""
    rng = np.random.default_rng(0)
    means = {"objects": 3 * sequences, "j": 50.0, "second": 40.0}
    facts = {"folder": "x", "model": "m", "checkpoint": "c", "policy": "emfs", "capacity": "1 + 8"}
    facts |= {"framesPerSecond": 1.0, "memory": 900.0, "gpuMemory": None, "sequences": sequences, "notes": []}
    return {
        "dataset": "Large",
        "split": "val",
        "splitSequences": sequences,
        "second": "J_tr",
        "notes": [],
        "paper": [],
        "runs": [facts | {"name": f"run {r}", "all": means, "common": means} for r in range(runs)],
        "sequences": [_sequence_data(f"{number:04d}_synthetic", runs, rng) for number in range(sequences)],
    }


def _sequence_data(name: str, runs: int, rng: np.random.Generator) -> dict[str, Any]:
    """Returns a sequence with 100 scored frames, every second one, and 3 objects."""
    frames = [f"frame{frame:05d}" for frame in range(100)]
    outline = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in rng.random((80, 2)) * 400) + "Z"
    outlines = [[number, outline] for number in (1, 2, 3)]
    size = {"width": 480, "height": 270, "jpeg": "A" * 100}
    drawn = {"truth": outlines, "runs": [outlines] * runs}
    return {
        "name": name,
        "length": 204,
        "frames": list(range(2, 202, 2)),
        "frameNames": frames,
        "last": 75,
        "objects": [1, 2, 3],
        "runs": [_run_data(rng) for _ in range(runs)],
        "pictures": [
            {"position": 2 * index + 2, "index": index, "frame": frames[index], **size, **drawn}
            for index in (0, 20, 40, 60)
        ],
        "notes": [],
    }


def _run_data(rng: np.random.Generator) -> dict[str, Any]:
    """Returns J of 3 objects in 100 frames, and a memory of 20 frames with two scores."""
    ious = (100 * rng.random((3, 100))).round(2)
    stored = [
        {"frame": 7 * i, "until": 7 * i + 63, "scores": [[7 * (i + k), 0.1234, 0.1234] for k in range(1, 9)]}
        for i in range(20)
    ]
    return {
        "j": ious.tolist(),
        "figures": [[float(row.mean()), float(row[75:].mean())] for row in ious],
        "memory": [{"group": 0, "names": ["relevance", "redundancy"], "stored": stored}],
    }
