"""Training batches: determinism, errors that name broken files, MiniVOST clips, the picture of a batch."""

import re
import shutil
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aot_plus.configs import Config
from aot_plus.dataloaders.clips import Clip, collate
from aot_plus.dataloaders.layouts import VOSTDataset
from aot_plus.dataloaders.mini_vost import render_sequence
from aot_plus.dataloaders.mini_vost_clips import DrawnVideo
from aot_plus.dataloaders.train_datasets import (
    ClipStream,
    StepSampler,
    TrainDataset,
    build_train_dataset,
    build_train_loader,
    crop_size,
    share_of_batch,
)
from aot_plus.dataloaders.training_sets import training_videos
from aot_plus.dataloaders.video_clips import ClipRules, FolderVideo, VideoClips
from aot_plus.dataloaders.video_transforms import (
    ClipTransform,
)
from aot_plus.tools import show_batch
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError, DataError
from tests.train_videos import LENGTH, FakeVideo, rectangles, steady_video, write_dataset


@pytest.fixture(scope="module")
def dataset_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "VOST"
    write_dataset(root)
    return root


def config(root: Path, **values: Any) -> Config:
    overrides = {
        "DATASETS": (str(root),),
        "DATA_WORKERS": 0,
        "DATA_RANDOMCROP": (65, 65),
        "DATA_SHORT_EDGE_LEN": 80,
        "DATA_SEQ_LEN": 4,
        "TRAIN_BATCH_SIZE": 4,
        "TRAIN_TOTAL_STEPS": 3,
        "DATA_DYNAMIC_MERGE_PROB": 0.5,
    }
    return get_config("mini_vost", "aott", overrides=overrides | values)


def same(first: Any, second: Any) -> bool:
    return (
        torch.equal(first.images, second.images)
        and torch.equal(first.labels, second.labels)
        and torch.equal(first.num_objects, second.num_objects)
        and first.names == second.names
    )


def test_a_sample_has_the_declared_form(dataset_root: Path) -> None:
    dataset = build_train_dataset(config(dataset_root, DATA_DYNAMIC_MERGE_PROB=0.0))
    for seed in range(30):
        clip = dataset.sample(np.random.default_rng(seed))
        assert clip.images.shape == (4, 3, 65, 65)
        assert clip.images.dtype == torch.float32
        assert clip.labels.shape == (4, 65, 65)
        assert clip.labels.dtype == torch.uint8
        shown = set(clip.labels[0].unique().tolist()) - {0, 255}
        assert shown == set(range(1, clip.num_objects + 1))
        for label in clip.labels:
            values = set(label.unique().tolist())
            assert values == {255} or values <= {0, *shown}


def test_merging_takes_another_video_at_its_rate(dataset_root: Path) -> None:
    cfg = config(dataset_root, DATA_DYNAMIC_MERGE_PROB=0.2, MODEL_MAX_OBJ_NUM=3)
    dataset = build_train_dataset(cfg)
    clips = [dataset.sample(np.random.default_rng(seed)) for seed in range(150)]
    merged = [clip for clip in clips if len(clip.names) == 2]
    assert 12 < len(merged) < 50
    assert {clip.names for clip in merged} == set(permutations(("video_0", "video_1", "video_2"), 2))
    assert max(clip.num_objects for clip in merged) == 3  # two objects of each video
    for clip in merged:
        assert set(clip.labels[0].unique().tolist()) - {0, 255} == set(range(1, clip.num_objects + 1))


def test_collate_puts_the_batch_second() -> None:
    clips = [
        Clip(
            torch.full((3, 3, 8, 9), float(k)), torch.full((3, 8, 9), k, dtype=torch.uint8), k, (f"v{k}", "w")
        )
        for k in (1, 2)
    ]
    batch = collate(clips)
    assert batch.images.shape == (3, 2, 3, 8, 9)
    assert batch.labels.shape == (3, 2, 8, 9)
    assert batch.num_objects.tolist() == [1, 2]
    assert batch.names == ["v1 + w", "v2 + w"]
    assert (batch.images[:, 1] == 2).all()
    assert (batch.labels[:, 0] == 1).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_workers(dataset_root: Path, workers: int) -> None:
    alone = list(build_train_loader(config(dataset_root)))
    helped = list(build_train_loader(config(dataset_root, DATA_WORKERS=workers)))
    assert len(alone) == 3
    assert all(same(one, other) for one, other in zip(alone, helped, strict=True))
    assert not torch.equal(alone[0].images, alone[1].images)


