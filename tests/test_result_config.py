"""The values that masks depend on: a folder whose masks were made with other values is reported."""

import logging
from pathlib import Path
from typing import Any

import pytest

from aot_plus.configs import Config
from aot_plus.networks.managers import result_config
from aot_plus.networks.managers.result_config import claim_result_folder, folder_differences
from aot_plus.utils.config import CONFIG_FILE, SUMMARY_FILE, get_config, read_saved_content, save_config
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
    """Data folders with the same name share a result folder."""
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


def test_a_known_data_set_in_another_folder_is_reported(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "MiniVOST").mkdir(parents=True)
    one, two, gone = (_config_of("mini_vost", DIR_DATA=str(tmp_path / name)) for name in ("one", "two", "3"))
    results = _results_of(one, tmp_path / "results")
    (difference,) = folder_differences(results, two, {})
    assert str(tmp_path / "one" / "MiniVOST") in difference
    assert str(tmp_path / "two" / "MiniVOST") in difference
    assert folder_differences(results, one, {}) == []
    assert folder_differences(results, gone, {}) == []
    assert folder_differences(_results_of(gone, tmp_path / "moved"), one, {}) == []


EARLIER = {"commit": "0" * 40, "versions": {"torch": "1.0.0", "pillow": "1.1", "numpy": "1.2"}}


def _claim_again(results: Path, **options: Any) -> dict[str, Any]:
    claim_result_folder(_config_of("nowhere"), {}, results, ["a", "b"], **options)
    return read_saved_content(results / CONFIG_FILE)


@pytest.fixture
def earlier_results(tmp_path: Path) -> Path:
    """A folder with masks of ``a``, made with other versions of the libraries."""
    results = _results_of(_config_of("nowhere"), tmp_path / "results")
    save_config(_config_of("nowhere"), results / CONFIG_FILE, EARLIER)
    return results


def test_commit_and_versions_stay_where_nothing_is_computed(
    earlier_results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved = _claim_again(earlier_results, computes=False)
    assert {name: saved[name] for name in EARLIER} == EARLIER
    assert "resumed" not in saved
    (warning,) = [entry for entry in caplog.records if entry.levelno == logging.WARNING]
    message = warning.getMessage()
    assert "\n" not in message
    assert "torch was 1.0.0" in message
    assert "pillow was 1.1" in message
    assert "numpy" not in message


def test_versions_that_made_kept_masks_are_listed_when_others_go_on(
    earlier_results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved = _claim_again(earlier_results)
    assert saved["commit"] != EARLIER["commit"]
    assert saved["versions"]["torch"] != "1.0.0"
    (resumed,) = saved["resumed"]
    assert [change.split(",")[0] for change in resumed["changed"]] == [
        f"commit was {EARLIER['commit']}",
        "torch was 1.0.0",
        "numpy was 1.2",
        "pillow was 1.1",
    ]
    assert len(caplog.records) == 1
    for computes in (True, False):  # neither repeats what has been logged
        assert _claim_again(earlier_results, computes=computes)["resumed"] == [resumed]
    assert len(caplog.records) == 1


def test_masks_that_are_made_again_have_no_earlier_versions(
    earlier_results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outdated = [earlier_results / name for name in ("global_results-val.csv", "videos.zip", SUMMARY_FILE)]
    for path in outdated:
        path.touch()
    saved = _claim_again(earlier_results, overwrite=True)
    assert "resumed" not in saved
    assert saved["versions"]["torch"] != "1.0.0"
    assert not caplog.records
    assert not any(path.exists() for path in outdated)


@pytest.mark.parametrize("facts", [{"versions": None, "commit": None}, {"versions": "of text"}])
def test_a_config_whose_versions_are_not_known_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any]
) -> None:
    monkeypatch.setattr(result_config, "git_commit", lambda: None)
    results = _results_of(_config_of("nowhere"), tmp_path / "results")
    save_config(_config_of("nowhere"), results / CONFIG_FILE, facts)
    assert _claim_again(results, computes=False)["versions"] == facts["versions"]
    assert _claim_again(results)["versions"].keys() >= {"python", "torch"}
