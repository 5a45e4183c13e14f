"""The evaluator, with a segmenter that needs no network: results, resuming, bad input, processes."""

import json
import multiprocessing
import os
import re
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from aot_plus.configs import Config
from aot_plus.dataloaders.layouts import VOSTDataset
from aot_plus.networks.engines.prepared import PreparedFrame
from aot_plus.networks.engines.segmenter import FrameLabels
from aot_plus.networks.managers import evaluator as evaluator_module
from aot_plus.networks.managers import result_config, video_pass
from aot_plus.networks.managers.evaluator import Evaluator
from aot_plus.networks.managers.processes import ProcessPlace, process_group
from aot_plus.networks.managers.summary import EvaluationSummary
from aot_plus.networks.memory.trace import TraceSink
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError, DataError, VOSError
from aot_plus.utils.masks import write_mask
from evaluation.masks import Mask, read_mask

HEIGHT, WIDTH = 32, 48
LENGTHS = {"a_cut": 7, "b_tear": 5, "c_fold": 9}


class FakeSegmenter:
    """A segmenter whose labels depend on every frame so far, so that a resumed run cannot fake them."""

    def __init__(self, fail_at: Callable[["FakeSegmenter"], None]) -> None:
        self.trace: TraceSink | None = None
        self.fail_at = fail_at
        self.frame = 0
        self.gap: int | None = None
        self.seen = 0

    def prepare(self, image: Mask) -> PreparedFrame:
        return PreparedFrame((image.shape[0], image.shape[1]), [torch.tensor(int(image.sum()))])

    def start(self, image: PreparedFrame, mask: Mask, *, memory_gap: int | None = None) -> Mask:
        self.mask, self.gap, self.frame = mask, memory_gap, 0
        self.seen = int(image.inputs[0])
        return np.zeros_like(mask)  # the first output is the annotation, not this

    def submit(self, image: PreparedFrame, mask: Mask | None = None) -> FrameLabels:
        self.frame += 1
        self.fail_at(self)
        self.seen += int(image.inputs[0])
        if self.trace is not None:
            self.trace({"frame": self.frame, "group": 0, "bank": [0], "dropped": None})
        return FrameLabels(torch.from_numpy(np.roll(self.mask, self.seen % 31, axis=1)), range(1, 256))

    def check_finite(self) -> None:
        """Finds nothing."""


def nothing(segmenter: FakeSegmenter) -> None:
    """Never fails."""


def make_dataset(root: Path) -> VOSTDataset:
    """Writes three sequences of random frames, with two objects and ignored pixels in the first masks."""
    rng = np.random.default_rng(0)
    for name, length in LENGTHS.items():
        (root / "JPEGImages_10fps" / name).mkdir(parents=True)
        for frame in range(length):
            image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / "JPEGImages_10fps" / name / f"{frame:05d}.jpg")
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[4:12, 3:20], mask[20:25, 8:40], mask[12, 3:20] = 3, 7, 255
        write_mask(root / "Annotations" / name / "00000.png", mask)
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "val.txt").write_text("\n".join(LENGTHS) + "\n")
    return VOSTDataset(root, "vost")


@pytest.fixture
def dataset(tmp_path: Path) -> VOSTDataset:
    return make_dataset(tmp_path / "VOST")


@pytest.fixture
def result_dir(tmp_path: Path) -> Path:
    return tmp_path / "results" / "emfs"


def config(**overrides: object) -> Config:
    return get_config("pre_vost_2", "aott", "test", overrides)


def run(
    dataset: VOSTDataset,
    result_dir: Path,
    fail_at: Callable[[FakeSegmenter], None] = nothing,
    cfg: Config | None = None,
    **options: Any,
) -> EvaluationSummary:
    sequences = options.pop("sequences", None) or dataset.sequences()
    return Evaluator(
        cfg or config(),
        FakeSegmenter(fail_at),
        dataset,
        sequences,
        result_dir,
        **options,
    ).run()


def masks(result_dir: Path) -> dict[str, bytes]:
    """Returns every mask file's content, by its path in the result folder; includes hidden files."""
    return {
        str(path.relative_to(result_dir)): path.read_bytes() for path in sorted(result_dir.rglob("*.png"))
    }