def test_two_processes_share_the_batch_of_one(dataset_root: Path) -> None:
    cfg = config(dataset_root)
    whole = list(build_train_loader(cfg))
    parts = [list(build_train_loader(cfg, rank=rank, world_size=2)) for rank in range(2)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(batch.images, torch.cat([first.images, second.images], dim=1))
        assert torch.equal(batch.labels, torch.cat([first.labels, second.labels], dim=1))
        assert torch.equal(batch.num_objects, torch.cat([first.num_objects, second.num_objects]))
        assert batch.names == first.names + second.names
    samplers = [StepSampler(cfg, 1, rank, world_size=2) for rank in range(2)]
    assert [list(sampler) for sampler in samplers] == [[[4, 5], [8, 9]], [[6, 7], [10, 11]]]
    assert len(samplers[0]) == 2


def test_a_resumed_run_draws_what_the_undisturbed_one_would(dataset_root: Path) -> None:
    whole = list(build_train_loader(config(dataset_root)))
    resumed = list(build_train_loader(config(dataset_root), start_step=1))
    assert len(resumed) == 2
    assert all(same(one, other) for one, other in zip(whole[1:], resumed, strict=True))
    other_seed = next(iter(build_train_loader(config(dataset_root, TRAIN_SEED=1))))
    assert not torch.equal(other_seed.images, whole[0].images)


def test_a_video_is_augmented_differently_each_time() -> None:
    """This holds for every step, every position in a batch and every seed."""
    source = VideoClips([steady_video()], ClipRules(length=2))
    dataset = TrainDataset(source, ClipTransform((65, 65)), max_objects=10)
    stream = ClipStream(dataset, 0, total_batch=2)
    clips = [*(stream[item] for item in range(6)), ClipStream(dataset, 1, total_batch=2)[0]]
    assert {clip.names for clip in clips} == {("fake",)}
    assert not any(torch.equal(one.images, other.images) for one, other in combinations(clips, 2))
    # The crop and the frames are drawn again, not only the colours.
    assert not any(torch.equal(one.labels, other.labels) for one, other in combinations(clips, 2))


@pytest.mark.parametrize("merge_probability", [0.0, 1.0])
def test_few_videos_with_a_clip_among_many_without_are_found(merge_probability: float) -> None:
    good = [steady_video(name, every=1) for name in ("good", "better")]
    short = [FakeVideo(good[0].masks[:3], f"short_{number}", every=1) for number in range(60)]
    source = VideoClips([*short[:30], good[0], *short[30:]], ClipRules(length=4))
    transform = ClipTransform((65, 65))
    alone = TrainDataset(source, transform, max_objects=10, merge_probability=merge_probability)
    assert {alone.sample(np.random.default_rng(seed)).names for seed in range(12)} == {("good",)}
    source = VideoClips([good[1], *short, good[0]], ClipRules(length=4))
    both = TrainDataset(source, transform, max_objects=10, merge_probability=merge_probability)
    names = {both.sample(np.random.default_rng(seed)).names for seed in range(12)}
    assert {name for clip in names for name in clip} == {"good", "better"}
    assert {len(clip) for clip in names} == {1 + int(merge_probability)}


def test_all_videos_are_tried_before_the_error_that_none_has_a_clip() -> None:
    videos = [FakeVideo([rectangles()] * 4, f"empty_{number}", every=1) for number in range(60)]
    dataset = TrainDataset(VideoClips(videos, ClipRules(length=2)), ClipTransform((65, 65)), max_objects=10)
    with pytest.raises(DataError, match=r"\b60\b.*DATA_SEQ_LEN.*DATA_REF_MIN_OBJ_PIXELS"):
        dataset.sample(np.random.default_rng(0), first=0)
    assert all(video.read for video in videos)
    assert len(videos[0].read) <= 4 * 40  # 40 times whenever it is tried: first, at random, and in the end


@pytest.mark.parametrize(("processes", "accumulated"), [(3, 1), (2, 4)])
def test_a_batch_that_cannot_be_shared_out_is_refused(processes: int, accumulated: int) -> None:
    overrides = {"TRAIN_BATCH_SIZE": 4, "TRAIN_ACCUMULATION_STEPS": accumulated}
    cfg = get_config("mini_vost", "aott", overrides=overrides)
    with pytest.raises(ConfigError, match=rf"TRAIN_BATCH_SIZE: expected .* {processes} .*found 4"):
        share_of_batch(cfg, processes)


@pytest.mark.parametrize(
    ("align_corners", "asked", "given"),
    [
        (True, (465, 465), (465, 465)),
        (False, (465, 465), (464, 464)),
        (False, (464, 129), (464, 128)),
        (False, (16, 17), (16, 16)),
        (True, (129, 65), (129, 65)),
    ],
)
def test_crop_sizes(align_corners: bool, asked: tuple[int, int], given: tuple[int, int]) -> None:
    overrides = {"MODEL_ALIGN_CORNERS": align_corners, "DATA_RANDOMCROP": asked}
    assert crop_size(get_config("pre_vost", "aott", overrides=overrides)) == given


@pytest.mark.parametrize(
    ("align_corners", "asked"),
    [(True, (464, 464)), (True, (465, 464)), (False, (470, 464)), (False, (464, 470))],
)
def test_unfit_crop_sizes_are_refused(align_corners: bool, asked: tuple[int, int]) -> None:
    overrides = {"MODEL_ALIGN_CORNERS": align_corners, "DATA_RANDOMCROP": asked}
    cfg = get_config("pre_vost", "aott", overrides=overrides)
    with pytest.raises(ConfigError, match="DATA_RANDOMCROP"):
        crop_size(cfg)


# Broken and missing data


def cut_short(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:60])
    return path


