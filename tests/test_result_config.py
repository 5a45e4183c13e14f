"""What a mask depends on: a folder whose masks were made with another value of it is said to differ."""

from pathlib import Path

import pytest

from aot_plus.configs import Config
from aot_plus.networks.managers.result_config import claim_result_folder, folder_differences
from aot_plus.utils.config import CONFIG_FILE, get_config, read_saved_content, save_config
from aot_plus.utils.errors import ConfigError


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


def _config_of(dataset: Path | str, **values: object) -> Config:
    return get_config("mini_vost", "aot_mini", overrides={"TEST_DATASET": str(dataset), **values})


def _results_of(cfg: Config, folder: Path) -> Path:
    (folder / "a").mkdir(parents=True)
    save_config(cfg, folder / CONFIG_FILE)
    return folder


def test_masks_of_another_data_set_are_never_kept(tmp_path: Path) -> None:
    """Folders of one name share a result folder."""
    first, second = tmp_path / "one" / "videos", tmp_path / "two" / "videos"
    for folder in (first, second):
        folder.mkdir(parents=True)
    results = _results_of(_config_of(first), tmp_path / "results")
    saved = (results / CONFIG_FILE).read_bytes()
    for other in (second, "davis2017"):
        with pytest.raises(ConfigError) as refused:
            claim_result_folder(_config_of(other), {}, results, ["a"], resume=True)
        assert str(first) in str(refused.value)
        assert str(other) in str(refused.value)
        assert (results / CONFIG_FILE).read_bytes() == saved
    (tmp_path / "link").symlink_to(first)
    claim_result_folder(_config_of(tmp_path / "link"), {}, results, ["a"], resume=True)
    claim_result_folder(_config_of(first), {}, results, ["a"], resume=True)
    first.rename(tmp_path / "moved")
    claim_result_folder(_config_of(tmp_path / "moved"), {}, results, ["a"], resume=True)
    assert len(read_saved_content(results / CONFIG_FILE)["resumed"]) == 3


def test_a_known_data_set_in_another_folder_is_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "MiniVOST").mkdir(parents=True)
    one, two, gone = (_config_of("mini_vost", DIR_DATA=str(tmp_path / name)) for name in ("one", "two", "3"))
    results = _results_of(one, tmp_path / "results")
    (difference,) = folder_differences(results, two, {})
    assert str(tmp_path / "one" / "MiniVOST") in difference
    assert str(tmp_path / "two" / "MiniVOST") in difference
    assert folder_differences(results, one, {}) == []
    assert folder_differences(_results_of(gone, tmp_path / "moved"), one, {}) == []
