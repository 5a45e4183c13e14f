"""The training sets of DAVIS and YouTube-VOS: frames, gaps and weights, and errors for what is missing."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aot_plus.configs import Config
from aot_plus.dataloaders.train_datasets import (
    ClipStream,
    TrainDataset,
    _clip_rules,
    build_train_dataset,
    build_train_loader,
)
from aot_plus.dataloaders.video_clips import ClipRules, ClipSource, JoinedClips, VideoClips
from aot_plus.dataloaders.video_transforms import ClipTransform
from aot_plus.networks.managers.initial_weights import pretrained_file
from aot_plus.pipeline.train import check_files
from aot_plus.utils.config import get_config, save_config
from aot_plus.utils.errors import CheckpointError, DataError
from aot_plus.utils.masks import write_mask
from aot_plus.utils.paths import run_folder
from tests.train_videos import FakeVideo, drawn, frame_numbers, picture, rectangles, steady_video

TURNING = ClipRules(length=5, max_gap=12, turns_back=True, max_ignored=1.0, reference_tries=20)
SMALL = {"DATA_RANDOMCROP": (65, 65), "DATA_SHORT_EDGE_LEN": 80, "DATA_WORKERS": 0, "TRAIN_BATCH_SIZE": 4}


def write_video(images: Path, masks: Path, frames: list[str], shade: int) -> None:
    """Writes a video of two squares; the images' blue channel identifies the video."""
    images.mkdir(parents=True)
    for frame in frames:
        mask = rectangles((1, 10, 10, 50, 60), (2, 40, 70, 90, 120))
        Image.fromarray(picture(mask, shade)).save(images / f"{frame}.jpg")
        write_mask(masks / f"{frame}.png", mask)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of DAVIS and three of YouTube-VOS, in folders as unpacked."""
    data = tmp_path_factory.mktemp("data")
    davis = data / "DAVIS"
    for name in ("bear", "bus"):
        write_video(
            davis / "JPEGImages" / "480p" / name,
            davis / "Annotations" / "480p" / name,
            [f"{number:05d}" for number in range(4)],
            100,
        )
    (davis / "ImageSets" / "2017").mkdir(parents=True)
    (davis / "ImageSets" / "2017" / "train.txt").write_text("bear\nbus\n")
    train = data / "YTB" / "2019" / "train"
    frames = [f"{number:05d}" for number in range(0, 30, 5)]
    videos: dict[str, Any] = {}
    for name in ("aa", "bb", "cc"):
        write_video(train / "JPEGImages" / name, train / "Annotations" / name, frames, 200)
        once = {"category": "ape", "frames": frames[-1:]}
        videos[name] = {"objects": {"1": {"category": "ape", "frames": frames[1:4]}, "2": once}}
    videos["dd"] = {"objects": {"1": {"category": "ape", "frames": ["00000"]}}}
    (train / "meta.json").write_text(json.dumps({"videos": videos}))
    return data


def config(data: Path, stage: str = "pre_ytb_dav", model: str = "aott", **values: Any) -> Config:
    return get_config(stage, model, overrides=SMALL | {"DIR_DATA": str(data)} | values)


def test_an_epoch_has_davis_five_times_and_youtube_vos_once(data: Path) -> None:
    cfg = config(data, DATA_DYNAMIC_MERGE_PROB=0.0)
    dataset = build_train_dataset(cfg)
    assert Counter(dataset.entries) == {0: 1, 1: 1, 2: 1, 3: 5, 4: 5}
    stream = ClipStream(dataset, cfg.TRAIN_SEED, cfg.TRAIN_BATCH_SIZE)
    epochs = [[stream[item].names[0] for item in range(start, start + 13)] for start in (0, 13)]
    assert [Counter(names) for names in epochs] == [{"aa": 1, "bb": 1, "cc": 1, "bear": 5, "bus": 5}] * 2
    assert epochs[0] != epochs[1]


def test_the_order_of_an_epoch_comes_from_the_seed(data: Path) -> None:
    orders = []
    for seed in (0, 0, 1):
        cfg = config(data, DATA_DYNAMIC_MERGE_PROB=0.0, DATA_SEQ_LEN=2, TRAIN_TOTAL_STEPS=3, TRAIN_SEED=seed)
        orders.append([name for batch in build_train_loader(cfg) for name in batch.names])
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_merged_clips_are_of_the_same_data_set(data: Path) -> None:
    dataset = build_train_dataset(config(data, DATA_DYNAMIC_MERGE_PROB=1.0))
    pairs = {dataset.sample(np.random.default_rng(seed)).names for seed in range(25)}
    assert all(len(set(pair)) == 2 for pair in pairs)
    assert {frozenset(pair) <= {"bear", "bus"} for pair in pairs} == {True, False}
    assert all(frozenset(pair) <= {"bear", "bus"} or frozenset(pair) <= {"aa", "bb", "cc"} for pair in pairs)


def test_youtube_vos_gives_the_frames_of_objects_that_have_two(data: Path) -> None:
    source = build_train_dataset(config(data))._source
    assert isinstance(source, JoinedClips)
    videos = source._parts[0]
    assert isinstance(videos, VideoClips)
    assert [video.name for video in videos.videos] == ["aa", "bb", "cc"]
    assert len(videos.videos[0].annotated) == 3
    assert videos.videos[0].read_mask(0).max() == 2
    assert (videos.rules.max_gap, source._parts[1].rules.max_gap) == (3, 12)  # type: ignore[attr-defined]


def test_a_clip_turns_back_at_the_ends_of_a_video() -> None:
    video = FakeVideo([rectangles((1, 20, 20, 60, 60))] * 8, every=1)
    turned = 0
    for seed in range(40):
        numbers = frame_numbers(drawn(video, TURNING, seed))
        assert len(numbers) == 5
        assert all(0 <= number < 8 for number in numbers)
        steps = np.diff(numbers)
        turned += not (np.all(steps >= 0) or np.all(steps <= 0))
    assert turned > 30
    long_video = steady_video(every=1)
    gaps = {
        abs(int(gap))
        for seed in range(60)
        for gap in np.diff(frame_numbers(drawn(long_video, ClipRules(2, 12, turns_back=True), seed)))
    }
    assert gaps == set(range(13))  # 0: the clip turned exactly between the two
    rules, annotated = ClipRules(3, 12, turns_back=True), [True] * 40  # the end is too far away to turn
    ahead = [rules.following(0, annotated, np.random.default_rng(seed)) for seed in range(200)]
    assert {int(gap) for positions in ahead for gap in np.diff(positions or [])} == set(range(1, 13))
    steady = ClipRules(9, 1, turns_back=True)
    assert steady.following(0, [True] * 3, np.random.default_rng(0)) == [0, 1, 2, 1, 0, 1, 2, 1, 0]
    assert TURNING.starts([True, True]) == [0, 1]
    assert VideoClips([FakeVideo(video.masks[:1])], TURNING).draw(0, np.random.default_rng(0)) is None


def test_a_clip_without_large_objects_gets_objects_of_another() -> None:
    small, large = rectangles((1, 0, 0, 5, 45)), rectangles((1, 20, 20, 60, 60))  # 225 and 1600 pixels
    videos = [FakeVideo([mask] * 8, name, 1) for mask, name in ((small, "small"), (large, "large"))]
    source: ClipSource = VideoClips(videos, TURNING)
    transform = ClipTransform((97, 129), 96, 1.0, 1.0, balanced=False, crop_tries=5)
    dataset = TrainDataset(source, transform, max_objects=10, min_pixels=300, merge_probability=0.0)
    for seed in range(6):
        clip = dataset.sample(np.random.default_rng(seed), first=0)
        assert clip.names == ("small", "large")
        assert clip.num_objects == 1
    assert dataset.sample(np.random.default_rng(0), first=1).names == ("large",)
    alone = TrainDataset(VideoClips(videos[:1], TURNING), transform, max_objects=10, min_pixels=300)
    with pytest.raises(DataError, match=r"\b1\b.*DATA_MIN_OBJ_PIXELS"):
        alone.sample(np.random.default_rng(0))


def test_a_crop_that_is_not_balanced_needs_one_object_in_view() -> None:
    mask = rectangles((1, 0, 0, 20, 20), (2, 70, 100, 96, 128))
    transform = ClipTransform((33, 33), 96, 1.0, 1.0, balanced=False, crop_tries=200)
    for seed in range(20):
        corner = transform.draw(mask, np.random.default_rng(seed)).corner
        view = mask[corner[0] : corner[0] + 33, corner[1] : corner[1] + 33]
        assert np.bincount(view.ravel(), minlength=3)[1:].max() > 0  # regardless of a flip


@pytest.mark.parametrize(
    ("stage", "named"),
    [
        ("pre_ytb_dav", ("YTB/2019: ", "davischallenge.org")),
        ("pre_dav", ("DAVIS: ", "davischallenge.org")),
        ("ytb", ("YTB/2019: ", "mobilenet_v2-b0353104.pth: ")),
        ("pre", ("Static: ", "mobilenet_v2-b0353104.pth: ")),
    ],
)
def test_a_stage_names_the_data_sets_and_weights_that_it_lacks(
    tmp_path: Path, stage: str, named: tuple[str, ...]
) -> None:
    folders = {"DIR_RESULT": str(tmp_path / "results"), "DIR_PRETRAIN": str(tmp_path / "files")}
    cfg = config(tmp_path, stage, **folders)
    with pytest.raises(DataError) as missing:
        check_files(cfg, overwrite=False, evaluated=False)
    assert [part for part in named if str(missing.value).count(part) != 1] == []
    if cfg.PRETRAIN_STAGE:
        assert "--stage pre --model aott --exp_name default" in str(missing.value)


def test_broken_lists_and_missing_folders_are_named(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "YTB" / "2019" / "train"
    folder.mkdir(parents=True)
    with pytest.raises(DataError) as missing:
        build_train_dataset(config(tmp_path))
    assert [name for name in ("JPEGImages", "meta.json") if name not in str(missing.value)] == []
    for name in ("JPEGImages", "Annotations"):
        (folder / name).mkdir()
    for content, named in (("[", "expected .*JSON"), ('{"videos": {"a": []}}', "a: expected")):
        (folder / "meta.json").write_text(content)
        with pytest.raises(DataError, match=rf"meta\.json: {named}"):
            build_train_dataset(config(tmp_path))


def test_a_stage_starts_from_the_last_averaged_weights_of_another(tmp_path: Path) -> None:
    cfg = config(tmp_path, DIR_RESULT=str(tmp_path / "results"))
    with pytest.raises(CheckpointError, match=r"default_aott/pre: .*\(PRETRAIN_STAGE\)"):
        pretrained_file(cfg)
    folder = run_folder(cfg, "pre")
    for name in ("ckpt", "ema_ckpt"):
        (folder / name).mkdir(parents=True)
        for step in (500, 10000, 9500):
            (folder / name / f"save_step_{step}.pth").touch()
    assert pretrained_file(cfg) == folder / "ema_ckpt" / "save_step_10000.pth"


def test_a_stage_that_is_not_finished_is_no_start(tmp_path: Path) -> None:
    cfg = config(tmp_path, DIR_RESULT=str(tmp_path / "results"))
    folder = run_folder(cfg, "pre")
    for name in ("ckpt", "ema_ckpt"):
        (folder / name).mkdir(parents=True)
        (folder / name / "save_step_500.pth").touch()
    for planned, complete in ((100000, False), (501, False), (500, True), (400, True)):
        save_config(config(tmp_path, "pre", TRAIN_TOTAL_STEPS=planned), folder / "config.yaml")
        if complete:
            assert pretrained_file(cfg) == folder / "ema_ckpt" / "save_step_500.pth"
        else:
            with pytest.raises(CheckpointError, match=rf"save_step_500\.pth: .*{planned}.*500"):
                pretrained_file(cfg)
    for unknown in ("a: [", "config: {}"):
        (folder / "config.yaml").write_text(unknown)
        assert pretrained_file(cfg) == folder / "ema_ckpt" / "save_step_500.pth"


def test_the_stages_of_the_aot_recipe() -> None:
    pre, videos = get_config("pre", "r50_deaotl"), get_config("pre_ytb_dav", "r50_deaotl")
    common = {"TRAIN_TOTAL_STEPS": 100000, "TRAIN_BATCH_SIZE": 16, "DATA_SEQ_LEN": 5, "TRAIN_AUG_TYPE": "v2"}
    for name, value in common.items():
        assert (getattr(pre, name), getattr(videos, name)) == (value, value)
    names = ("TRAIN_LR", "TRAIN_LR_MIN", "TRAIN_WEIGHT_DECAY", "DATA_DYNAMIC_MERGE_PROB")
    assert [getattr(pre, name) for name in names] == [4e-4, 2e-5, 0.03, 1.0]
    assert [getattr(videos, name) for name in names] == [2e-4, 1e-5, 0.07, 0.3]
    assert (pre.TRAIN_SEQ_TRAINING_START_RATIO, videos.TRAIN_SEQ_TRAINING_START_RATIO) == (1.0, 0.5)
    assert (pre.TRAIN_AUX_LOSS_RATIO, videos.TRAIN_AUX_LOSS_RATIO) == (0.1, 1.0)
    assert get_config("pre", "r50_aotl").TRAIN_AUG_TYPE == "v1"
    assert get_config("pre_vost_2", "r50_deaotl").TRAIN_AUG_TYPE == "v1"  # does not change colours
    assert get_config("pre_dav", "aott").TRAIN_TOTAL_STEPS == 50000
    starts = {stage: get_config(stage, "aott") for stage in ("pre", "pre_ytb", "pre_dav", "ytb")}
    assert [cfg.PRETRAIN_STAGE for cfg in starts.values()] == ["", "pre", "pre", ""]
    assert (starts["pre"].PRETRAIN_MODEL, starts["ytb"].PRETRAIN_MODEL) == ("", "")


def test_the_values_of_the_config_reach_the_clips(data: Path) -> None:
    """Each differs from its default, and from the others."""
    cfg = config(
        data,
        DATA_SEQ_LEN=4,
        DATA_RANDOMCROP=(49, 65),
        DATA_SHORT_EDGE_LEN=70,
        DATA_MIN_SCALE_FACTOR=0.9,
        DATA_MAX_SCALE_FACTOR=1.1,
        DATA_RANDOMFLIP=0.4,
        DATA_MAX_CROP_STEPS=6,
        DATA_BALANCED_CROP=False,
        DATA_MIN_OBJ_PIXELS=31,
        DATA_RANDOM_GAP_DAVIS=11,
        DATA_RANDOM_GAP_YTB=7,
        DATA_RANDOM_GAP_VOST=5,
        DATA_TURN_BACK=True,
        DATA_RANDOM_REVERSE_SEQ=False,
        DATA_DYNAMIC_MERGE_PROB=0.35,
        DATA_MERGE_MIN_OBJ_PIXELS=61,
        DATA_REF_MIN_OBJ_PIXELS=150,
        DATA_REF_MAX_IGNORED_RATIO=0.45,
        DATA_REF_TRIES=30,
        DATA_CONSISTENT_TRIES=3,
        MODEL_MAX_OBJ_NUM=8,
    )
    gaps = {"youtubevos2019": 7, "davis2017": 11, "vost": 5, "a_folder": 5}
    for name, max_gap in gaps.items():
        assert _clip_rules(name, cfg) == ClipRules(
            length=4,
            max_gap=max_gap,
            turns_back=True,
            reverse_probability=0.0,
            min_object_pixels=150,
            max_ignored=0.45,
            reference_tries=30,
            consistent_tries=3,
        )
    assert _clip_rules("vost", config(data)).reverse_probability == 0.5
    dataset = build_train_dataset(cfg)
    assert (dataset._max_objects, dataset._min_pixels) == (8, 31)
    assert (dataset._merge_probability, dataset._merge_min_pixels) == (0.35, 61)
    assert dataset._transform == ClipTransform(
        crop=(49, 65),
        short_side=70,
        min_scale=0.9,
        max_scale=1.1,
        flip_probability=0.4,
        crop_tries=6,
        balanced=False,
    )
