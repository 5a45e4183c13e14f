"""The README's Python blocks run as they are."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aot_plus import VideoSegmenter, get_config, load_model
from aot_plus.networks.models import build_model
from aot_plus.utils.masks import write_mask

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SIZE = (65, 81)


def _python_block(containing: str) -> str:
    """Returns the only Python block that contains the text."""
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (block,) = [block for block in blocks if containing in block]
    return str(block)


def _frame(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def _mask() -> np.ndarray[Any, np.dtype[np.uint8]]:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[10:40, 10:40], mask[20:50, 50:70] = 1, 4
    return mask


def test_library_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "aot_plus" / "pretrain_models" / "AOT_EMFS.pth"
    checkpoint.parent.mkdir(parents=True)
    torch.save(build_model(get_config("pre_vost_2", "r50_aotl")).state_dict(), checkpoint)
    (tmp_path / "video").mkdir()
    for number in range(3):
        Image.fromarray(_frame(number)).save(tmp_path / "video" / f"{number}.jpg")
    write_mask(tmp_path / "first_mask.png", _mask())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    names: dict[str, Any] = {}
    exec(compile(_python_block("VideoSegmenter"), "README.md", "exec"), names)
    assert names["labels"].shape == SIZE
    assert set(np.unique(names["labels"])) <= {0, 1, 4}


def test_policy_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_policies.py").write_text(_python_block("MemoryPolicy"), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    overrides = {"MEM_POLICY": "my_policies:LeastAttended", "LATTER_MEM_LEN": 2, "TEST_DEVICE": "cpu"}
    entries: list[dict[str, Any]] = []
    segmenter = VideoSegmenter(load_model("aott", None, overrides=overrides), trace=entries.append)
    segmenter.start(_frame(0), _mask(), memory_gap=1)
    for number in range(1, 6):
        segmenter.step(_frame(number))
    decisions = [entry for entry in entries if entry["dropped"] is not None]
    assert len(decisions) == 3
    for entry in decisions:
        scores = dict(zip(entry["bank"], entry["relevance"], strict=True))
        assert entry["dropped"] == min(list(scores)[1:], key=scores.__getitem__)
