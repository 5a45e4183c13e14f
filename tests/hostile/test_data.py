"""Unusual or wrong data as met in practice gives a message or a result."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aot_plus.dataloaders.coloured_masks import MaskReader
from aot_plus.networks.managers.train_log import lines_up_to
from aot_plus.networks.memory.trace import read_trace
from aot_plus.utils.errors import DataError
from evaluation.masks import read_mask
from tests.hostile import workshop
from tests.hostile.damage import DEEP
from tests.hostile.fuzz import commands, run_command


def test_a_jpeg_is_no_mask_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.full((8, 8), 3, np.uint8)).save(path, "JPEG")
    for read in (read_mask, MaskReader().read):
        with pytest.raises(DataError, match=r"mask\.png: .* found .*JPEG"):
            read(path)


@pytest.mark.parametrize("value", [DEEP, "9" * 400, "9" * 5000, "1e31", '"x"', "-1"], ids=range(6))
def test_a_trace_with_strange_numbers_is_named(tmp_path: Path, value: str) -> None:
    path = tmp_path / "video.jsonl"
    for line in (
        f'{{"frame": 2, "group": 0, "bank": [0], "relevance": {value}, "dropped": 0}}\n',
        f'{{"frame": {value}, "group": 0, "bank": [0], "dropped": 0}}\n',
    ):
        path.write_text(line)
        with pytest.raises(DataError, match=r"video\.jsonl: "):
            read_trace(path)


def test_a_binary_training_log_keeps_the_lines_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\xfe\x00\n{"step": 2}\n{"step": 9}\n' + DEEP.encode())
    assert lines_up_to(path, 2) == ['{"step": 1}\n', '{"step": 2}\n']


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3)])
def test_frames_of_any_size_go_through_the_tools(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    monkeypatch.setattr(workshop, "SIZE", size)
    monkeypatch.setattr(workshop, "_mask", lambda _: np.ones(size, np.uint8))
    shop = workshop.Workshop.build(tmp_path / "good")
    for number, command in enumerate(commands(shop)):
        copy = shop.copy(tmp_path / str(number))
        assert run_command(commands(copy)[number], copy) == 0, command
