"""MiniVOST in every layout: all readers give the same video, and the network the same masks."""

import re
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aot_plus.dataloaders.mini_vost import RenderedSequence, plan_scene, render_frame, write_sequence
from aot_plus.dataloaders.video_sequence import VideoSequence, new_objects
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.managers.evaluator import Evaluator
from aot_plus.networks.models.loading import load_from_config
from aot_plus.pipeline.run import Job
from aot_plus.tools import eval as eval_tool
from aot_plus.utils.catalogue import find_checkpoint
from aot_plus.utils.config import get_config
from evaluation.masks import read_mask
from tests.layouts import sequences_of, write_layout

Mask = NDArray[np.uint8]
Expected = tuple[dict[str, dict[str, Mask]], dict[str, Mask]]  # given masks and result masks

FRAMES, LATE_FRAME = 9, 4
SIZE = (128, 96)  # width, height
SCENES = (1, 2)
ALIKE = ("davis2017", "visor", "youtubevos2019", "mose_v1", "lvos_v2", "long_video", "sav")
# Values that differ between datasets, here the same for all of them.
VALUES = {
    "TEST_LATER_MASKS": True,
    "TEST_SAVE_ALL_FRAMES": True,
    "TEST_MEM_GAP_BY_LENGTH": False,
    "TEST_TRACK_IGNORED": False,
    "TEST_LONG_TERM_MEM_GAP": 2,
}


def render(index: int, *, late: bool) -> RenderedSequence:
    """Returns the start of a MiniVOST video, scaled down; if ``late``, its last object appears later."""
    scene = plan_scene(0, "val", index)
    drawn = [render_frame(scene, frame) for frame in range(FRAMES)]
    images = np.stack([cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA) for image, _ in drawn])
    masks = np.stack([cv2.resize(ids, SIZE, interpolation=cv2.INTER_NEAREST) for _, ids in drawn])
    if late:
        masks[:LATE_FRAME][masks[:LATE_FRAME] == scene.num_objects] = 0
    return RenderedSequence(scene.name, images, masks, scene.num_objects)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source") / "VOST"
    videos = [render(index, late=index == SCENES[1]) for index in SCENES]
    for video in videos:
        write_sequence(root, video)
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "val.txt").write_text("".join(f"{video.name}\n" for video in videos))
    return root


def job_of(name: str, data_folder: Path) -> Job:
    split = {"TEST_DATASET_SPLIT": "valid_all_frames"} if name.startswith("youtubevos") else {}
    overrides = {"TEST_DATASET": name, "DIR_DATA": str(data_folder), **VALUES, **split}
    return Job(get_config("mini_vost", "aot_mini", overrides=overrides), None, data_folder / "results")


def given(sequence: VideoSequence) -> dict[str, Mask]:
    """Returns the masks given to the network, by frame."""
    known: set[int] = set()
    masks = {path.stem: sequence.read_mask(path.stem) for path in sequence.images}
    new = {
        frame: new_objects(mask, sequence.shown(mask), known)
        for frame, mask in masks.items()
        if mask is not None
    }
    return {frame: mask for frame, mask in new.items() if mask is not None}


@cache
def segmenter() -> VideoSegmenter:
    """Loads the small trained network."""
    cfg = get_config("mini_vost", "aot_mini")
    return VideoSegmenter(load_from_config(cfg, find_checkpoint("aot_mini.safetensors"), device="cpu"))


def results(job: Job, names: list[str]) -> dict[str, Mask]:
    """Segments the sequences; returns the masks of all frames, by sequence and frame."""
    dataset = job.open_dataset()
    evaluator = Evaluator(job.cfg, segmenter(), dataset, names, job.folder)
    assert evaluator.run().failed == {}
    found = {}
    for name in names:
        folders = dataset.object_folders(name)
        for path in dataset.sequence(name).images:
            frame = path.stem
            if folders:
                layers = [read_mask(job.folder / name / one / f"{frame}.png") for one in folders]
                mask = sum(
                    (number * layer for number, layer in enumerate(layers, start=1)), start=np.uint8(0)
                )
            else:
                mask = read_mask(job.folder / name / f"{frame}.png")
            found[f"{name}/{frame}"] = np.asarray(mask)
    return found


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """The given masks and the results in MiniVOST's own layout."""
    data_folder = tmp_path_factory.mktemp("vost")
    write_layout("mini_vost", source, data_folder)
    job = job_of("mini_vost", data_folder)
    names = job.open_dataset().sequences()
    return {name: given(job.open_dataset().sequence(name)) for name in names}, results(job, names)


def test_the_videos_are_worth_comparing(source: Path, expected: Expected) -> None:
    masks, followed = expected
    first, second = sequences_of(source)
    assert [list(masks[name]) for name in (first, second)] == [
        ["frame00000"],
        ["frame00000", f"frame{LATE_FRAME:05d}"],
    ]
    assert masks[first]["frame00000"].max() >= 2
    assert len(followed) == 2 * FRAMES
    assert (followed[f"{first}/frame00008"] != masks[first]["frame00000"]).any()
    assert followed[f"{second}/frame{LATE_FRAME:05d}"].max() > masks[second]["frame00000"].max()


@pytest.mark.parametrize("name", ALIKE)
def test_every_reader_gives_the_same_video_and_masks(
    name: str,
    source: Path,
    tmp_path: Path,
    expected: Expected,
) -> None:
    write_layout(name, source, tmp_path)
    job = job_of(name, tmp_path)
    dataset = job.open_dataset()
    names = sequences_of(source)
    assert dataset.sequences() == sorted(names)
    if name == "sav":  # where all objects are there from the first frame on
        names = names[:1]
    for video in names:
        sequence = dataset.sequence(video)
        images = sorted((source / "JPEGImages_10fps" / video).iterdir())
        assert [path.name for path in sequence.images] == [path.name for path in images]
        pairs = zip(sequence.images, images, strict=True)
        assert all(one.read_bytes() == other.read_bytes() for one, other in pairs)
        found = given(sequence)
        assert list(found) == list(expected[0][video])
        for frame, mask in found.items():
            np.testing.assert_array_equal(mask, expected[0][video][frame])
    for frame, mask in results(job, names).items():
        np.testing.assert_array_equal(mask, expected[1][frame], err_msg=frame)


def test_davis_2016_is_the_same_video_with_one_object(
    source: Path, tmp_path: Path, expected: Expected
) -> None:
    write_layout("davis2016", source, tmp_path)
    dataset = job_of("davis2016", tmp_path).open_dataset()
    for video in sequences_of(source):
        found = given(dataset.sequence(video))
        np.testing.assert_array_equal(found["frame00000"], expected[0][video]["frame00000"].clip(max=1))


def test_one_command_makes_masks_and_j_and_f_of_a_copy_in_davis_form(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_layout("davis2017", source, tmp_path)
    root = root.rename(tmp_path / "mine")
    flags = ["--dataset", str(root), "--model", "aot_mini", "--stage", "mini_vost", "--device", "cpu"]
    assert eval_tool.main([*flags, "--result_dir", str(tmp_path / "results"), "--zip"]) == 0
    shown = capsys.readouterr().out
    header, figures = re.findall(r"^ *J&F-Mean .*\n.*$", shown, flags=re.MULTILINE)[-1].splitlines()
    row = dict(zip(header.split(), map(float, figures.split()), strict=True))
    assert row["J&F-Mean"] == pytest.approx((row["J-Mean"] + row["F-Mean"]) / 2, abs=0.001)
    assert row["J-Mean"] > 0.2
