"""Training data: sampling, merging, geometry, determinism, broken files, and the picture of a batch."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from aot_plus.configs import Config
from aot_plus.dataloaders import mini_vost_clips
from aot_plus.dataloaders.clips import Clip, RawClip, collate, keep_objects, merge_clips
from aot_plus.dataloaders.eval_datasets import VOSTDataset
from aot_plus.dataloaders.static_images import StaticClips, list_static_images
from aot_plus.dataloaders.train_datasets import (
    ClipStream,
    StepSampler,
    TrainDataset,
    build_train_dataset,
    build_train_loader,
    crop_size,
)
from aot_plus.dataloaders.video_clips import ClipRules, FolderVideo, VideoClips
from aot_plus.dataloaders.video_transforms import (
    PADDING_COLOUR,
    ClipTransform,
    Geometry,
    normalise_frames,
    restore_frames,
)
from aot_plus.tools import show_batch
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.masks import write_mask

HEIGHT, WIDTH, LENGTH = 96, 128, 30
ID_STEP = 40  # an image's red channel shows id * ID_STEP, its blue channel the frame number


def rectangles(*boxes: tuple[int, int, int, int, int]) -> NDArray[np.uint8]:
    """A mask with an id in each box (id, top, left, bottom, right)."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for object_id, top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = object_id
    return mask


def picture(mask: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """An image that shows its mask and its frame number."""
    return np.stack([mask * ID_STEP, np.zeros_like(mask), np.full_like(mask, number)], axis=-1)


class FakeVideo:
    """A video in memory, every second frame annotated, that counts what is read."""

    def __init__(self, masks: Sequence[NDArray[np.uint8]], name: str = "fake", every: int = 2) -> None:
        self.name = name
        self.masks = masks
        self.annotated = [index % every == 0 for index in range(len(masks))]
        self.read: list[int] = []

    def read_image(self, index: int) -> NDArray[np.uint8]:
        return picture(self.masks[index], index)

    def read_mask(self, index: int) -> NDArray[np.uint8]:
        assert self.annotated[index]
        self.read.append(index)
        return self.masks[index]


def steady_video(name: str = "fake", every: int = 2) -> FakeVideo:
    return FakeVideo([rectangles((1, 20, 20, 60, 60), (3, 50, 70, 90, 110))] * LENGTH, name, every)


def frame_numbers(clip: RawClip) -> list[int]:
    return [int(frame[0, 0, 2]) for frame in clip.frames]


def drawn(video: FakeVideo, rules: ClipRules, seed: int) -> RawClip:
    clip = VideoClips([video], rules).draw(0, np.random.default_rng(seed))
    assert clip is not None
    return clip


def write_dataset(root: Path, sequences: int = 3) -> None:
    """A small dataset in VOST's layout: squares that move, every second frame annotated, ids 2 and 5."""
    (root / "ImageSets").mkdir(parents=True)
    names = [f"video_{number}" for number in range(sequences)]
    (root / "ImageSets" / "train.txt").write_text("\n".join(names) + "\n")
    for offset, name in enumerate(names):
        images = root / "JPEGImages_10fps" / name
        images.mkdir(parents=True)
        for index in range(LENGTH):
            left = 10 + index + offset * 5
            mask = rectangles((2, 10, left, 45, left + 35), (5, 55, left, 90, left + 30))
            Image.fromarray(picture(mask, index)).save(images / f"{index:05d}.png")
            if index % 2 == 0:
                write_mask(root / "Annotations" / name / f"{index:05d}.png", mask)


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
        torch.equal(first.frames, second.frames)
        and torch.equal(first.labels, second.labels)
        and torch.equal(first.num_objects, second.num_objects)
        and first.names == second.names
    )


# Which frames


def test_gaps_are_within_the_limit_and_the_ends_are_annotated() -> None:
    gaps = set()
    for seed in range(60):
        clip = drawn(steady_video(), ClipRules(length=6, reverse_probability=0.0), seed)
        numbers = frame_numbers(clip)
        gaps |= set(np.diff(numbers).tolist())
        assert numbers[0] % 2 == 0
        assert numbers[-1] % 2 == 0
        assert clip.labels[0] is not None
        assert clip.labels[-1] is not None
    assert gaps == {1, 2, 3}