def test_layout_and_contents(dataset: VOSTDataset, result_dir: Path) -> None:
    summary = run(dataset, result_dir)
    expected = [f"{name}/{frame:05d}.png" for name, length in LENGTHS.items() for frame in range(length)]
    assert sorted(masks(result_dir)) == expected
    assert summary.done == list(LENGTHS)
    assert summary.frames == sum(LENGTHS.values())
    annotation = dataset.root / "Annotations" / "a_cut" / "00000.png"
    first = Image.open(result_dir / "a_cut" / "00000.png")
    assert first.mode == "P"
    assert first.getpalette() == Image.open(annotation).getpalette()
    np.testing.assert_array_equal(np.array(first), read_mask(annotation))
    assert read_mask(result_dir / "a_cut" / "00001.png").shape == (HEIGHT, WIDTH)


def test_a_sequence_whose_logits_are_not_finite_has_failed(
    dataset: VOSTDataset, result_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(segmenter: FakeSegmenter) -> None:
        if segmenter.frame == LENGTHS["b_tear"] - 1:
            raise DataError("not finite")

    monkeypatch.setattr(FakeSegmenter, "check_finite", check)
    assert run(dataset, result_dir).failed == {"b_tear": "not finite"}
    assert not any(name.startswith("b_tear") for name in masks(result_dir))


def test_summary_and_config_are_saved(dataset: VOSTDataset, result_dir: Path) -> None:
    run(dataset, result_dir)
    summary = json.loads((result_dir / "summary.json").read_text())
    assert summary["done"] == list(LENGTHS)
    assert summary["failed"] == {}
    assert summary["frames_per_second_compute"] >= summary["frames_per_second"] > 0
    assert summary["peak_memory"] > 10
    saved = yaml.safe_load((result_dir / "config.yaml").read_text())["config"]
    assert saved["MODEL_NAME"] == "aott"
    visible = {path.name for path in result_dir.iterdir()}
    assert visible == {*LENGTHS, "summary.json", "config.yaml"}


def test_a_run_that_computes_nothing_leaves_speed_memory_and_versions(
    dataset: VOSTDataset, result_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(dataset, result_dir)
    summary, path = json.loads((result_dir / "summary.json").read_text()), result_dir / "config.yaml"
    saved = yaml.safe_load(path.read_text())
    earlier = {"commit": "0" * 40, "versions": saved["versions"] | {"torch": "1.0.0"}}
    path.write_text(yaml.safe_dump(saved | earlier))

    def measure(summary: EvaluationSummary, device: torch.device) -> None:
        summary.peak_memory = 12345.0

    monkeypatch.setattr(EvaluationSummary, "measure_memory", measure)
    assert run(dataset, result_dir).skipped == list(LENGTHS)
    assert json.loads((result_dir / "summary.json").read_text()) == summary | {"skipped": list(LENGTHS)}
    saved = yaml.safe_load(path.read_text())
    assert {name: saved[name] for name in earlier} == earlier

    shutil.rmtree(result_dir / "b_tear")
    no_folder(dataset.root)
    assert run(dataset, result_dir).frames == 0
    after = json.loads((result_dir / "summary.json").read_text())
    assert (after["skipped"], list(after["failed"])) == (["a_cut", "c_fold"], ["b_tear"])
    assert (after["frames"], after["peak_memory"]) == (summary["frames"], summary["peak_memory"])

    shutil.rmtree(result_dir / "a_cut")
    run(dataset, result_dir)
    after = json.loads((result_dir / "summary.json").read_text())
    assert (after["done"], after["frames"], after["peak_memory"]) == (["a_cut"], LENGTHS["a_cut"], 12345.0)
    saved = yaml.safe_load(path.read_text())
    assert saved["versions"]["torch"] != "1.0.0"
    ((commit, library),) = (entry["changed"] for entry in saved["resumed"])
    assert (commit.split(",")[0], library.split(",")[0]) == (f"commit was {'0' * 40}", "torch was 1.0.0")


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"frames": "', b"\xff"])
def test_a_damaged_summary_is_replaced(dataset: VOSTDataset, result_dir: Path, content: bytes) -> None:
    run(dataset, result_dir)
    (result_dir / "summary.json").write_bytes(content)
    run(dataset, result_dir)
    summary = json.loads((result_dir / "summary.json").read_text())
    assert (summary["skipped"], summary["frames_per_second"]) == (list(LENGTHS), None)


@pytest.mark.parametrize(("by_length", "gap"), [(True, 5), (False, 9999)])
def test_memory_gap(dataset: VOSTDataset, result_dir: Path, by_length: bool, gap: int) -> None:
    gaps = []
    cfg = config(TEST_MEM_GAP_BY_LENGTH=by_length)
    run(dataset, result_dir, lambda segmenter: gaps.append(segmenter.gap), cfg)
    assert set(gaps) == {gap}


def test_frames_are_read_and_prepared_in_other_threads(dataset: VOSTDataset, result_dir: Path) -> None:
    places: dict[str, set[str]] = {"prepare": set(), "submit": set()}

    class Noting(FakeSegmenter):
        def prepare(self, image: Mask) -> PreparedFrame:
            places["prepare"].add(threading.current_thread().name.split("_")[0])
            return super().prepare(image)

        def submit(self, image: PreparedFrame, mask: Mask | None = None) -> FrameLabels:
            places["submit"].add(threading.current_thread().name)
            return super().submit(image)

    Evaluator(config(), Noting(nothing), dataset, dataset.sequences(), result_dir).run()
    assert places == {"prepare": {"read-ahead"}, "submit": {threading.current_thread().name}}


def test_only_the_segmenter_counts_as_computing(
    dataset: VOSTDataset, result_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is advanced only by the segmenter and by the end of a sequence."""
    clock = [0.0]
    for module in (evaluator_module, video_pass):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    class Slow(FakeSegmenter):
        def start(self, image: PreparedFrame, mask: Mask, *, memory_gap: int | None = None) -> Mask:
            clock[0] += 2.0
            return super().start(image, mask, memory_gap=memory_gap)

        def submit(self, image: PreparedFrame, mask: Mask | None = None) -> FrameLabels:
            clock[0] += 1.0
            return super().submit(image)

    original = evaluator_module.SequenceFolder.finish

    def slow_finish(*arguments: Any) -> None:
        clock[0] += 100.0
        original(*arguments)

    monkeypatch.setattr(evaluator_module.SequenceFolder, "finish", slow_finish)
    summary = Evaluator(config(), Slow(nothing), dataset, dataset.sequences(), result_dir).run()
    frames, sequences = sum(LENGTHS.values()), len(LENGTHS)
    assert summary.compute_seconds == pytest.approx(frames + sequences)
    assert summary.seconds == pytest.approx(frames + sequences + 100 * sequences)


def test_trace(dataset: VOSTDataset, result_dir: Path) -> None:
    run(dataset, result_dir, cfg=config(), sequences=["a_cut"])
    assert not (result_dir / "traces").exists()
    summary = run(dataset, result_dir, cfg=config(TEST_MEM_TRACE=True))
    assert summary.skipped == []  # a_cut has its masks but not its trace
    lines = (result_dir / "traces" / "a_cut.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(1, LENGTHS["a_cut"]))
    assert run(dataset, result_dir, cfg=config(TEST_MEM_TRACE=True)).skipped == list(LENGTHS)


def test_complete_sequences_are_skipped(dataset: VOSTDataset, result_dir: Path) -> None:
    run(dataset, result_dir)
    (result_dir / "b_tear" / "00002.png").unlink()
    before = (result_dir / "a_cut" / "00003.png").stat().st_mtime_ns
    summary = run(dataset, result_dir)
    assert (summary.skipped, summary.done) == (["a_cut", "c_fold"], ["b_tear"])
    assert (result_dir / "a_cut" / "00003.png").stat().st_mtime_ns == before
    assert len(masks(result_dir)) == sum(LENGTHS.values())


def test_overwrite(dataset: VOSTDataset, result_dir: Path) -> None:
    run(dataset, result_dir)
    right = masks(result_dir)
    write_mask(result_dir / "a_cut" / "00003.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    (result_dir / "a_cut" / "99999.png").write_bytes(b"of an earlier dataset")
    assert run(dataset, result_dir, overwrite=True).done == list(LENGTHS)
    assert masks(result_dir) == right


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["traces", "b_tear"])
def test_a_file_in_the_place_of_a_folder_is_named_first(
    dataset: VOSTDataset, result_dir: Path, name: str, overwrite: bool
) -> None:
    run(dataset, result_dir, sequences=["a_cut"])
    before = masks(result_dir)
    (result_dir / name).write_text("not a folder")
    with pytest.raises(DataError, match=f"{name}: .*found a file"):
        run(dataset, result_dir, overwrite=overwrite)
    assert masks(result_dir) == before
    assert (result_dir / name).read_text() == "not a folder"


def test_overwrite_leaves_no_old_result_of_a_broken_sequence(dataset: VOSTDataset, result_dir: Path) -> None:
    run(dataset, result_dir)
    (dataset.root / "Annotations" / "b_tear" / "00000.png").unlink()
    assert list(run(dataset, result_dir, overwrite=True).failed) == ["b_tear"]
    assert not (result_dir / "b_tear").exists()


def _killed_in_second_sequence(dataset: VOSTDataset, result_dir: Path) -> None:
    def die(segmenter: FakeSegmenter) -> None:
        if (result_dir / "a_cut").exists() and segmenter.frame == 3:
            os._exit(9)

    run(dataset, result_dir, die)


def test_killed_run_goes_on_where_it_was(dataset: VOSTDataset, result_dir: Path, tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=_killed_in_second_sequence, args=(dataset, result_dir)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert (result_dir / f".b_tear.{process.pid}.unfinished").is_dir()
    assert [path.name for path in result_dir.glob("[a-z]*") if path.is_dir()] == ["a_cut"]
    summary = run(dataset, result_dir)
    assert (summary.skipped, summary.done) == (["a_cut"], ["b_tear", "c_fold"])
    run(dataset, tmp_path / "undisturbed")
    assert masks(result_dir) == masks(tmp_path / "undisturbed")
    assert not list(result_dir.glob(".*"))


def test_interrupt_says_what_is_finished(dataset: VOSTDataset, result_dir: Path) -> None:
    def interrupt(segmenter: FakeSegmenter) -> None:
        if segmenter.frame == 6 and (result_dir / "b_tear").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="2 of 3 "):
        run(dataset, result_dir, interrupt)
    assert not (result_dir / "c_fold").exists()
    assert not list(result_dir.glob(".*"))
    assert run(dataset, result_dir).done == ["c_fold"]


def break_image(root: Path) -> str:
    path = root / "JPEGImages_10fps" / "b_tear" / "00003.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    return str(path)


def empty_image(root: Path) -> str:
    path = root / "JPEGImages_10fps" / "b_tear" / "00000.jpg"
    path.write_bytes(b"")
    return str(path)


def no_annotation(root: Path) -> str:
    path = root / "Annotations" / "b_tear" / "00000.png"
    path.unlink()
    return str(path)


def broken_annotation(root: Path) -> str:
    path = root / "Annotations" / "b_tear" / "00000.png"
    path.write_bytes(path.read_bytes()[:60])
    return str(path)


def annotation_of_other_size(root: Path) -> str:
    path = root / "Annotations" / "b_tear" / "00000.png"
    write_mask(path, np.ones((HEIGHT, WIDTH + 1), np.uint8))
    return f"annotation {path} has 49 x 32"


def empty_annotation(root: Path) -> str:
    path = root / "Annotations" / "b_tear" / "00000.png"
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[0] = 255
    write_mask(path, mask)
    return f"{path}: the first mask is empty"


def frames_of_other_size(root: Path) -> str:
    path = root / "JPEGImages_10fps" / "b_tear" / "00004.jpg"
    Image.new("RGB", (WIDTH, HEIGHT + 2)).save(path)
    return f"{path}: 48 x 34 pixels"


def no_frames(root: Path) -> str:
    folder = root / "JPEGImages_10fps" / "b_tear"
    for path in folder.iterdir():
        path.unlink()
    return f"{folder}: the sequence has no frames"


def no_folder(root: Path) -> str:
    folder = root / "JPEGImages_10fps" / "b_tear"
    shutil.rmtree(folder)
    return f"{folder}: there is no such sequence folder"


@pytest.mark.parametrize(
    "damage",
    [
        break_image,
        empty_image,
        no_annotation,
        broken_annotation,
        annotation_of_other_size,
        empty_annotation,
        frames_of_other_size,
        no_frames,
        no_folder,
    ],
)
def test_bad_sequence_is_named_and_leaves_nothing(
    dataset: VOSTDataset, result_dir: Path, damage: Callable[[Path], str]
) -> None:
    message = damage(dataset.root)
    summary = run(dataset, result_dir)
    assert list(summary.failed) == ["b_tear"]
    assert message in summary.failed["b_tear"]
    assert f" b_tear: {summary.failed['b_tear']}" in summary.describe()
    assert summary.done == ["a_cut", "c_fold"]
    assert not [path for path in result_dir.rglob("*") if "b_tear" in path.name]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, cv2.error])  # of PyTorch, NumPy, OpenCV
def test_lack_of_memory_fails_one_sequence(
    dataset: VOSTDataset, result_dir: Path, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    def lack_memory(segmenter: FakeSegmenter) -> None:
        if segmenter.frame == 8:  # only c_fold is so long
            raise error("out of memory")

    summary = run(dataset, result_dir, lack_memory)
    assert summary.failed == {"c_fold": f"{error.__name__}: out of memory"}
    assert "Traceback" in caplog.text
    assert not [path for path in result_dir.rglob("*") if "c_fold" in path.name]


def test_frames_whose_names_sort_out_of_order_cause_a_warning(
    dataset: VOSTDataset, result_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = dataset.frames_folder / "b_tear"
    (frames / "00003.jpg").rename(frames / "9.jpg")
    (frames / "00004.jpg").rename(frames / "10.jpg")  # sorts before 9
    run(dataset, result_dir)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert all(word in warning for word in ("b_tear", "9.jpg", "10.jpg"))


def test_writer_errors_fail_the_sequence(
    dataset: VOSTDataset, result_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(path: Path, ids: Mask) -> None:
        if "b_tear" in str(path) and path.stem == "00004":  # the last mask: only joining notices it
            raise OSError(28, "No space left on device")
        write_mask(path, ids)

    original = evaluator_module.BackgroundWriter
    monkeypatch.setattr(evaluator_module, "BackgroundWriter", lambda threads, _: original(threads, full_disk))
    summary = run(dataset, result_dir)
    assert list(summary.failed) == ["b_tear"]
    assert re.search(r"00004\.png: .*\(No space left on device\)", summary.failed["b_tear"])
    assert summary.done == ["a_cut", "c_fold"]
    assert not [path for path in result_dir.rglob("*") if "b_tear" in path.name]


def test_a_mask_that_vanished_fails_the_sequence(
    dataset: VOSTDataset, result_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_lose(path: Path, ids: Mask) -> None:
        write_mask(path, ids)
        if "b_tear" in str(path) and path.stem == "00002":
            path.unlink()

    original = evaluator_module.BackgroundWriter
    monkeypatch.setattr(
        evaluator_module, "BackgroundWriter", lambda threads, _: original(threads, write_and_lose)
    )
    summary = run(dataset, result_dir)
    assert list(summary.failed) == ["b_tear"]
    assert re.search(r": 00002\.png$", summary.failed["b_tear"])
    assert summary.done == ["a_cut", "c_fold"]
    assert not [path for path in result_dir.rglob("*") if "b_tear" in path.name]


def test_results_of_two_configs_do_not_mix(dataset: VOSTDataset, result_dir: Path) -> None:
    run(dataset, result_dir)
    other = config(MEM_POLICY="fifo")
    with pytest.raises(ConfigError, match=r"MEM_POLICY .*'emfs'.*'fifo'"):
        run(dataset, result_dir, cfg=other)
    with pytest.raises(ConfigError, match="b_tear and 1 "):
        run(dataset, result_dir, cfg=other, overwrite=True, sequences=["a_cut"])
    assert run(dataset, result_dir, cfg=other, overwrite=True).done == list(LENGTHS)
    assert run(dataset, result_dir, cfg=config(MEM_POLICY="fifo", TEST_WRITERS=1)).skipped == list(LENGTHS)


def test_results_of_all_frames_do_not_mix_with_those_of_some(dataset: VOSTDataset, result_dir: Path) -> None:
    run(dataset, result_dir, cfg=config(TEST_DATASET_SPLIT="valid"))
    assert run(dataset, result_dir, cfg=config(TEST_DATASET_SPLIT="train")).skipped == list(LENGTHS)
    with pytest.raises(ConfigError, match=r"TEST_DATASET_SPLIT .*'train'.*'valid_all_frames'"):
        run(dataset, result_dir, cfg=config(TEST_DATASET_SPLIT="valid_all_frames"))


def test_results_of_other_weights_or_code_are_not_used_unasked(
    dataset: VOSTDataset, result_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    origin = {"the checkpoint's content": "1", "the project's code": "2"}
    run(dataset, result_dir, origin=origin)
    assert run(dataset, result_dir, origin=origin).skipped == list(LENGTHS)
    other = origin | {"the checkpoint's content": "3", "policy file mine.py": "4"}
    changed = r"the checkpoint's content .*; policy file mine\.py "
    for options in ({}, {"overwrite": True, "sequences": ["a_cut"]}):
        with pytest.raises(ConfigError, match=rf"{changed}.*--overwrite.*--resume"):
            run(dataset, result_dir, origin=other, **options)
    (result_dir / "b_tear" / "00002.png").unlink()
    summary = run(dataset, result_dir, origin=other, resume=True)
    assert (summary.skipped, summary.done) == (["a_cut", "c_fold"], ["b_tear"])
    assert re.search(changed, caplog.text)
    saved = yaml.safe_load((result_dir / "config.yaml").read_text())
    assert saved["origin"] == other
    ((checkpoint, policy),) = (entry["changed"] for entry in saved["resumed"])
    assert re.search(changed, f"{checkpoint}; {policy}")
    assert run(dataset, result_dir, origin=other).skipped == list(LENGTHS)
    with pytest.raises(
        ConfigError, match=r"the project's code .*; the checkpoint's content .*; policy file mine\.py "
    ):
        run(dataset, result_dir, origin={"the project's code": "5"})
    assert run(dataset, result_dir, origin=origin, overwrite=True).done == list(LENGTHS)
    assert "resumed" not in yaml.safe_load((result_dir / "config.yaml").read_text())


def test_results_whose_origin_was_never_noted_are_not_used_unasked(
    dataset: VOSTDataset, result_dir: Path
) -> None:
    run(dataset, result_dir)
    with pytest.raises(ConfigError, match="the project's code "):
        run(dataset, result_dir, origin={"the project's code": "1"})


def test_a_run_killed_while_it_overwrites_leaves_no_old_mask_under_the_new_config(
    dataset: VOSTDataset, result_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(dataset, result_dir)
    discard = result_config.SequenceFolder.discard

    def kill(folder: result_config.SequenceFolder) -> None:
        if folder.target.name == "b_tear":
            raise KeyboardInterrupt
        discard(folder)

    monkeypatch.setattr(result_config.SequenceFolder, "discard", kill)
    with pytest.raises(KeyboardInterrupt):
        run(dataset, result_dir, cfg=config(MEM_POLICY="fifo"), overwrite=True)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="b_tear and 1 "):
        run(dataset, result_dir, cfg=config(MEM_POLICY="fifo"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_run_in_the_folder_is_refused(
    dataset: VOSTDataset, result_dir: Path, tmp_path: Path, overwrite: bool
) -> None:
    refusals = []

    def start_another(segmenter: FakeSegmenter) -> None:
        if not refusals:
            with pytest.raises(DataError, match=f"process {os.getpid()} ") as refusal:
                run(dataset, result_dir, cfg=config(MEM_POLICY="fifo"), overwrite=overwrite)
            refusals.append(refusal)

    assert run(dataset, result_dir, start_another).done == list(LENGTHS)
    assert len(refusals) == 1
    run(dataset, tmp_path / "undisturbed")
    assert masks(result_dir) == masks(tmp_path / "undisturbed")
    assert yaml.safe_load((result_dir / "config.yaml").read_text())["config"]["MEM_POLICY"] == "emfs"


def test_overwriting_removes_the_old_figures_first(dataset: VOSTDataset, result_dir: Path) -> None:
    run(dataset, result_dir)
    old = [result_dir / name for name in ("global_results-val.csv", "per-frame_results-x.csv")]
    for path in old:
        path.write_text("of the old masks")
    run(dataset, result_dir)
    assert all(path.exists() for path in old)

    def interrupt(segmenter: FakeSegmenter) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(dataset, result_dir, interrupt, overwrite=True)
    assert [path.name for path in result_dir.iterdir()] == ["config.yaml"]


def test_figures_are_removed_when_masks_are_missing(dataset: VOSTDataset, result_dir: Path) -> None:
    """The figures of an earlier run could pass for those of the present run, which fails."""
    run(dataset, result_dir)
    old = [result_dir / "global_results-val.csv", result_dir / "val.zip"]
    for path in old:
        path.write_text("of three sequences")
    shutil.rmtree(result_dir / "b_tear")
    no_folder(dataset.root)
    assert list(run(dataset, result_dir).failed) == ["b_tear"]
    assert not any(path.exists() for path in old)


def test_a_folder_that_is_no_result_folder_is_left_alone(dataset: VOSTDataset) -> None:
    annotations = dataset.root / "Annotations"
    before = masks(annotations)
    with pytest.raises(ConfigError, match=f"{annotations}: .* a_cut"):
        run(dataset, annotations, overwrite=True)
    assert masks(annotations) == before


def _worker(rank: int, port: int, dataset: VOSTDataset, result_dir: Path, deadly: bool) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    place = ProcessPlace(rank, 2, rank, 2)

    def die(segmenter: FakeSegmenter) -> None:
        if deadly and rank == 1 and segmenter.frame == 3:
            os._exit(9)

    with process_group(place):
        try:
            summary = run(dataset, result_dir, die, place=place)
        except VOSError as error:
            os._exit(5 if f"process {rank} of 2: " in str(error) else 6)
        assert summary.processes == 2
        assert sorted(summary.done) == list(LENGTHS)


def _run_two_processes(dataset: VOSTDataset, result_dir: Path, deadly: bool) -> list[int | None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_worker, args=(rank, port, dataset, result_dir, deadly)) for rank in (0, 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        worker.kill()
        worker.join()
    return [worker.exitcode for worker in workers]


def test_two_processes_equal_one(dataset: VOSTDataset, result_dir: Path, tmp_path: Path) -> None:
    assert _run_two_processes(dataset, result_dir, deadly=False) == [0, 0]
    run(dataset, tmp_path / "alone")
    assert masks(result_dir) == masks(tmp_path / "alone")
    summary = json.loads((result_dir / "summary.json").read_text())
    assert (summary["processes"], summary["done"]) == (2, list(LENGTHS))


def test_a_dead_process_does_not_hang_the_other(dataset: VOSTDataset, result_dir: Path) -> None:
    assert _run_two_processes(dataset, result_dir, deadly=True) == [5, 9]
    assert (result_dir / "c_fold").is_dir()  # the first process's share, whole
    assert not (result_dir / "a_cut").exists()


def test_the_memory_of_gpus_is_that_of_the_process_with_most(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [EvaluationSummary() for _ in range(3)]
    parts[0].measure_memory(torch.device("cpu"))
    for part, peak in zip(parts[1:], (5, 3), strict=True):
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device, peak=peak: peak * 2**20)
        part.measure_memory(torch.device("cuda"))
    assert EvaluationSummary.merge(parts).peak_cuda_memory == 5
    assert EvaluationSummary.merge(parts[:1]).peak_cuda_memory is None