def test_vosts_archive_has_frames_at_5_fps_to_train_on(tmp_path: Path) -> None:
    root = tmp_path / "VOST"
    write_dataset(root, sequences=1)
    at_10fps, at_5fps = root / "JPEGImages_10fps", root / "JPEGImages"
    (at_5fps / "video_0").mkdir(parents=True)
    for path in sorted((at_10fps / "video_0").iterdir())[::2]:
        path.rename(at_5fps / "video_0" / path.name)
    for others in ("a video of val", None):
        shutil.rmtree(at_10fps, ignore_errors=True)
        if others:
            (at_10fps / others).mkdir(parents=True)
        (video,) = training_videos(str(root), config(root))
        assert video.annotated == [True] * len(list((at_5fps / "video_0").iterdir()))
        assert set(np.unique(video.read_mask(1))) == {0, 2, 5}
        assert video.read_image(1).shape[:2] == video.read_mask(1).shape


def test_frames_at_10_fps_are_what_training_reads_where_they_are(tmp_path: Path) -> None:
    root = tmp_path / "VOST"
    write_dataset(root, sequences=1)
    shutil.copytree(root / "JPEGImages_10fps", root / "JPEGImages")
    (video,) = training_videos(str(root), config(root))
    assert video.annotated[:4] == [True, False, True, False]


@pytest.mark.parametrize("folder", ["JPEGImages_10fps", "Annotations"])
def test_an_unreadable_file_ends_the_training_or_costs_its_sequence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, folder: str
) -> None:
    root = tmp_path / "VOST"
    write_dataset(root, sequences=2)
    broken = cut_short(root / folder / "video_0" / "00020.png")
    strict = build_train_dataset(config(root, DATA_DYNAMIC_MERGE_PROB=0.0))
    with pytest.raises(DataError, match=str(broken)):
        _ = [strict.sample(np.random.default_rng(seed)) for seed in range(100)]
    lenient = build_train_dataset(config(root, DATA_DYNAMIC_MERGE_PROB=0.0, DATA_SKIP_UNREADABLE=True))
    # Most clips of the sequence would not contain the file; still, none is used, and it is named once.
    names = {lenient.sample(np.random.default_rng(seed)).names for seed in range(30)}
    assert names == {("video_1",)}
    assert caplog.text.count(str(broken)) == 1


def test_what_is_left_out_does_not_depend_on_the_samples_before(tmp_path: Path) -> None:
    root = tmp_path / "VOST"
    write_dataset(root, sequences=3)
    cut_short(root / "JPEGImages_10fps" / "video_1" / "00029.png")
    cfg = config(root, DATA_SKIP_UNREADABLE=True, TRAIN_TOTAL_STEPS=4)
    whole = list(build_train_loader(cfg))
    used = {name for batch in whole for names in batch.names for name in names.split(" + ")}
    assert used == {"video_0", "video_2"}
    resumed = list(build_train_loader(cfg, start_step=2))
    assert all(same(one, other) for one, other in zip(whole[2:], resumed, strict=True))
    cfg.DATA_WORKERS = 2
    assert all(same(one, other) for one, other in zip(whole, build_train_loader(cfg), strict=True))