def test_frames_without_annotation_have_no_label() -> None:
    clip = drawn(steady_video(), ClipRules(length=8), seed=1)
    numbers = frame_numbers(clip)
    assert any(number % 2 for number in numbers)
    assert [label is None for label in clip.labels] == [number % 2 == 1 for number in numbers]


def test_half_of_the_clips_run_backwards() -> None:
    steps = [np.diff(frame_numbers(drawn(steady_video(), ClipRules(length=4), seed))) for seed in range(200)]
    backwards = sum(bool((step < 0).all()) for step in steps)
    assert all((step < 0).all() or (step > 0).all() for step in steps)
    assert 70 < backwards < 130
    forwards = ClipRules(length=4, reverse_probability=0.0)
    assert all(np.all(np.diff(frame_numbers(drawn(steady_video(), forwards, s))) > 0) for s in range(20))


def test_a_clip_as_long_as_the_video_fits_and_a_longer_one_does_not() -> None:
    video = FakeVideo([rectangles((1, 20, 20, 60, 60))] * 7)
    clip = drawn(video, ClipRules(length=7, reverse_probability=0.0), seed=0)
    assert frame_numbers(clip) == list(range(7))
    assert VideoClips([video], ClipRules(length=8)).draw(0, np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("mask", "accepted"),
    [
        (rectangles((1, 0, 0, 10, 20)), False),  # 200 pixels are not more than 200
        (rectangles((1, 0, 0, 10, 21)), True),
        (rectangles((1, 0, 0, 10, 40), (255, 0, 0, 10, 8)), True),  # exactly 20% ignored
        (rectangles((1, 0, 0, 10, 40), (255, 0, 0, 10, 9)), False),
    ],
)
def test_rules_of_a_reference_frame(mask: NDArray[np.uint8], accepted: bool) -> None:
    assert ClipRules(length=4).accepts_reference(mask) is accepted


def test_an_unusable_reference_is_tried_forty_times() -> None:
    video = FakeVideo([rectangles()] * LENGTH)
    assert VideoClips([video], ClipRules(length=4)).draw(0, np.random.default_rng(0)) is None
    assert len(video.read) == 40


def test_an_object_missing_from_the_reference_is_drawn_again_five_times_then_background() -> None:
    first = rectangles((1, 20, 20, 60, 60))
    second = rectangles((1, 20, 20, 60, 60), (2, 70, 70, 90, 90))
    # Every second annotated frame has the second object: of annotated neighbours, one has it.
    always = FakeVideo([first if index % 2 == 0 else second for index in range(LENGTH)], every=1)
    rules = ClipRules(length=2, max_gap=1, reverse_probability=0.0)
    consistent = 0
    for seed in range(40):
        always.read.clear()
        clip = drawn(always, rules, seed)
        tries = len(always.read) // 3  # the reference is read once to be judged, then with the others
        assert 1 <= tries <= 5
        ends_consistent = frame_numbers(clip)[0] % 2 == 1
        assert ends_consistent or tries == 5
        consistent += ends_consistent
        if not ends_consistent:
            kept, count = keep_objects(clip, 10, np.random.default_rng(0))
            assert count == 1
            assert kept.labels[1] is not None
            assert kept.labels[1].max() == 1
    assert consistent > 30


def test_a_mask_of_another_size_is_named() -> None:
    video = steady_video("odd_one")
    video.read_image = lambda index: np.zeros((HEIGHT, WIDTH + 1, 3), dtype=np.uint8)  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"odd_one, frame .*mask is 96 x 128, expected the clip's 96 x 129"):
        drawn(video, ClipRules(length=4), seed=0)


# Ids and merging


def raw_clip(*masks: NDArray[np.uint8] | None, shade: int = 0, name: str = "clip") -> RawClip:
    frames = [np.full((HEIGHT, WIDTH, 3), shade, dtype=np.uint8) for _ in masks]
    return RawClip(frames, list(masks), [name])


