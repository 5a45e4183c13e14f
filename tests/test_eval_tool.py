"""``python -m aot_plus.tools.eval``: from flags to exit codes, with a small network with random weights."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from aot_plus.dataloaders.mini_vost import writer
from aot_plus.pipeline.choices import EvalRequest, choose, ensure_mini_vost, missing_downloads
from aot_plus.tools import eval as eval_tool
from aot_plus.tools.common import run_tool
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.masks import write_mask


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "Small"
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for frame in range(3):
            path = root / "JPEGImages_10fps" / name / f"{frame:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (40, 56, 3), dtype=np.uint8)).save(path)
        mask = np.zeros((40, 56), np.uint8)
        mask[8:20, 8:20], mask[20:30, 30:50], mask[0, 0] = 5, 2, 255
        write_mask(root / "Annotations" / name / "00000.png", mask)
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "val.txt").write_text("a\nb\n")
    return root


def evaluate(dataset: Path, *flags: str) -> int:
    common = ["--model", "aott", "--dataset", str(dataset), "--device", "cpu"]
    results = ["--result_dir", str(dataset.parent / "results")]
    return eval_tool.main([*common, *results, "--no_metric", *flags])


def test_end_to_end(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--random_weights", "--policy", "fifo", "--set", "LATTER_MEM_LEN=2", "TEST_WRITERS=1"]
    assert evaluate(dataset, *flags) == 0
    results = dataset.parent / "results"
    output = capsys.readouterr().out
    assert "2 done" in output
    assert output.endswith(f" {results}\n")
    for name in ("a", "b"):
        for frame in range(3):
            ids = np.array(Image.open(results / name / f"{frame:05d}.png"))
            assert ids.shape == (40, 56)
            assert set(np.unique(ids)) <= {0, 2, 5, 255}
    config = yaml.safe_load((results / "config.yaml").read_text())["config"]
    assert (config["MEM_POLICY"], config["LATTER_MEM_LEN"], config["TEST_CKPT_PATH"]) == ("fifo", 2, None)
    assert evaluate(dataset, *flags, "--sequences", "a") == 0
    assert "0 done, 1 skipped" in capsys.readouterr().out


def test_a_broken_sequence_gives_exit_code_1(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "Annotations" / "a" / "00000.png").unlink()
    assert evaluate(dataset, "--random_weights") == 1
    output = capsys.readouterr().out
    assert f" a: {dataset}/Annotations/a/00000.png: " in output
    assert [path.name for path in (dataset.parent / "results").iterdir() if path.is_dir()] == ["b"]


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (["--random_weights", "--split", "tst"], "'tst'.* val"),
        (["--random_weights", "--sequences", "a", "c"], " c .*'val'"),
        (["--random_weights", "--dataset", "nowhere"], "nowhere: "),
        ([], "--checkpoint FILE.*--random_weights"),
        (["--ckpt_path", "missing.pth"], "missing.pth"),
        (["--random_weights", "--set", "LATER_MEM_LEN=3"], "LATTER_MEM_LEN"),
        (["--random_weights", "--dtype", "float8"], "TEST_DTYPE"),
        (["--random_weights", "--policy", "lifo"], "unbounded, fifo, rmem, emfs"),
        (["--random_weights", "--policy", "unbounded", "--capacity", "5"], "--capacity.*'unbounded'.* 5"),
    ],
)
def test_wrong_flags_are_named_at_once(
    dataset: Path, capsys: pytest.CaptureFixture[str], flags: list[str], facts: str
) -> None:
    assert evaluate(dataset, *flags) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("error: ")
    assert re.search(facts, captured.err)
    assert not (dataset.parent / "results").exists()


def test_a_checkpoint_and_random_weights_exclude_each_other(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        evaluate(dataset, "--random_weights", "--checkpoint", "mine.pth")
    assert ended.value.code == 2
    assert re.search("--checkpoint.*--random_weights", capsys.readouterr().err.splitlines()[-1])


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise DataError("this file")

    def interrupt() -> int:
        raise KeyboardInterrupt("Run it again.")

    assert run_tool(lambda: 7) == 7
    assert run_tool(fail) == 1
    assert run_tool(interrupt) == 130
    assert capsys.readouterr().err == "error: this file\n\nRun it again.\n"


def test_another_folder_of_images_is_named_once_and_taken_when_chosen(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / "JPEGImages_10fps").rename(dataset / "JPEGImages")
    assert evaluate(dataset, "--random_weights") == 1
    output = "".join(capsys.readouterr())
    assert output.count(" JPEGImages_10fps") == 1
    assert "--images JPEGImages (TEST_IMAGES)" in output
    assert evaluate(dataset, "--random_weights", "--images", "JPEGImages") == 0
    assert "2 done" in capsys.readouterr().out


def test_only_an_unnamed_model_is_the_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))  # a home without data and checkpoints
    for request in (
        EvalRequest(dataset="mini_vost"),
        EvalRequest(overrides={"TEST_DATASET": "mini_vost"}),
        EvalRequest(stage="pre_vost_2"),
        EvalRequest(),
    ):
        choice = choose(request)
        assert (choice.cfg.MODEL_NAME, choice.cfg.TEST_DATASET) == ("aot_mini", "mini_vost")
        assert choice.cfg.STAGE_NAME == get_config("mini_vost", "aot_mini").STAGE_NAME
        assert choice.shipped
        assert choice.checkpoint is not None
        assert choice.checkpoint.name == "aot_mini.safetensors"
    assert missing_downloads(EvalRequest(dataset="mini_vost")) == []
    assert missing_downloads(EvalRequest(model="r50_deaotl", dataset="mini_vost")) == ["DeAOT_EMFS.pth"]
    for dataset in (None, "mini_vost"):
        with pytest.raises(ConfigError, match=r"DeAOT_EMFS\.pth"):
            choose(EvalRequest(model="r50_deaotl", dataset=dataset))
        with pytest.raises(ConfigError, match="--checkpoint"):
            choose(EvalRequest(model="aott", dataset=dataset))
        with pytest.raises(ConfigError, match=r"mine\.pth"):
            choose(EvalRequest(checkpoint="mine.pth", dataset=dataset))
    random = choose(EvalRequest(dataset="mini_vost", random_weights=True))
    assert (random.cfg.MODEL_NAME, random.checkpoint, random.shipped) == ("r50_aotl", None, False)


def test_the_checkpoint_of_a_benchmark_is_what_is_downloaded(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path / "home"))
    request = EvalRequest(dataset=str(dataset), overrides={"TEST_LAYOUT": "sav"})
    assert missing_downloads(request) == ["R50_AOTL_PRE_YTB_DAV.pth"]
    with pytest.raises(ConfigError, match=r"R50_AOTL_PRE_YTB_DAV\.pth"):
        choose(request)
    with pytest.raises(DataError, match="DAVIS"):  # before anything is downloaded
        missing_downloads(EvalRequest(dataset="davis2017"))
    assert missing_downloads(EvalRequest(dataset="vost")) == ["AOT_EMFS.pth", "vost"]
    assert missing_downloads(EvalRequest(dataset="vost", random_weights=True)) == ["vost"]


def test_the_layout_that_is_recognised_joins_the_named_values(dataset: Path) -> None:
    shutil.rmtree(dataset / "ImageSets")
    (dataset / "JPEGImages_10fps").rename(dataset / "JPEGImages")
    request = EvalRequest(dataset=str(dataset), random_weights=True, overrides={"TEST_MEM_GAP_MIN": 3})
    cfg = choose(request).cfg
    assert (cfg.TEST_LAYOUT, cfg.TEST_MEM_GAP_MIN) == ("folders", 3)


def test_vost_is_found_by_the_name_that_commands_give_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    (tmp_path / "aot_plus" / "datasets" / "vost").mkdir(parents=True)
    choice = choose(EvalRequest(random_weights=True))
    assert (choice.cfg.MODEL_NAME, choice.cfg.TEST_DATASET) == ("r50_aotl", "vost")
    assert missing_downloads(EvalRequest(random_weights=True)) == []
    checkpoint = tmp_path / "aot_plus" / "pretrain_models" / "AOT_EMFS.pth"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    small = choose(EvalRequest(overrides={"TEST_DATASET": "mini_vost"}))
    assert (small.cfg.MODEL_NAME, small.cfg.TEST_DATASET) == ("aot_mini", "mini_vost")


def test_a_named_model_runs_on_mini_vost_without_vost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    checkpoint = tmp_path / "aot_plus" / "pretrain_models" / "DeAOT_EMFS.pth"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    choice = choose(EvalRequest(model="r50_deaotl"))
    assert (choice.cfg.MODEL_NAME, choice.cfg.TEST_DATASET) == ("r50_deaotl", "mini_vost")
    assert (choice.checkpoint, choice.shipped) == (checkpoint, False)


def test_a_disk_that_is_full_is_an_error_that_names_the_folder_of_mini_vost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(writer, "add_val", fail)
    with pytest.raises(DataError, match=r"MiniVOST: .*no space left"):
        ensure_mini_vost(tmp_path)