def test_a_sequence_whose_frames_differ_in_size_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "VOST"
    write_dataset(root, sequences=2)
    Image.new("RGB", (20, 20)).save(root / "JPEGImages_10fps" / "video_1" / "00007.png")
    dataset = build_train_dataset(config(root, DATA_DYNAMIC_MERGE_PROB=0.0, DATA_SKIP_UNREADABLE=True))
    assert {dataset.sample(np.random.default_rng(seed)).names for seed in range(20)} == {("video_0",)}
    assert re.search("video_1, frame 7 .*20 x 20", caplog.text)


def test_a_sequence_is_read_as_a_whole_once(dataset_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    monkeypatch.setattr(FolderVideo, "check", lambda video: checked.append(video.name))
    for skip, expected in ((False, []), (True, ["video_0", "video_1", "video_2"])):
        dataset = build_train_dataset(config(dataset_root, DATA_SKIP_UNREADABLE=skip))
        for seed in range(20):
            dataset.sample(np.random.default_rng(seed))
        assert sorted(checked) == expected


def test_an_error_in_a_worker_names_the_file(tmp_path: Path) -> None:
    root = tmp_path / "VOST"
    write_dataset(root, sequences=1)
    for mask in (root / "Annotations" / "video_0").iterdir():
        mask.write_bytes(b"not a mask")
    batches = iter(build_train_loader(config(root, DATA_WORKERS=1, TRAIN_TOTAL_STEPS=1)))
    with pytest.raises(DataError, match=r"Annotations/video_0/\d+\.png"):
        next(batches)
    assert list(batches) == []


def test_a_dataset_without_usable_clips_says_so() -> None:
    source = VideoClips([FakeVideo([rectangles()] * LENGTH)], ClipRules(length=4))
    dataset = TrainDataset(source, ClipTransform((65, 65)), max_objects=10)
    with pytest.raises(DataError, match=r"\b1\b.*DATA_SEQ_LEN"):
        dataset.sample(np.random.default_rng(0))
    with pytest.raises(DataError, match="no video"):
        TrainDataset(VideoClips([], ClipRules(length=4)), ClipTransform((65, 65)), max_objects=10)


def test_a_sequence_without_masks_is_named(tmp_path: Path) -> None:
    write_dataset(tmp_path, sequences=1)
    for mask in (tmp_path / "Annotations" / "video_0").iterdir():
        mask.unlink()
    with pytest.raises(DataError, match="Annotations/video_0: "):
        _ = FolderVideo(VOSTDataset(tmp_path, "vost"), "video_0").annotated


def test_unfit_configs_are_refused(dataset_root: Path) -> None:
    with pytest.raises(ConfigError, match=r"DATASETS: .*'static', 'vost'"):
        build_train_dataset(config(dataset_root, DATASETS=("static", "vost")))
    with pytest.raises(DataError, match="nowhere"):
        build_train_dataset(config(dataset_root, DATASETS=("nowhere",)))


def test_mini_vost_clips_show_the_frames_of_the_train_sequences() -> None:
    sequence = render_sequence(3, "train", 1)
    video = DrawnVideo(3, 1)
    assert video.name == sequence.name
    assert video.annotated == [True] * len(sequence.images)
    for index in (0, 70, len(sequence.images) - 1):
        np.testing.assert_array_equal(video.read_image(index), sequence.images[index])
        np.testing.assert_array_equal(video.read_mask(index), sequence.masks[index])


def test_mini_vost_samples_leave_the_kept_frames_alone() -> None:
    cfg = get_config("mini_vost", "aott", overrides={"DATA_MINI_VOST_SEQUENCES": 2})
    stream = ClipStream(build_train_dataset(cfg), run_seed=0, total_batch=4)
    first, again = stream[5], stream[5]
    assert first.images.shape == (6, 3, 129, 129)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)


def test_show_batch_writes_a_grid(dataset_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "batch.png"
    values = ["DATA_WORKERS=0", "DATA_SEQ_LEN=3", "TRAIN_BATCH_SIZE=2", f"DATASETS={dataset_root}"]
    arguments = ["--stage", "mini_vost", "--model", "aott", "--out", str(out), "--set", *values]
    assert show_batch.main(arguments) == 0
    with Image.open(out) as picture_of_batch:
        assert picture_of_batch.size == (3 * (129 + 4), 2 * (129 + 4 + 18))


def test_show_batch_reports_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path / "batch.png"), "--set", f"DATASETS={tmp_path / 'nothing'}"]
    assert show_batch.main(arguments) == 1
    assert "nothing" in capsys.readouterr().err
    assert not (tmp_path / "batch.png").exists()
