"""Outputs that are links, pipes or devices, full disks, and inputs that never end."""

import errno
import os
import re
import resource
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch

from aot_plus.dataloaders.eval_datasets import open_dataset
from aot_plus.dataloaders.video_input import open_frames
from aot_plus.networks.managers.train_checkpoint import (
    TrainingCheckpoint,
    load_latest_checkpoint,
    save_checkpoint,
)
from aot_plus.networks.memory.trace import read_trace
from aot_plus.networks.models.checkpoint import read_state_dict
from aot_plus.tools import demo, export, make_mini_vost, report, reproduce, show_batch, show_decision
from aot_plus.utils.config import read_saved_config
from aot_plus.utils.errors import VOSError
from aot_plus.utils.masks import read_image, write_mask
from aot_plus.viz.video_writer import VideoWriter
from evaluation.errors import DataError
from evaluation.files import replacing, require_writable
from evaluation.masks import read_mask
from evaluation.per_frame import evaluate_per_frame
from evaluation.results import evaluate, read_results
from evaluation.vost import read_names

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and devices")
SMALL = 1 << 14  # bytes


@pytest.fixture(autouse=True)
def _no_test_waits_for_a_pipe() -> Iterator[None]:
    def give_up(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("waited for a pipe")

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@contextmanager
def small_disk() -> Iterator[None]:
    """Limits the size of files to ``SMALL`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "file.txt", tmp_path / "link.txt"
    link.symlink_to(target)  # dangling at first
    for text in ("first", "second"):
        _write(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_others_may_read_a_file_as_far_as_the_user_lets_them(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    before = os.umask(0o027)
    try:
        _write(path, "text")
    finally:
        left = os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert left == 0o027


def test_a_video_is_written_to_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "overlay.mp4").symlink_to(tmp_path / "there" / "video.mp4")
    with VideoWriter(tmp_path / "overlay.mp4", 10) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0.0)
    assert writer.path.is_symlink()
    assert [path.stem for path in (tmp_path / "there").iterdir()] == ["video"]


@pytest.mark.parametrize("found", ["a pipe", "a device", "a link in a circle", "a folder"])
def test_what_is_no_file_is_never_replaced(tmp_path: Path, pipe: Path, found: str) -> None:
    path = tmp_path / "out"
    if found == "a folder":
        path.mkdir()
    else:
        leads_to = {"a pipe": pipe, "a device": Path("/dev/full"), "a link in a circle": path}
        path.symlink_to(leads_to[found])
    for write in (require_writable, lambda path: _write(path, "text")):
        with pytest.raises(DataError, match=rf"out: .*{found}"):
            write(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "pipe"]
    assert path.is_symlink() or path.is_dir()


@pytest.mark.parametrize(
    ("tool", "flags", "output", "pipe"),
    [
        (report.main, [".", "--out"], "page.html", "page.html"),
        (show_batch.main, ["--out"], "batch.png", "batch.png"),
        (make_mini_vost.main, ["--preview"], "preview.png", "preview.png"),
        (reproduce.main, ["--dataset", "mini_vost", "--out"], "table", "table.csv"),
    ],
)
def test_tools_refuse_a_pipe_before_they_work(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tool: Callable[[list[str]], int],
    flags: list[str],
    output: str,
    pipe: str,
) -> None:
    os.mkfifo(tmp_path / pipe)
    assert tool([*flags, str(tmp_path / output)]) == 1
    assert re.search(f"{pipe}: .* pipe", capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir() if path.is_fifo()] == [pipe]


@pytest.mark.parametrize(
    ("tool", "flags"),
    [
        (report.main, [".", "--out"]),
        (show_batch.main, ["--out"]),
        (make_mini_vost.main, ["--preview"]),
        (show_decision.main, ["--result_dir", ".", "--dataset", ".", "--sequence", "video", "--out"]),
    ],
)
def test_pages_and_pictures_replace_no_other_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: Callable[[list[str]], int], flags: list[str]
) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"weights")
    assert tool([*flags, str(weights)]) == 1
    assert str(weights) in capsys.readouterr().err
    assert weights.read_bytes() == b"weights"


def test_export_and_demo_refuse_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, source = tmp_path / "weights.safetensors", tmp_path / "weights.pth"
    torch.save({"weight": torch.ones(1)}, source)
    os.mkfifo(target)
    assert export.main(["--input", str(source), "--output", str(target)]) == 1
    os.mkfifo(tmp_path / "overlay.mp4")
    for folder in ("video", "given"):
        write_mask(tmp_path / folder / "0.png", np.ones((20, 20), np.uint8))
    inputs = ["--input", str(tmp_path / "video"), "--mask", str(tmp_path / "given" / "0.png")]
    model = ["--stage", "mini_vost", "--model", "aot_mini", "--random_weights"]
    assert demo.main([*inputs, *model, "--output", str(tmp_path), "--overwrite"]) == 1
    named = re.findall(r"error: (\S+): .* pipe", capsys.readouterr().err)
    assert named == [str(target), str(tmp_path / "overlay.mp4")]
    assert (tmp_path / "overlay.mp4").is_fifo()
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize(
    "read",
    [
        read_image,
        read_mask,
        read_names,
        read_trace,
        read_saved_config,
        lambda path: read_state_dict(path.rename(path.with_suffix(".pth"))),
        lambda path: read_results(path.rename(path.with_name("per-sequence_results-val.csv")).parent, "val"),
    ],
)
def test_a_pipe_as_an_input_does_not_hang(pipe: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(VOSError):
        read(pipe)


def test_a_full_disk_is_named_and_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    _write(path, "old")
    with small_disk(), pytest.raises(DataError, match=r"file\.txt: .*\(File too large\)"):
        _write(path, "x" * 2 * SMALL)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataError, match=r"file\.txt: .*\(Read-only file system\)"):
        _write(tmp_path / "there" / "file.txt", "text")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
@pytest.mark.parametrize(
    "use",
    [
        lambda path: _write(path, "text"),
        require_writable,
        read_mask,
        read_image,
        read_trace,
        open_frames,
        lambda path: open_dataset(str(path), path),
        lambda path: evaluate(path, path.parent),
        lambda path: evaluate(path.parent, path, protocol="sav"),
        lambda path: evaluate(path.parent, path.parent, path.name),
        lambda path: evaluate_per_frame(path, path.parent),
        lambda path: evaluate_per_frame(path.parent, path.parent, path.name),
    ],
)
def test_a_path_that_the_system_refuses_is_named(
    tmp_path: Path, use: Callable[[Path], object], name: str
) -> None:
    with pytest.raises(VOSError, match=re.escape(repr(name)[1:-1]) + "|" + re.escape(name)):
        use(tmp_path / name)


@pytest.mark.parametrize("protocol", ["vost", "sav", "lvos"])
def test_a_file_is_no_folder_of_results_or_of_a_dataset(tmp_path: Path, protocol: str) -> None:
    file = tmp_path / "file"
    file.touch()
    for score in (evaluate, evaluate_per_frame):
        with pytest.raises(DataError, match="file: there is no such result folder"):
            score(file, tmp_path, protocol=protocol)
        for name in ("file", "missing"):
            with pytest.raises(DataError, match=f"{name}: there is no such dataset folder"):
                score(tmp_path, tmp_path / name, protocol=protocol)


def test_a_training_on_a_full_disk_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    def checkpoint(step: int, size: int) -> TrainingCheckpoint:
        weights = {"weight": torch.ones(size)}
        return TrainingCheckpoint(step, weights, {}, {}, {"state_dict": weights, "updates": 1}, [])

    save_checkpoint(tmp_path, checkpoint(1, 1), keep=1)
    with small_disk(), pytest.raises(DataError, match=r"save_step_2\.pth: .*\(File too large"):
        save_checkpoint(tmp_path, checkpoint(2, 2 * SMALL), keep=1)
    latest = load_latest_checkpoint(tmp_path)
    assert latest is not None
    assert latest.step == 1
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
