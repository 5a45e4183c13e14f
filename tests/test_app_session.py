"""What the page does, without the page: projects, painting, runs, corrections, undo, export."""

import errno
import gc
import json
import os
import re
import shutil
import threading
import weakref
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.packet import Packet
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from aot_plus.app import frames
from aot_plus.app.answers import Answers
from aot_plus.app.painting import Stroke
from aot_plus.app.places import Places
from aot_plus.app.project import Project
from aot_plus.app.run import Progress, SegmentRun
from aot_plus.app.session import Session
from aot_plus.app.settings import Settings, about_model
from aot_plus.app.snapshots import Snapshots
from aot_plus.app.tracker import Tracker
from aot_plus.app.view import areas_view, memory_view
from aot_plus.dataloaders.box_masks import Box
from aot_plus.networks.engines.prepared import PreparedFrame
from aot_plus.networks.managers.video_pass import LazyMask
from aot_plus.networks.models import AOT
from aot_plus.tools import app
from aot_plus.utils.errors import CheckpointError, ConfigError, DataError
from aot_plus.utils.masks import write_mask
from evaluation.masks import read_mask
from tests.video_files import remux, write_video

HEIGHT, WIDTH = 96, 128
FRAMES = 10
SETTINGS = Settings(capacity=3, gap=2)
Array = NDArray[np.uint8]


def red_square(number: int) -> NDArray[np.bool_]:
    """Returns the red square's mask in a frame; the square moves to the right."""
    where = np.zeros((HEIGHT, WIDTH), bool)
    where[12:40, 12 + 4 * number : 40 + 4 * number] = True
    return where


def blue_square() -> NDArray[np.bool_]:
    where = np.zeros((HEIGHT, WIDTH), bool)
    where[56:84, 20:48] = True
    return where


def green_square() -> NDArray[np.bool_]:
    """Returns the mask of the green square, which is there from frame 5 on."""
    where = np.zeros((HEIGHT, WIDTH), bool)
    where[54:86, 80:112] = True
    return where


GREEN_BOX = Box(70, 46, 52, 48)
BLUE_BOX = Box(12, 48, 44, 44)


