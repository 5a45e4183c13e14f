"""Result masks made from other given masks or frames than the present ones never pass for results."""

import multiprocessing
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.layouts import SAV
from aot_plus.networks.managers import evaluator as evaluator_module
from aot_plus.networks.managers.given_record import input_fingerprints
from aot_plus.networks.managers.origin import origin_of_masks
from aot_plus.pipeline.run import Job
from aot_plus.tools import eval as eval_tool
from aot_plus.utils.config import get_config, save_config
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.masks import write_mask
from evaluation.digests import digest_file
from evaluation.masks import read_mask
from tests.test_evaluator import LENGTHS, FakeSegmenter, VOSTDataset, make_dataset, masks, run
from tests.test_reproduce import make_videos


@pytest.fixture
def dataset(tmp_path: Path) -> VOSTDataset:
    return make_dataset(tmp_path / "VOST")


@pytest.fixture
def result_dir(tmp_path: Path) -> Path:
    return tmp_path / "results"


def shift_mask(root: Path) -> str:
    path = root / "Annotations" / "b_tear" / "00000.png"
    write_mask(path, np.roll(read_mask(path), 9, axis=1))
    return "mask 00000.png"


def lose_mask(root: Path) -> str:
    (root / "Annotations" / "b_tear" / "00000.png").unlink()
    return "mask 00000.png"


def shorten_image(root: Path) -> str:
    path = root / "JPEGImages_10fps" / "b_tear" / "00003.jpg"
    path.write_bytes(path.read_bytes()[:-1])
    return "image 00003.jpg"


def another_name(root: Path) -> str:
    path = root / "JPEGImages_10fps" / "b_tear" / "00004.jpg"
    path.rename(path.with_suffix(".jpeg"))
    return "image 00004.jpeg"


def another_video(root: Path) -> str:
    for folder in ("JPEGImages_10fps", "Annotations"):
        shutil.rmtree(root / folder / "b_tear")
        shutil.copytree(root / folder / "c_fold", root / folder / "b_tear")
    for frame in range(LENGTHS["b_tear"], LENGTHS["c_fold"]):
        (root / "JPEGImages_10fps" / "b_tear" / f"{frame:05d}.jpg").unlink()
    return "image 00000.jpg"


CHANGES = [shift_mask, lose_mask, shorten_image, another_name, another_video]


@pytest.mark.parametrize("change", CHANGES)
def test_masks_of_other_inputs_are_refused(
    dataset: VOSTDataset, result_dir: Path, change: Callable[[Path], str]
) -> None:
    run(dataset, result_dir)
    before = masks(result_dir), (result_dir / "config.yaml").read_bytes()
    file = change(dataset.root)
    with pytest.raises(ConfigError, match=rf"b_tear: {file} .*--overwrite.*--resume"):
        run(dataset, result_dir)
    assert (masks(result_dir), (result_dir / "config.yaml").read_bytes()) == before
    assert run(dataset, result_dir, sequences=["a_cut"]).skipped == ["a_cut"]


def test_overwriting_makes_masks_from_the_new_inputs(
    dataset: VOSTDataset, result_dir: Path, tmp_path: Path
) -> None:
    run(dataset, result_dir)
    shift_mask(dataset.root)
    assert run(dataset, result_dir, overwrite=True, sequences=["b_tear"]).done == ["b_tear"]
    assert run(dataset, result_dir).skipped == list(LENGTHS)
    run(dataset, tmp_path / "new")
    assert masks(result_dir) == masks(tmp_path / "new")


