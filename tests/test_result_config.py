"""What a mask depends on: a folder whose masks were made with another value of it is said to differ."""

from pathlib import Path

import pytest

from aot_plus.networks.managers.result_config import folder_differences
from aot_plus.utils.config import CONFIG_FILE, get_config, save_config


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("TEST_DTYPE", "bfloat16"),
        ("TEST_MAX_LONG_EDGE", 800.0),
        ("TEST_MULTISCALE", (1.0, 1.2)),
        ("TEST_MEM_GAP_MIN", 2),
        ("LATTER_MEM_LEN", 5),
    ],
)
def test_masks_of_another_value_are_told_apart(tmp_path: Path, name: str, other: object) -> None:
    cfg = get_config("mini_vost", "aot_mini")
    saved = get_config("mini_vost", "aot_mini", overrides={name: other})
    save_config(saved, tmp_path / CONFIG_FILE)
    assert folder_differences(tmp_path, saved, {}) == []
    (difference,) = folder_differences(tmp_path, cfg, {})
    assert difference.startswith(f"{name} was ")
