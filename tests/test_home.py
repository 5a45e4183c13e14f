"""Relative paths are resolved against the right folder, and shipped checkpoints are found from anywhere."""

from pathlib import Path

import pytest

import evaluation.home
from aot_plus.utils.catalogue import find_checkpoint

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AOT_PLUS_HOME", raising=False)


def test_home_of_a_checkout_is_its_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluation.home.home() == ROOT


def test_home_of_an_installed_package_is_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation.home, "_ROOT", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    assert evaluation.home.checkout() is None
    assert evaluation.home.home() == tmp_path


def test_the_variable_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    assert evaluation.home.home() == tmp_path


def test_a_checkpoint_at_home_comes_before_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    assert find_checkpoint("aot_mini.safetensors") == ROOT / "aot_plus/pretrain_models/aot_mini.safetensors"
    assert find_checkpoint("missing.pth") is None
    (tmp_path / "mine").mkdir()
    own = tmp_path / "mine" / "aot_mini.safetensors"
    own.touch()
    assert find_checkpoint(own.name, "mine") == own