def test_resuming_keeps_the_masks_with_a_warning(
    dataset: VOSTDataset, result_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(dataset, result_dir)
    before = masks(result_dir)
    shift_mask(dataset.root)
    assert run(dataset, result_dir, resume=True).skipped == list(LENGTHS)
    assert masks(result_dir) == before
    saved = yaml.safe_load((result_dir / "config.yaml").read_text())
    ((change,),) = (entry["changed"] for entry in saved["resumed"])
    assert re.search("b_tear: mask 00000.png ", change)
    assert change in caplog.text
    assert run(dataset, result_dir).skipped == list(LENGTHS)
    assert len(yaml.safe_load((result_dir / "config.yaml").read_text())["resumed"]) == 1


def test_masks_of_earlier_versions_are_accepted(dataset: VOSTDataset, result_dir: Path) -> None:
    run(dataset, result_dir)
    for path in result_dir.glob("*/.given"):
        path.unlink()
    shift_mask(dataset.root)
    assert run(dataset, result_dir).skipped == list(LENGTHS)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\xff", b'{"mask 00000.png": 3}'])
def test_a_damaged_record_is_refused(dataset: VOSTDataset, result_dir: Path, content: bytes) -> None:
    run(dataset, result_dir)
    (result_dir / "b_tear" / ".given").write_bytes(content)
    with pytest.raises(ConfigError, match=r"b_tear.*--overwrite.*--resume"):
        run(dataset, result_dir)
    run(dataset, result_dir, resume=True)
    assert run(dataset, result_dir).skipped == list(LENGTHS)


def test_a_sequence_that_is_made_again_anyway_is_no_reason_to_stop(
    dataset: VOSTDataset, result_dir: Path
) -> None:
    run(dataset, result_dir)
    shift_mask(dataset.root)
    (result_dir / "b_tear" / "00003.png").unlink()
    assert run(dataset, result_dir).done == ["b_tear"]
    assert run(dataset, result_dir).skipped == list(LENGTHS)


def test_a_change_during_the_run_is_noticed_by_the_next(dataset: VOSTDataset, result_dir: Path) -> None:
    def change(segmenter: FakeSegmenter) -> None:
        if segmenter.frame == 1 and (result_dir / "a_cut").exists() and not (result_dir / "b_tear").exists():
            shift_mask(dataset.root)

    assert run(dataset, result_dir, change).done == list(LENGTHS)
    with pytest.raises(ConfigError, match="b_tear: mask "):
        run(dataset, result_dir)


def test_a_killed_run_leaves_no_masks_without_their_record(
    dataset: VOSTDataset, result_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run dies just before or just after a folder gets its final name."""
    finish = evaluator_module.SequenceFolder.finish

    def die_in(sequence: str, before: bool) -> None:
        def finish_or_die(folder: evaluator_module.SequenceFolder, *arguments: object) -> None:
            if folder.target.name == sequence and before:
                os._exit(9)
            finish(folder, *arguments)  # type: ignore[arg-type]
            if folder.target.name == sequence:
                os._exit(9)

        monkeypatch.setattr(evaluator_module.SequenceFolder, "finish", finish_or_die)
        run(dataset, result_dir)

    for sequence, before in (("a_cut", False), ("b_tear", True), ("b_tear", False)):
        process = multiprocessing.get_context("fork").Process(target=die_in, args=(sequence, before))
        process.start()
        process.join(60)
        assert process.exitcode == 9
        for path in result_dir.glob("[a-z]*"):
            assert path.is_file() or (path / ".given").is_file()
    shift_mask(dataset.root)
    with pytest.raises(ConfigError, match="b_tear: mask "):
        run(dataset, result_dir)


def _with_later_masks(root: Path) -> Dataset:
    make_videos(root)
    (root / "JPEGImages_10fps").rename(root / "JPEGImages")
    return Dataset(root, "videos", later=True)


def test_later_masks_count_where_they_are_given(tmp_path: Path) -> None:
    later = _with_later_masks(tmp_path / "videos")
    path = tmp_path / "videos" / "Annotations" / "pour" / "00003.png"
    assert input_fingerprints(later.sequence("pour"))["mask 00003.png"] == digest_file(path)
    first_alone = Dataset(later.root, "videos").sequence("pour")
    assert [name for name in input_fingerprints(first_alone) if name.startswith("mask ")] == [
        "mask 00000.png"
    ]
    path.rename(path.with_name("of_no_frame.png"))
    assert len(input_fingerprints(first_alone)) + 4 == len(input_fingerprints(later.sequence("pour")))


def test_masks_of_single_objects_have_separate_names(tmp_path: Path) -> None:
    root = tmp_path / "SA-V"
    mask = np.ones((8, 8), np.uint8)
    (root / "sav_val" / "JPEGImages_24fps" / "one").mkdir(parents=True)
    (root / "sav_val" / "JPEGImages_24fps" / "one" / "00000.jpg").write_bytes(b"1234")
    for folder in ("000", "001"):
        write_mask(root / "sav_val" / "Annotations_6fps" / "one" / folder / "00000.png", mask)
    found = input_fingerprints(SAV(root, "sav", split="val").sequence("one"))
    assert list(found) == ["mask 000/00000.png", "mask 001/00000.png", "image 00000.jpg"]
    assert found["image 00000.jpg"].split()[0] == "4"


def test_a_job_whose_data_changed_is_made_again(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "VOST")
    cfg = get_config("mini_vost", "aot_mini", overrides={"TEST_DATASET": str(dataset.root)})
    job = Job(cfg, None, tmp_path / "results")
    run(dataset, job.folder, cfg=cfg, origin=origin_of_masks(cfg, None))
    assert not job.renewed().overwrite
    shift_mask(dataset.root)
    assert replace(job, sequences=("a_cut",)).differences() == []
    (difference,) = job.differences()
    assert "b_tear: mask 00000.png " in difference
    assert job.renewed().overwrite
    save_config(cfg, job.folder / "config.yaml", {"origin": dict(origin_of_masks(cfg, None))})
    shutil.rmtree(dataset.root)
    assert job.differences() == []


def test_a_shifted_first_mask_is_not_scored_by_its_old_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    dataset = make_videos(tmp_path / "Small")
    flags = ["--model", "aot_mini", "--dataset", str(dataset), "--device", "cpu"]
    flags += ["--policy", "fifo", "--result_dir", str(tmp_path / "results")]
    assert eval_tool.main(flags) == 0
    assert eval_tool.main(flags) == 0
    assert "0 done, 1 skipped" in capsys.readouterr().out
    first = dataset / "Annotations" / "pour" / "00000.png"
    write_mask(first, np.roll(read_mask(first), 15, axis=1))
    assert eval_tool.main(flags) == 1
    captured = capsys.readouterr()
    assert "pour: mask 00000.png " in captured.err
    assert "J-Mean" not in captured.out
    assert eval_tool.main([*flags, "--overwrite"]) == 0
    np.testing.assert_array_equal(read_mask(tmp_path / "results" / "pour" / "00000.png"), read_mask(first))