def frame(number: int) -> Array:
    """Returns a frame of noise with the red square and, below it, the blue square, which does not move."""
    image = np.random.default_rng(number).integers(90, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    image[red_square(number)] = (230, 40, 30)
    image[blue_square()] = (30, 60, 230)
    if number >= 5:
        image[green_square()] = (40, 220, 60)
    return image


def make_video(folder: Path, frames: int = FRAMES) -> Path:
    folder.mkdir(parents=True)
    for number in range(frames):
        Image.fromarray(frame(number)).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return make_video(tmp_path / "videos" / "squares")


@pytest.fixture
def session(video: Path, tmp_path: Path) -> Iterator[Session]:
    """A session with the video opened."""
    session = Session(tmp_path / "projects", Places([video.parent]), SETTINGS, "cpu")
    session.open_video(video)
    yield session
    session.close()


def dab(session: Session, object_id: int, x: float, y: float, diameter: float = 28) -> None:
    session.stroke(session.opened.project.frame, Stroke(object_id, [(x, y)], diameter))


def mask(session: Session, number: int) -> Array:
    found = session.opened.project.mask(number)
    assert found is not None
    return found


def run(session: Session, step: int = 1) -> None:
    session.segment(session.opened.project.frame, step)
    assert session.opened.run is not None
    session.opened.run.wait(100)
    assert session.opened.progress.state == "done", session.opened.progress


def run_until_failure(session: Session, start: int = 0) -> Progress:
    session.segment(start, 1)
    assert session.opened.run is not None
    session.opened.run.wait(100)
    assert session.opened.progress.state == "failed", session.opened.progress
    return session.opened.progress


def first_of_run(session: Session) -> int:
    """Returns the frame at which the memory of the last forward run begins."""
    chain = session.opened.project.chain(1)
    assert chain is not None
    return chain.first


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


# --- painting


def test_strokes_are_round_and_leave_hidden_objects_alone(session: Session) -> None:
    dab(session, 1, 20.5, 20.5, 9)
    ys, xs = np.nonzero(mask(session, 0) == 1)
    np.testing.assert_allclose([xs.min(), xs.max(), ys.min(), ys.max()], [16, 24, 16, 24], atol=1)
    assert 50 <= len(xs) <= 85  # a circle of 9 pixels
    second = session.add_object()
    session.hide_object(1, True)
    session.stroke(0, Stroke(second.id, [(10, 20.5), (40, 20.5)], 3))
    painted = mask(session, 0)
    assert painted[20, 12] == second.id
    assert (painted == 1).sum() == len(xs)
    with pytest.raises(DataError, match="hidden"):
        dab(session, 1, 5, 5)
    session.stroke(0, Stroke(0, [(0, 20), (120, 20)], 200))
    assert np.unique(mask(session, 0)).tolist() == [0, 1]


@pytest.mark.parametrize("frame", [0, -1])  # -1, before the first frame, means the first frame
def test_a_box_becomes_the_object_in_it(session: Session, frame: int) -> None:
    session.box(frame, BLUE_BOX, 1)
    assert iou(mask(session, 0) == 1, blue_square()) > 0.9
    with pytest.raises(DataError, match="900,0,5,5"):
        session.box(0, Box(900, 0, 5, 5), 1)


def test_undo_takes_back_painting_and_objects(session: Session) -> None:
    with pytest.raises(DataError, match="undo"):
        session.undo()
    dab(session, 1, 20, 20)
    first = mask(session, 0)
    session.show(3)
    dab(session, 1, 40, 20)
    session.add_object()
    session.remove_object(1)
    assert not mask(session, 0).any()
    session.undo()
    np.testing.assert_array_equal(mask(session, 0), first)
    session.undo()
    assert [item.id for item in session.opened.project.objects] == [1]
    session.undo()
    project = session.opened.project
    assert (project.frame, project.mask(3), project.given_frames()) == (3, None, [0])
    session.undo()
    assert project.masks.frames() == []


def test_a_frame_whose_strokes_are_all_erased_has_no_mask(session: Session) -> None:
    """An empty mask that was given would end the object in a run; without one, the run finds it."""
    dab(session, 1, 20, 20)
    first, project = mask(session, 0), session.opened.project
    session.stroke(0, Stroke(0, [(20, 20)], 60))
    assert (project.given_frames(), project.masks.frames()) == ([], [])
    session.undo()
    np.testing.assert_array_equal(mask(session, 0), first)
    assert project.given_frames() == [0]


@pytest.mark.parametrize(
    "change", [lambda session: session.rename_object(1, "red"), lambda session: session.add_object()]
)
def test_undoing_a_change_of_objects_leaves_masks_and_memory(
    session: Session, change: Callable[[Session], object]
) -> None:
    dab(session, 1, 26, 26)
    project, objects = session.opened.project, session.opened.project.objects
    session.show(5)
    change(session)
    session.show(0)
    run(session)
    found = mask(session, 5)
    session.undo()
    np.testing.assert_array_equal(mask(session, 5), found)
    assert (project.objects, project.frame) == (objects, 0)
    session.show(FRAMES - 1)
    run(session)
    assert first_of_run(session) == 0


def test_undo_leaves_hidden_objects_hidden(session: Session) -> None:
    dab(session, 1, 20, 20)
    session.hide_object(1, True)
    session.undo()
    assert session.opened.project.hidden == [1]


def test_undoing_a_removal_brings_back_what_was_painted(session: Session) -> None:
    dab(session, 1, 26, 26)
    session.box(0, BLUE_BOX, session.add_object().id)
    painted = mask(session, 0)
    run(session)
    followed = mask(session, FRAMES - 1)
    session.remove_object(2)
    session.undo()  # before any run: the memory is still valid
    run(session)
    assert first_of_run(session) == 0
    session.show(5)
    session.remove_object(2)
    session.show(0)
    run(session)
    without = mask(session, 5)
    session.undo()
    np.testing.assert_array_equal(mask(session, 0), painted)
    np.testing.assert_array_equal(mask(session, 5), without)
    assert session.opened.project.frame == 0
    run(session)
    assert 2 in followed
    np.testing.assert_array_equal(mask(session, FRAMES - 1), followed)


@pytest.mark.parametrize(
    "change",
    [
        lambda session: dab(session, 1, 60, 60),
        Session.add_object,
        lambda session: session.rename_object(1, "red"),
        lambda session: session.remove_object(1),
        Session.undo,
    ],
)
def test_a_change_that_cannot_be_saved_changes_nothing(
    change: Callable[[Session], object], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    dab(session, 1, 26, 26)
    project, painted = session.opened.project, mask(session, 0)

    def fail(self: Project) -> None:
        raise DataError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Project, "save", fail)
        with pytest.raises(DataError, match="disk is full"):
            change(session)
    assert [item.name for item in project.objects] == ["Object 1"]
    np.testing.assert_array_equal(mask(session, 0), painted)
    np.testing.assert_array_equal(project.given_mask(0), painted)
    session.undo()
    assert project.masks.frames() == []


def test_a_project_is_closed_even_if_it_cannot_be_saved(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Project) -> None:
        raise DataError("the disk is full")

    monkeypatch.setattr(Project, "save", fail)
    session.close()
    assert not session.is_open


@pytest.mark.parametrize("full_at", ["squares-2/given", "squares-2/project.json"])
def test_a_project_that_cannot_be_made_leaves_nothing(
    full_at: str, session: Session, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = session.opened
    mkdir, add_object = Path.mkdir, Project.add_object

    def make_folder(path: Path, **options: bool) -> None:
        if path == session.projects / full_at:
            raise OSError(errno.ENOSPC, "no space")
        mkdir(path, **options)

    def add(project: Project) -> None:
        raise DataError(f"{project.folder / 'project.json'}: no space")

    monkeypatch.setattr(Path, "mkdir", make_folder)
    monkeypatch.setattr(Project, "add_object", add if full_at.endswith("json") else add_object)
    with pytest.raises(DataError, match=f"{full_at}: .*no space"):
        session.open_video(video)
    assert [path.name for path in session.projects.iterdir()] == ["squares"]
    assert session.opened is before


def test_a_mask_file(session: Session, tmp_path: Path) -> None:
    session.add_object()
    session.remove_object(2)
    loaded = np.zeros((HEIGHT, WIDTH), np.uint8)
    loaded[:10], loaded[10:20], loaded[20:30], loaded[30:] = 1, 2, 9, 255
    (tmp_path / "mask.png").write_bytes(b"no mask")
    with pytest.raises(DataError, match=r"^mask\.png: "):  # the upload folder means nothing to the user
        session.load_mask(0, tmp_path / "mask.png")
    write_mask(tmp_path / "mask.png", loaded)
    session.load_mask(0, tmp_path / "mask.png")
    # 2 was removed, so the mask's 2 is a new object.
    assert [item.id for item in session.opened.project.objects] == [1, 3, 9]
    assert [mask(session, 0)[row, 0] for row in (0, 10, 20, 30)] == [1, 3, 9, 0]
    session.undo()
    assert session.opened.project.mask(0) is None
    write_mask(tmp_path / "mask.png", loaded[:, 1:])
    with pytest.raises(DataError, match=r"127 x 96 .*128 x 96"):
        session.load_mask(0, tmp_path / "mask.png")


# --- runs


def test_a_run_follows_what_was_painted_in_both_directions(session: Session) -> None:
    with pytest.raises(DataError, match="frame 0 "):
        session.segment(0, 1)
    session.show(4)
    dab(session, 1, 42, 26)
    run(session)
    run(session, -1)
    assert session.opened.project.masks.frames() == list(range(FRAMES))
    assert min(iou(mask(session, number) == 1, red_square(number)) for number in range(FRAMES)) > 0.6
    memory = memory_view(session.opened, 0)
    assert memory is not None
    assert memory["direction"] == "backward"
    assert [item["frame"] for item in memory["held"]] == [4, 2, 0]
    memory = memory_view(session.opened, FRAMES - 1)
    assert memory is not None
    assert memory["direction"] == "forward"
    assert [item["mark"] for item in memory["held"]] == ["reference", "", "new"]


def test_the_page_that_follows_is_at_the_runs_last_frame_once_it_has_ended(
    session: Session, tmp_path: Path
) -> None:
    dab(session, 1, 26, 26)
    run(session)
    answers = Answers(session, tmp_path)
    state = answers.answer("stop", {"follow": True})["state"]
    assert (state["frame"], state["run"]["frame"], state["run"]["state"]) == (FRAMES - 1, FRAMES - 1, "done")
    session.show(2)
    assert answers.answer("look", {"follow": False})["state"]["frame"] == 2


def test_a_run_continues_from_a_correction_with_the_memory_before_it(session: Session) -> None:
    dab(session, 1, 26, 26)
    run(session)
    before = {number: mask(session, number) for number in range(FRAMES)}
    session.show(6)
    run(session)  # rerun from there: nothing was changed
    for number in range(FRAMES):
        np.testing.assert_array_equal(mask(session, number), before[number])
    chain = session.opened.project.chain(1)
    assert chain is not None
    assert (chain.first, chain.last) == (0, FRAMES - 1)
    second = session.add_object()
    session.box(6, GREEN_BOX, second.id)
    run(session)
    assert session.opened.project.chain(1) == chain
    assert (mask(session, 5) == 2).sum() == 0
    assert iou(mask(session, 6) == 2, green_square()) > 0.9
    assert iou(mask(session, FRAMES - 1) == 2, green_square()) > 0.6
    memory = memory_view(session.opened, FRAMES - 1)
    assert memory is not None
    assert {item["frame"]: item["mark"] for item in memory["held"]}[6] == "reference"


def test_a_run_skips_frames_that_cannot_be_decoded(
    session: Session, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(position: int, packet: Packet) -> list[Packet]:
        if position not in range(5, 10):
            return [packet]
        broken = Packet(bytes(packet.size))
        broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
        return [broken]

    whole = write_video(tmp_path / "whole.mp4", "libx264", 20, options={"bf": "0"})
    session.open_video(remux(whole, video.parent / "clip.mp4", damaged))
    project = session.opened.project
    dab(session, 1, 8, 8, 12)
    run(session)
    readable = {*range(5), *range(10, 20)}
    assert set(project.masks.frames()) == readable
    session.show(13)  # continues with a memory that holds frames from before and after the gap
    run(session)
    assert first_of_run(session) == 0
    stored = set()
    for number in range(20):
        memory = memory_view(session.opened, number)
        assert memory is not None
        stored |= {item["frame"] for item in memory["held"]}
    assert stored <= readable
    assert max(stored) == 19
    monkeypatch.setattr(frames, "_CHUNK", 2)  # so that none of a chunk can be decoded
    session.show(19)
    run(session, -1)
    assert (session.opened.progress.state, session.opened.progress.done) == ("done", len(readable))


def test_states_that_cannot_be_read_end_the_run_with_their_place(session: Session, video: Path) -> None:
    dab(session, 1, 26, 26)
    run(session)
    session.close()
    folder = session.projects / "squares"
    for path in folder.rglob("*.pt"):
        path.write_bytes(b"no state")
    session.open_project("squares")
    session.show(5)
    assert str(folder) in run_until_failure(session, 5).message


def test_the_states_on_disk_are_few_and_spread_over_the_run(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, 1)
    for position in range(0, 400, 4):
        snapshots.keep(position, {"position": position})
    positions = sorted(int(path.stem.rpartition("-")[2]) for path in tmp_path.glob("*.pt"))
    assert positions[0] == 0
    assert len(positions) <= 8
    assert max(np.diff([*positions, 400])) <= 128
    own = positions[3]
    assert snapshots.nearest(own + 3) == (own, {"position": own})
    (tmp_path / f"forward-{own:06d}.pt").write_bytes(b"no state")
    assert snapshots.nearest(own + 3) == (positions[2], {"position": positions[2]})


def test_an_erased_object_stays_away_and_a_removed_one_is_not_followed(session: Session) -> None:
    dab(session, 1, 26, 26)
    session.add_object()
    session.box(0, BLUE_BOX, 2)
    run(session)
    session.show(4)  # before the green square appears, which the network may take for the blue one
    session.stroke(4, Stroke(0, [(34, 70)], 60))
    run(session)
    for number in range(4, FRAMES):
        assert np.unique(mask(session, number)).tolist() == [0, 1]
    assert np.unique(mask(session, 3)).tolist() == [0, 1, 2]
    session.remove_object(1)
    session.show(1)
    run(session)
    assert np.unique(mask(session, 2)).tolist() == [0, 2]


def test_the_memory_of_a_run_is_freed_when_it_ends(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a reference cycle, a GPU would hold it, and its recordings, beside those of the next run."""
    alive, init = weakref.WeakSet[Tracker](), Tracker.__init__

    def note(self: Tracker, *args: Any) -> None:
        alive.add(self)
        init(self, *args)

    monkeypatch.setattr(Tracker, "__init__", note)
    dab(session, 1, 26, 26)
    gc.disable()
    try:
        run(session)
        assert not alive
    finally:
        gc.enable()


def test_other_settings_begin_a_new_memory(session: Session) -> None:
    dab(session, 1, 26, 26)
    run(session)
    session.show(4)
    session.change_settings(policy="fifo")
    run(session)
    chain = session.opened.project.chain(1)
    assert chain is not None
    assert (chain.first, chain.settings.policy) == (4, "fifo")
    for values in ({"policy": "best"}, {"capacity": 1}, {"model": "../x"}, {"dtype": "int3"}):
        with pytest.raises(ConfigError):
            session.change_settings(**values)
    assert session.opened.project.settings.policy == "fifo"


def test_another_checkpoint_of_the_same_name_begins_a_new_memory(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    shutil.copy(SETTINGS.checkpoint_path(), path)
    session.change_settings(checkpoint=str(path))
    dab(session, 1, 26, 26)
    run(session)
    session.show(4)
    run(session)
    assert first_of_run(session) == 0
    assert (mask(session, FRAMES - 1) == 1).any()
    tensors = load_file(path)
    tensors["decoder.conv_out.bias"][0] += 1e3  # makes every pixel background
    save_file(tensors, path)
    run(session)
    assert first_of_run(session) == 4
    assert not mask(session, FRAMES - 1).any()
    path.unlink()
    with pytest.raises(CheckpointError, match=r"own\.safetensors"):
        session.segment(4, 1)


@pytest.mark.parametrize("stop", [lambda session: dab(session, 1, 26, 28), Session.stop])
def test_painting_and_the_button_stop_a_run(
    stop: Callable[[Session], None], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    came, asked, follow, stop_run = threading.Event(), threading.Event(), Tracker.follow, SegmentRun.stop

    def wait_at_frame_2(self: Tracker, number: int, frame: PreparedFrame) -> LazyMask:
        if number == 2:
            came.set()
            asked.wait(10)
        return follow(self, number, frame)

    def note(self: SegmentRun) -> None:
        stop_run(self)
        asked.set()

    monkeypatch.setattr(Tracker, "follow", wait_at_frame_2)
    monkeypatch.setattr(SegmentRun, "stop", note)
    dab(session, 1, 26, 26)
    session.segment(0, 1)
    assert came.wait(100)
    stop(session)
    assert (session.opened.progress.state, session.opened.progress.done) == ("stopped", 3)


def test_a_run_that_fails_says_why(session: Session, video: Path) -> None:
    dab(session, 1, 26, 26)
    (video / "006.png").write_bytes(b"no image")
    assert "006.png" in run_until_failure(session).message
    assert 0 in session.opened.project.masks


def test_a_run_ends_at_any_error_in_an_own_network(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def decode(*_: object) -> None:
        raise AttributeError("no such layer")

    monkeypatch.setattr(AOT, "decode", decode)
    dab(session, 1, 26, 26)
    assert "no such layer" in run_until_failure(session).message
    assert "in decode" in caplog.text  # the traceback


@pytest.mark.parametrize("at", [1, 5])
def test_a_run_whose_logits_are_not_finite_ends_and_keeps_the_earlier_masks(
    at: int, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    dab(session, 1, 26, 26)
    run(session)
    before = [mask(session, number) for number in range(FRAMES)]
    follow = Tracker.follow

    def overflow(self: Tracker, number: int, frame: PreparedFrame) -> LazyMask:
        inputs = [pixels.float() * np.nan for pixels in frame.inputs] if number == at else frame.inputs
        return follow(self, number, replace(frame, inputs=inputs))

    monkeypatch.setattr(Tracker, "follow", overflow)
    progress = run_until_failure(session)
    assert progress.done == at
    assert progress.message.startswith(f"frame {at}: expected finite")
    for number in range(FRAMES):
        np.testing.assert_array_equal(mask(session, number), before[number])
    monkeypatch.undo()
    session.show(at)
    run(session)  # continues with the memory before it
    assert first_of_run(session) == 0
    np.testing.assert_array_equal(mask(session, FRAMES - 1), before[-1])


# --- projects


def test_a_killed_session_loses_nothing(session: Session, video: Path, tmp_path: Path) -> None:
    dab(session, 1, 26, 26)
    session.rename_object(1, "<b>red</b>\n")
    run(session)
    session.show(8)
    dab(session, 1, 90, 80, 5)
    killed = tmp_path / "killed"
    shutil.copytree(session.projects, killed)
    again = Session(killed, Places([video.parent]), SETTINGS, "cpu")
    assert again.saved() == ["squares"]
    again.open_project("squares")
    old, new = session.opened.project, again.opened.project
    assert (new.frame, new.objects, new.given_frames()) == (8, old.objects, [0, 8])
    assert new.objects[0].name == "<b>red</b>"
    assert new.masks.areas() == old.masks.areas()
    np.testing.assert_array_equal(mask(again, 8), mask(session, 8))
    run(again)
    chain = new.chain(1)
    assert chain is not None
    assert chain.first == 0  # the memory was restored
    again.close()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"version": 7}, "version"),
        ({"size": [48]}, r"project\.json: "),
        ({"settings": {"capacity": "9"}}, "capacity"),
        ({"source": "/nowhere"}, "/nowhere: "),
        ({"size": [10, 10]}, "size"),
        ({"frames": {"count": 10}}, r"project\.json: "),
        ({"objects": [{"id": 300, "name": "", "hidden": False}]}, "300"),
    ],
)
def test_a_damaged_project_is_named(session: Session, change: dict[str, object], named: str) -> None:
    session.close()
    path = session.projects / "squares" / "project.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=named):
        session.open_project("squares")
    assert not session.is_open


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda video: (video / "004.png").unlink(), " 10 frames.* 9 "),
        (lambda video: shutil.copy(video / "004.png", video / "0_4.png"), " 10 frames.* 11 "),
        (lambda video: (video / "004.png").rename(video / "010.png"), "names"),
    ],
)
def test_a_folder_of_other_frames_is_another_video(
    session: Session, video: Path, change: Callable[[Path], object], facts: str
) -> None:
    session.close()
    session.open_project("squares")  # nothing has changed
    session.close()
    change(video)
    with pytest.raises(DataError, match=f"{video}: .*{facts}"):
        session.open_project("squares")


def test_a_folder_of_other_images_of_the_same_names_is_another_video(session: Session, video: Path) -> None:
    session.close()
    images = [path.read_bytes() for path in sorted(video.iterdir())]
    (video / "004.png").write_bytes(images[5])  # one image was damaged, and replaced
    session.open_project("squares")
    session.close()
    for path, image in zip(sorted(video.iterdir()), reversed(images), strict=True):
        path.write_bytes(image)
    with pytest.raises(DataError, match=f"{video}: .*content"):
        session.open_project("squares")


def test_another_video_of_the_same_name_and_length_is_another_video(session: Session, video: Path) -> None:
    path = write_video(video.parent / "clip.mp4", "libx264", 4)
    session.open_video(path)
    session.close()
    session.open_project("clip")
    session.close()
    write_video(path, "libx264", 4, options={"crf": "40"})
    with pytest.raises(DataError, match=f"{path}: .*content"):
        session.open_project("clip")


def test_an_older_project_is_opened_at_an_existing_frame(
    session: Session, video: Path, tmp_path: Path
) -> None:
    dab(session, 1, 26, 26)
    run(session)
    session.show(FRAMES - 1)
    session.close()
    path = session.projects / "squares" / "project.json"
    content = json.loads(path.read_text())
    del content["frames"], content["chains"]["forward"]["weights"]
    path.write_text(json.dumps(content))
    (video / "009.png").unlink()
    for _ in range(2):  # the second time, as saved by the present version
        session.open_project("squares")
        state = Answers(session, tmp_path).answer("look", {})["state"]
        assert (state["frame"], state["name"]) == (FRAMES - 2, "008")
        session.close()
    session.open_project("squares")
    session.show(4)
    run(session)
    assert first_of_run(session) == 4  # the weights of the earlier run are unknown


def test_names_of_projects_are_harmless(session: Session, tmp_path: Path) -> None:
    for name in ("../../outside", "<script>alert(1)</script>", "..", "a" * 300):
        copy = make_video(tmp_path / "uploads" / str(len(list(tmp_path.glob("uploads/*")))), 1) / "000.png"
        with pytest.raises(DataError):
            session.open_upload(copy, name)
    assert session.saved() == ["squares"]
    session.close()
    for name in ("../squares", "/etc", "", "."):
        with pytest.raises(DataError, match=f"project {name!r}"):
            session.open_project(name)


def test_projects_keep_the_letters_of_any_language(session: Session, video: Path) -> None:
    for name in ("größe 1.mp4", "小鼠.mp4", "小鼠.mov"):
        write_video(video.parent / name, "libx264", 1)
        session.open_video(video.parent / name)
    dab(session, 1, 26, 26)
    assert session.export("vost").name == "小鼠-2-vost.zip"
    session.close()
    assert set(session.saved()) == {"größe_1", "小鼠", "小鼠-2", "squares"}
    session.open_project("小鼠")


def test_only_named_folders_are_opened(session: Session, video: Path, tmp_path: Path) -> None:
    outside = make_video(tmp_path / "outside", 2)
    (video.parent / "link").symlink_to(outside)
    for path in (outside, video.parent / "link", video.parent / ".." / "outside", "/etc/passwd", "a\0b"):
        with pytest.raises(DataError, match=str(video.parent)):  # names what may be opened
            session.open_video(path)
    assert session.opened.project.title == "squares"
    assert [name for name, _ in session.places.videos()] == ["videos/squares"]
    assert [name for name, _ in Places([video]).videos()] == ["squares"]
    with pytest.raises(DataError, match=str(tmp_path / "missing")):
        Places([tmp_path / "missing"])


def test_names_that_are_not_utf8_are_left_out(
    session: Session, video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strange = video.parent / os.fsdecode(b"caf\xe9")
    try:
        strange.mkdir()
    except OSError:
        pytest.skip("this file system accepts only UTF-8 names")
    Image.fromarray(frame(0)).save(strange / "000.png")
    (strange / "a.mp4").touch()
    (video.parent / "link.mp4").symlink_to(strange / "a.mp4")
    with caplog.at_level("WARNING"):
        videos = session.places.videos()
    assert json.dumps(videos, ensure_ascii=False).encode()
    assert [name for name, _ in videos] == ["videos/link.mp4", "videos/squares"]
    (message,) = caplog.messages
    assert " 2, " in message
    assert "caf\\udce9" in message
    with pytest.raises(DataError, match="UTF-8"):
        session.open_video(video.parent / "link.mp4")
    shutil.move(strange / "000.png", video / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(DataError, match=r"UTF-8: .*'caf"):
        session.open_video(video)
    assert session.saved() == ["squares"]


def test_the_tool_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["--folder", str(tmp_path / "missing")]) == 1
    assert str(tmp_path / "missing") in capsys.readouterr().err
    assert app.main(["--policy", "best"]) == 1
    assert re.search("policy: .*emfs.*'best'", capsys.readouterr().err)
    nowhere = ["--host", "192.0.2.1", "--projects", str(tmp_path)]  # an address reserved for documentation
    for flags in (
        ["--policy", "no_such_module:Policy"],
        ["--checkpoint", "no_such_file"],
        ["--device", "no_such_device"],
        nowhere,
    ):
        assert app.main(flags) == 1
        assert flags[1].partition(":")[0] in capsys.readouterr().err
    with pytest.raises(SystemExit):
        app.main(["--port", "80000"])
    assert "--port" in capsys.readouterr().err
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None)
    assert app.main([]) == 1
    assert 'pip install ".[app]"' in capsys.readouterr().err


# --- results


def test_a_model_is_described_with_its_checkpoint() -> None:
    assert "AOT_EMFS.pth" in about_model("r50_aotl")
    assert "no checkpoint" in about_model("deaots")


def test_areas_over_time(session: Session) -> None:
    dab(session, 1, 26, 26)
    run(session)
    areas = areas_view(session.opened)
    assert areas["every"] == 1
    (shares,) = (item["shares"] for item in areas["objects"])
    assert shares[0] == round(100 * (mask(session, 0) == 1).sum() / (HEIGHT * WIDTH), 3)
    assert None not in shares


@pytest.mark.parametrize(
    ("layout", "folder", "name"), [("vost", "Annotations", "003"), ("davis", "Annotations/480p", "00003")]
)
def test_export(session: Session, layout: str, folder: str, name: str) -> None:
    with pytest.raises(DataError, match="masks"):
        session.export(layout)
    session.show(3)
    dab(session, 1, 38, 26)
    session.opened.project.set_settings(replace(SETTINGS, capacity=2))
    told: list[tuple[int, int]] = []
    path = session.export(layout, lambda done, total: told.append((done, total)))
    assert told[-1] == (1, 1)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    assert f"masks/{folder}/squares/{name}.png" in names
    assert [Path(name).suffix for name in names if name.startswith("overlay")] == [".mp4"]
    written = path.parent / f"masks-{layout}" / folder / "squares" / f"{name}.png"
    assert Image.open(written).mode == "P"
    np.testing.assert_array_equal(read_mask(written), mask(session, 3))
    with pytest.raises(ConfigError, match="layout"):
        session.export("../x")


def test_an_export_that_fails_leaves_the_one_before(session: Session, video: Path) -> None:
    dab(session, 1, 26, 26)
    session.show(8)
    dab(session, 1, 26, 26)
    folder = session.export("vost").parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (video / "006.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"006\.png"):
        session.export("vost")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_one_export_at_a_time(session: Session) -> None:
    dab(session, 1, 26, 26)
    refused: list[str] = []

    def export_in_another_tab(done: int, total: int) -> None:
        with pytest.raises(DataError) as error:
            session.export("vost")
        refused.append(str(error.value))

    session.export("vost", export_in_another_tab)
    assert len(refused) == 1
    session.export("vost")