def test_ids_become_1_to_k_of_the_reference() -> None:
    reference = rectangles((3, 0, 0, 20, 20), (7, 30, 0, 50, 20), (255, 60, 0, 70, 20))
    later = rectangles((7, 0, 0, 20, 20), (9, 30, 0, 50, 20), (255, 60, 0, 70, 20))
    clip, count = keep_objects(raw_clip(reference, None, later), 10, np.random.default_rng(0))
    assert count == 2
    assert clip.labels[1] is None
    np.testing.assert_array_equal(
        clip.reference, rectangles((1, 0, 0, 20, 20), (2, 30, 0, 50, 20), (255, 60, 0, 70, 20))
    )
    np.testing.assert_array_equal(clip.labels[2], rectangles((2, 0, 0, 20, 20), (255, 60, 0, 70, 20)))


def test_at_most_the_given_number_of_objects_stays_at_random() -> None:
    boxes = [(number, 0, 10 * number, 20, 10 * number + 10) for number in range(1, 6)]
    kept = set()
    for seed in range(40):
        clip, count = keep_objects(raw_clip(rectangles(*boxes)), 3, np.random.default_rng(seed))
        assert count == 3
        assert set(np.unique(clip.reference)) == {0, 1, 2, 3}
        kept |= {int(box) for box in np.unique(np.argwhere(clip.reference)[:, 1] // 10)}
    assert kept == {1, 2, 3, 4, 5}


def test_merging_pastes_the_second_clips_objects_over_the_first() -> None:
    first = raw_clip(rectangles((1, 0, 0, 40, 40), (2, 50, 0, 90, 40)), None, shade=10)
    second = raw_clip(
        rectangles((1, 20, 20, 60, 30), (255, 0, 100, 5, 110)), rectangles((1, 0, 0, 40, 40)), shade=200
    )
    merged, count = merge_clips(first, second, 10, 100, np.random.default_rng(0))
    expected = rectangles((1, 0, 0, 40, 40), (2, 50, 0, 90, 40), (3, 20, 20, 60, 30), (255, 0, 100, 5, 110))
    assert count == 3
    np.testing.assert_array_equal(merged.reference, expected)
    np.testing.assert_array_equal(merged.frames[0][..., 0], np.where(expected == 3, 200, 10))
    assert merged.labels[1] is None
    assert merged.frames[1][0, 0, 0] == 200
    assert merged.names == ["clip", "clip"]


def test_the_ignored_regions_of_both_clips_are_united() -> None:
    first = raw_clip(rectangles((1, 0, 0, 40, 40), (255, 10, 10, 20, 20)))
    second = raw_clip(rectangles((1, 0, 0, 15, 40), (255, 50, 50, 60, 60)))
    merged, _ = merge_clips(first, second, 10, 100, np.random.default_rng(0))
    expected = rectangles((255, 10, 10, 20, 20), (255, 50, 50, 60, 60)) == 255
    np.testing.assert_array_equal(merged.reference == 255, expected)


def test_merging_drops_small_objects_and_keeps_at_most_the_maximum() -> None:
    first = raw_clip(rectangles((1, 0, 0, 40, 40), (2, 50, 0, 90, 40)))
    covering = raw_clip(rectangles((1, 50, 0, 89, 40), (2, 60, 60, 90, 90), (3, 0, 60, 9, 71)))
    merged, count = merge_clips(first, covering, 10, 100, np.random.default_rng(0))
    # Of the first clip's second object 40 pixels are left; the second clip's third has 99.
    assert count == 3
    assert set(np.unique(merged.reference)) == {0, 1, 2, 3}
    assert not merged.reference[89, :40].any()
    assert not merged.reference[:9, 60:].any()
    _, few = merge_clips(first, covering, 3, 100, np.random.default_rng(0))
    assert few == 3
    _, fewest = merge_clips(first, covering, 2, 1, np.random.default_rng(0))
    assert fewest == 2


def test_merging_that_would_leave_no_object_returns_the_first_clip() -> None:
    first = raw_clip(rectangles((1, 0, 0, 8, 8)), name="first")
    merged, count = merge_clips(
        first, raw_clip(rectangles((1, 20, 20, 28, 28))), 10, 100, np.random.default_rng(0)
    )
    assert count == 1
    assert merged.names == ["first"]
    np.testing.assert_array_equal(merged.reference, first.reference)


# Geometry


def test_frames_and_labels_share_their_geometry() -> None:
    mask = rectangles((1, 10, 10, 50, 60), (2, 40, 70, 90, 120))
    frames = [picture(mask, index) for index in range(4)]
    transform = ClipTransform(crop=(65, 65), short_side=90)
    for seed in range(20):
        cut, labels = transform.apply(frames, [mask, None, mask, mask], np.random.default_rng(seed))
        assert labels[1] is None
        assert all(frame.shape == (65, 65, 3) for frame in cut)
        reference = labels[0]
        assert reference is not None
        np.testing.assert_array_equal(reference, labels[2])
        np.testing.assert_array_equal(cut[0][..., 0], cut[3][..., 0])
        assert (reference > 0).any()
        # Away from the edges, where the interpolation mixes colours, the image must show its label.
        smooth = cv2.erode((_local_range(reference) == 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        inside = smooth & (cut[0][..., 1] != PADDING_COLOUR[1])
        np.testing.assert_allclose(cut[0][..., 0][inside] / ID_STEP, reference[inside], atol=0.2)
        assert not reference[cut[0][..., 1] == PADDING_COLOUR[1]].any()


def _local_range(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(label, kernel) - cv2.erode(label, kernel), dtype=np.uint8)


def test_scale_range_flip_and_padding() -> None:
    transform = ClipTransform(crop=(65, 65), short_side=64)
    mask = rectangles((1, 10, 10, 80, 60))
    drawings = [transform.draw(mask, np.random.default_rng(seed)) for seed in range(200)]
    heights = [drawing.scaled[0] for drawing in drawings]
    assert min(heights) in range(44, 48)
    assert max(heights) in range(80, 84)
    assert all(abs(d.scaled[1] / d.scaled[0] - WIDTH / HEIGHT) < 0.03 for d in drawings)
    assert 70 < sum(drawing.flip for drawing in drawings) < 130
    plain = Geometry((96, 128), (-10, 100), (130, 40), flip=False)
    image, label = plain.frame(picture(mask, 5)), plain.label(mask + 1)
    assert (image[:10] == PADDING_COLOUR).all()
    assert (image[10:106, :28, 2] == 5).all()
    assert (image[:, 28:] == PADDING_COLOUR).all()
    assert (label > 0).sum() == 96 * 28
    mirrored = Geometry((96, 128), (-10, 100), (130, 40), flip=True)
    np.testing.assert_array_equal(mirrored.frame(picture(mask, 5)), image[:, ::-1])


def test_crops_keep_objects_in_view() -> None:
    transform = ClipTransform(crop=(33, 33), short_side=96, min_scale=1.0, max_scale=1.0)
    both = rectangles((1, 40, 40, 52, 52), (2, 40, 56, 52, 68))
    hidden = 0
    for seed in range(100):
        geometry = transform.draw(both, np.random.default_rng(seed))
        shown = set(np.unique(geometry.label(both)))
        assert shown & {1, 2}
        hidden += not shown >= {1, 2}
    assert hidden < 60  # a single random crop misses one of them in about 95 of 100
    tiny = rectangles((4, 95, 127, 96, 128))
    assert all((transform.draw(tiny, np.random.default_rng(s)).label(tiny) == 4).any() for s in range(50))


def test_normalising_is_done_in_float64_and_undone() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    expected = (frames / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    normalised = normalise_frames(frames)
    np.testing.assert_array_equal(normalised, expected.astype(np.float32).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(restore_frames(normalised), frames)


# Samples and batches


def test_a_sample_has_the_declared_form(dataset_root: Path) -> None:
    dataset = build_train_dataset(config(dataset_root, DATA_DYNAMIC_MERGE_PROB=0.0))
    for seed in range(30):
        clip = dataset.sample(np.random.default_rng(seed))
        assert clip.frames.shape == (4, 3, 65, 65)
        assert clip.frames.dtype == torch.float32
        assert clip.labels.shape == (4, 65, 65)
        assert clip.labels.dtype == torch.uint8
        shown = set(clip.labels[0].unique().tolist()) - {0, 255}
        assert shown == set(range(1, clip.num_objects + 1))
        for label in clip.labels:
            values = set(label.unique().tolist())
            assert values == {255} or values <= {0, *shown}


def test_merging_takes_another_video_at_its_rate(dataset_root: Path) -> None:
    dataset = build_train_dataset(config(dataset_root, DATA_DYNAMIC_MERGE_PROB=0.2))
    clips = [dataset.sample(np.random.default_rng(seed)) for seed in range(150)]
    merged = [clip for clip in clips if len(clip.names) == 2]
    assert 12 < len(merged) < 50
    assert all(clip.names[0] != clip.names[1] for clip in merged)
    assert max(clip.num_objects for clip in merged) > 2
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
    assert batch.frames.shape == (3, 2, 3, 8, 9)
    assert batch.labels.shape == (3, 2, 1, 8, 9)
    assert batch.num_objects.tolist() == [1, 2]
    assert batch.names == ["v1 + w", "v2 + w"]
    assert (batch.frames[:, 1] == 2).all()
    assert (batch.labels[:, 0] == 1).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_workers(dataset_root: Path, workers: int) -> None:
    alone = list(build_train_loader(config(dataset_root)))
    helped = list(build_train_loader(config(dataset_root, DATA_WORKERS=workers)))
    assert len(alone) == 3
    assert all(same(one, other) for one, other in zip(alone, helped, strict=True))
    assert not torch.equal(alone[0].frames, alone[1].frames)


def test_two_processes_share_the_batch_of_one(dataset_root: Path) -> None:
    cfg = config(dataset_root)
    whole = list(build_train_loader(cfg))
    parts = [list(build_train_loader(cfg, rank=rank, world_size=2)) for rank in range(2)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(batch.frames, torch.cat([first.frames, second.frames], dim=1))
        assert torch.equal(batch.labels, torch.cat([first.labels, second.labels], dim=1))
        assert torch.equal(batch.num_objects, torch.cat([first.num_objects, second.num_objects]))
        assert batch.names == first.names + second.names


def test_a_resumed_run_draws_what_the_undisturbed_one_would(dataset_root: Path) -> None:
    whole = list(build_train_loader(config(dataset_root)))
    resumed = list(build_train_loader(config(dataset_root), start_step=1))
    assert len(resumed) == 2
    assert all(same(one, other) for one, other in zip(whole[1:], resumed, strict=True))
    other_seed = next(iter(build_train_loader(config(dataset_root, TRAIN_SEED=1))))
    assert not torch.equal(other_seed.frames, whole[0].frames)


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="TRAIN_BATCH_SIZE: expected a multiple of the 3 processes, found 4"
    ):
        StepSampler(4, 0, 1, rank=0, world_size=3)


@pytest.mark.parametrize(
    ("align_corners", "asked", "given"),
    [
        (True, (465, 465), (465, 465)),
        (False, (465, 465), (464, 464)),
        (False, (464, 129), (464, 128)),
        (True, (129, 65), (129, 65)),
    ],
)
def test_crop_sizes(align_corners: bool, asked: tuple[int, int], given: tuple[int, int]) -> None:
    overrides = {"MODEL_ALIGN_CORNERS": align_corners, "DATA_RANDOMCROP": asked}
    assert crop_size(get_config("pre_vost", "aott", overrides=overrides)) == given


@pytest.mark.parametrize(
    ("align_corners", "asked"), [(True, (464, 464)), (False, (470, 464)), (True, (1, 65))]
)
def test_unfit_crop_sizes_are_refused(align_corners: bool, asked: tuple[int, int]) -> None:
    overrides = {"MODEL_ALIGN_CORNERS": align_corners, "DATA_RANDOMCROP": asked}
    with pytest.raises(ConfigError, match="DATA_RANDOMCROP"):
        crop_size(get_config("pre_vost", "aott", overrides=overrides))


# Broken and missing data


def test_an_unreadable_file_is_named_or_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "VOST"
    write_dataset(root, sequences=2)
    broken = root / "JPEGImages_10fps" / "video_0"
    for image in broken.iterdir():
        image.write_bytes(image.read_bytes()[:60])
    strict = build_train_dataset(config(root, DATA_DYNAMIC_MERGE_PROB=0.0))
    with pytest.raises(DataError, match=rf"{broken}/\d+\.png"):
        _ = [strict.sample(np.random.default_rng(seed)) for seed in range(20)]
    lenient = build_train_dataset(config(root, DATA_DYNAMIC_MERGE_PROB=0.0, DATA_SKIP_UNREADABLE=True))
    names = {lenient.sample(np.random.default_rng(seed)).names for seed in range(20)}
    assert names == {("video_1",)}
    assert str(broken) in caplog.text


def test_an_error_in_a_worker_names_the_file(tmp_path: Path) -> None:
    root = tmp_path / "VOST"
    write_dataset(root, sequences=1)
    for mask in (root / "Annotations" / "video_0").iterdir():
        mask.write_bytes(b"not a mask")
    with pytest.raises(DataError, match=r"Annotations/video_0/\d+\.png"):
        next(iter(build_train_loader(config(root, DATA_WORKERS=1))))


def test_a_dataset_without_usable_clips_says_so() -> None:
    source = VideoClips([FakeVideo([rectangles()] * LENGTH)], ClipRules(length=4))
    dataset = TrainDataset(source, ClipTransform((65, 65)), max_objects=10)
    with pytest.raises(DataError, match=r"no training clip could be drawn from 20 items \(of 1\)"):
        dataset.sample(np.random.default_rng(0))
    with pytest.raises(DataError, match="no video and no image"):
        TrainDataset(VideoClips([], ClipRules(length=4)), ClipTransform((65, 65)), max_objects=10)


def test_a_sequence_without_masks_is_named(tmp_path: Path) -> None:
    write_dataset(tmp_path, sequences=1)
    for mask in (tmp_path / "Annotations" / "video_0").iterdir():
        mask.unlink()
    with pytest.raises(DataError, match="Annotations/video_0: no mask"):
        _ = FolderVideo(VOSTDataset(tmp_path, "vost"), "video_0").annotated


def test_unfit_configs_are_refused(dataset_root: Path) -> None:
    with pytest.raises(ConfigError, match="DATA_SEQ_LEN: expected at least 2"):
        build_train_dataset(config(dataset_root, DATA_SEQ_LEN=1))
    with pytest.raises(ConfigError, match="static stands alone"):
        build_train_dataset(config(dataset_root, DATASETS=("static", "vost")))
    with pytest.raises(DataError, match="nowhere"):
        build_train_dataset(config(dataset_root, DATASETS=("nowhere",)))


# Static images


@pytest.fixture(scope="module")
def static_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs (sklearn's) with made-up masks, and their folder."""
    from sklearn.datasets import load_sample_images

    root = tmp_path_factory.mktemp("static_data") / "Static"
    (root / "JPEGImages" / "some").mkdir(parents=True)
    for number, photograph in enumerate(load_sample_images().images):
        image = cv2.resize(photograph, (320, 214))
        mask = np.zeros((214, 320), dtype=np.uint8)
        cv2.ellipse(mask, (110, 90), (60, 40), 20, 0, 360, 4, -1)
        cv2.rectangle(mask, (190, 80), (280, 180), 2, -1)
        cv2.rectangle(mask, (190, 80), (280, 90), 255, -1)
        Image.fromarray(image).save(root / "JPEGImages" / "some" / f"{number}.jpg")
        write_mask(root / "Annotations" / "some" / f"{number}.png", mask)
    return root


def test_a_static_image_becomes_a_clip_of_warps(static_root: Path) -> None:
    clip = StaticClips(list_static_images(static_root), 4).draw(0, np.random.default_rng(0))
    assert clip is not None
    assert len(clip.frames) == 4
    for first in range(4):
        label = clip.labels[first]
        assert label is not None
        assert set(np.unique(label)) == {0, 2, 4, 255}
        for second in range(first):
            here, there = label == 2, clip.labels[second] == 2
            assert 0.2 < (here & there).sum() / (here | there).sum() < 0.97
            assert np.abs(clip.frames[first].astype(int) - clip.frames[second]).mean() > 3


def test_a_warp_moves_image_and_mask_alike(tmp_path: Path) -> None:
    mask = rectangles((1, 10, 10, 50, 60), (2, 40, 70, 90, 120))
    Image.fromarray(picture(mask, 0)).save(tmp_path / "image.png")
    write_mask(tmp_path / "mask.png", mask)
    clip = StaticClips([(tmp_path / "image.png", tmp_path / "mask.png")], 3).draw(0, np.random.default_rng(1))
    assert clip is not None
    for frame, label in zip(clip.frames, clip.labels, strict=True):
        assert label is not None
        inside = _local_range(label) == 0
        off = np.abs(frame[..., 0][inside] / ID_STEP - label[inside]) > 0.05
        assert off.mean() < 0.002  # a few pixels touch an edge all the same


def test_static_samples_are_deterministic_and_whole(static_root: Path) -> None:
    cfg = get_config(
        "pre", "aott", overrides={"DIR_DATA": str(static_root.parent), "DATA_RANDOMCROP": (97, 97)}
    )
    stream = ClipStream(build_train_dataset(cfg), cfg.TRAIN_SEED, 2)
    clip, again = stream[3], stream[3]
    assert torch.equal(clip.frames, again.frames)
    assert clip.frames.shape == (5, 3, 97, 97)
    assert len(clip.names) == 2  # this stage always merges
    assert not torch.equal(stream[2].frames, clip.frames)


def test_static_images_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="JPEGImages: there is no such folder"):
        list_static_images(tmp_path)
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DataError, match="there is no image"):
        list_static_images(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / "JPEGImages" / "a.jpg")
    with pytest.raises(DataError, match=r"1 images have no mask: .*Annotations/a\.png"):
        list_static_images(tmp_path)
    write_mask(tmp_path / "Annotations" / "a.png", np.zeros((8, 9), dtype=np.uint8))
    with pytest.raises(DataError, match=r"a\.png: the mask is \(8, 9\), its image \(8, 8\)"):
        StaticClips(list_static_images(tmp_path), 3).draw(0, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="DATA_SEQ_LEN"):
        StaticClips(list_static_images(tmp_path), 2)


# MiniVOST on the way


def test_mini_vost_sequences_are_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def render_sequence(seed: int, split: str, index: int) -> SimpleNamespace:
        asked.append((seed, split, index))
        masks = np.stack([rectangles((1, 10, 10 + step, 60, 60 + step)) for step in range(5)])
        frames = np.stack([picture(mask, step) for step, mask in enumerate(masks)])
        return SimpleNamespace(frames=frames, masks=masks)

    monkeypatch.setattr(mini_vost_clips.mini_vost, "render_sequence", render_sequence)
    videos = mini_vost_clips.rendered_videos(tmp_path, seed=3, count=2)
    assert not list(tmp_path.iterdir())
    assert videos[1].annotated == [True] * 5
    assert asked == [(3, "train", 1)]
    np.testing.assert_array_equal(videos[1].read_mask(4), rectangles((1, 10, 14, 60, 64)))
    assert np.abs(videos[1].read_image(4)[..., 2].astype(int) - 4).mean() < 2
    again = mini_vost_clips.rendered_videos(tmp_path, seed=3, count=2)[1]
    assert len(again.annotated) == 5
    assert len(asked) == 1
    assert [path.name for path in videos[1].folder.parent.iterdir()] == ["00001"]


# The picture of a batch


def test_ignored_regions_are_grey_stripes_and_objects_coloured() -> None:
    image = np.full((12, 12, 3), 100, dtype=np.uint8)
    label = np.zeros((12, 12), dtype=np.uint8)
    label[:4], label[4:8] = 1, 255
    painted = show_batch.paint(image, label)
    assert painted[0, 0].tolist() == [114, 50, 50]  # half of the palette's (128, 0, 0)
    assert {tuple(pixel) for pixel in painted[4:8].reshape(-1, 3).tolist()} == {(114,) * 3, (177,) * 3}
    assert (painted[8:] == 100).all()


def test_show_batch_writes_a_grid(dataset_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "batch.png"
    values = ["DATA_WORKERS=0", "DATA_SEQ_LEN=3", "TRAIN_BATCH_SIZE=2", f"DATASETS={dataset_root}"]
    arguments = ["--stage", "mini_vost", "--model", "aott", "--out", str(out), "--set", *values]
    assert show_batch.main(arguments) == 0
    with Image.open(out) as picture_of_batch:
        assert picture_of_batch.size == (3 * (129 + 4), 2 * (129 + 4 + 16))


def test_show_batch_reports_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path / "batch.png"), "--set", f"DATASETS={tmp_path / 'nothing'}"]
    assert show_batch.main(arguments) == 1
    assert "nothing" in capsys.readouterr().err
    assert not (tmp_path / "batch.png").exists()
