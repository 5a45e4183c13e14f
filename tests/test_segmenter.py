"""The public API, on a small model with weights by name: ids, groups, late objects, views and errors."""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

import aot_plus
from aot_plus.networks.engines.frame_scores import FrameScores, best_of_groups, merge_groups
from aot_plus.networks.engines.segmenter import FrameLabels, VideoSegmenter
from aot_plus.networks.engines.views import input_sizes
from aot_plus.networks.layers.processor import best_channel
from aot_plus.networks.models import AOT, Features
from aot_plus.networks.models.checkpoint_file import read_state_dict
from aot_plus.utils.catalogue import find_checkpoint
from aot_plus.utils.errors import CheckpointError, ConfigError, DataError, VOSError
from tests.weights_by_name import fill_by_name

HEIGHT, WIDTH = 70, 90
Array = NDArray[np.uint8]


@cache
def _model(name: str, temporal: bool = False) -> AOT:
    overrides = {"USE_TEMPORAL_POSITIONAL_EMBEDDING": temporal}
    model = aot_plus.load_model(name, None, device="cpu", overrides=overrides)
    fill_by_name(model)
    return model


def _segmenter(name: str = "aott", **overrides: Any) -> VideoSegmenter:
    trace = overrides.pop("trace", None)
    model = _model(name, True) if overrides.get("USE_TEMPORAL_POSITIONAL_EMBEDDING") else _model(name)
    cfg = copy.copy(model.cfg)
    for key, value in {"LATTER_MEM_LEN": 3, **overrides}.items():
        assert key in dir(cfg)
        setattr(cfg, key, value)
    return VideoSegmenter(model, cfg, trace=trace)


def _video(seed: int, frames: int = 6) -> list[Array]:
    """Returns drifting smooth noise, enough for labels that change from frame to frame."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (10, 12 + frames, 3))
    large = np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)
    return [large[:HEIGHT, 4 * t : 4 * t + WIDTH] for t in range(frames)]


def _squares(ids: list[int], side: int = 10) -> Array:
    """Returns a mask with a square for each id, row by row."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    columns = WIDTH // side
    for place, value in enumerate(ids):
        y, x = divmod(place, columns)
        mask[y * side : (y + 1) * side, x * side : (x + 1) * side] = value
    return mask


def _run(segmenter: VideoSegmenter, video: list[Array], mask: Array, gap: int = 1) -> list[Array]:
    first = segmenter.start(video[0], mask, memory_gap=gap)
    return [first, *(segmenter.step(image) for image in video[1:])]


def _differ(one: list[Array], other: list[Array]) -> bool:
    return any((a != b).any() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ["aott", "deaott"])
def test_interleaved_videos_equal_separate_ones_bit_for_bit(name: str) -> None:
    videos, mask = [_video(1), _video(2)], _squares([1, 2, 3])
    apart = [_run(_segmenter(name), video, mask) for video in videos]
    assert _differ(*apart)
    both = [_segmenter(name) for _ in videos]
    labels = [[one.start(video[0], mask, memory_gap=1)] for one, video in zip(both, videos, strict=True)]
    for images in zip(*(video[1:] for video in videos), strict=True):
        for own, one, image in zip(labels, both, images, strict=True):
            own.append(one.step(image))
    assert not _differ(labels[0], apart[0])
    assert not _differ(labels[1], apart[1])
    assert both[0].banks != [[]]


@pytest.mark.parametrize("policy", ["emfs", "rmem", "random"])
def test_25_objects_have_three_separate_banks(policy: str) -> None:
    calls = []
    model = _model("aott")
    hook = model.encoder.register_forward_hook(lambda *_: calls.append(1))
    segmenter = _segmenter(MEM_POLICY=policy)
    video = _video(3, frames=10)
    labels = _run(segmenter, video, _squares(list(range(1, 26))))
    hook.remove()
    assert len(calls) == len(video)  # the encoder runs once per frame
    assert [len(bank) for bank in segmenter.banks] == [4, 4, 4]
    assert all(bank[0] == 0 and bank[-1] == 9 for bank in segmenter.banks)
    assert set(np.unique(np.stack(labels))) <= set(range(26))


def test_only_the_ids_of_the_mask_come_out() -> None:
    ids = [3, 17, 200]
    labels = _run(_segmenter(), _video(4), _squares(ids))
    assert set(np.unique(np.stack(labels))) <= {0, *ids}
    assert labels[0].dtype == labels[-1].dtype == np.uint8
    assert labels[-1].shape == (HEIGHT, WIDTH)


def test_ids_are_only_names() -> None:
    renamed = {1: 7, 2: 30, 3: 254}
    table = np.zeros(256, np.uint8)
    table[list(renamed)] = list(renamed.values())
    plain = _run(_segmenter(), _video(5), _squares([1, 2, 3]))
    other = _run(_segmenter(), _video(5), _squares(list(renamed.values())))
    assert not _differ([table[labels] for labels in plain], other)


def test_255_is_an_object_only_where_it_is_tracked() -> None:
    mask = _squares([1, 255, 2])
    tracked = _run(_segmenter(TEST_TRACK_IGNORED=True), _video(6), mask)
    ignored = _run(_segmenter(TEST_TRACK_IGNORED=False), _video(6), mask)
    # The weights are arbitrary, so the effect of 255 shows in comparison with a video without it.
    as_third = _run(_segmenter(), _video(6), np.where(mask == 255, 9, mask).astype(np.uint8))
    assert not _differ([np.where(one == 255, 9, one) for one in tracked], as_third)
    assert not (np.stack(ignored[1:]) == 255).any()


def test_a_later_mask_adds_an_object_and_the_others_go_on() -> None:
    video = _video(7, frames=6)
    segmenter = _segmenter()
    segmenter.start(video[0], _squares([1, 2]), memory_gap=1)
    before = segmenter.step(video[1])
    added = np.zeros((HEIGHT, WIDTH), np.uint8)
    added[40:60, 40:70] = 9
    undisturbed = _run(_segmenter(), video[:3], _squares([1, 2]))[2]
    labels = segmenter.step(video[2], added)
    assert (labels[added == 9] == 9).all()
    assert ((labels == 9) == (added == 9)).all()
    assert (labels[added == 0] == undisturbed[added == 0]).all()
    assert 9 not in before
    assert segmenter.banks == [[0, 1, 2]]
    assert set(np.unique(segmenter.step(video[3]))) <= {0, 1, 2, 9}


def test_objects_beyond_a_full_group_start_a_new_group() -> None:
    video = _video(8, frames=7)
    segmenter = _segmenter()
    segmenter.start(video[0], _squares(list(range(1, 10))), memory_gap=1)
    segmenter.step(video[1])
    added = np.zeros((HEIGHT, WIDTH), np.uint8)
    added[45:60, 40:60], added[45:60, 60:80] = 100, 101  # the tenth and the eleventh object
    labels = segmenter.step(video[2], added)
    assert (labels[added > 0] == added[added > 0]).all()
    assert segmenter.banks == [[0, 1, 2], [2]]
    segmenter.step(video[3])
    segmenter.step(video[4])
    assert segmenter.banks[1] == [2, 3, 4]
    assert 2 in segmenter.banks[0]  # the frame that brought the tenth object is not dropped


def test_a_later_mask_corrects_the_objects_it_shows() -> None:
    video = _video(9, frames=4)
    segmenter = _segmenter()
    segmenter.start(video[0], _squares([1, 2, 3]), memory_gap=1)
    correction = np.zeros((HEIGHT, WIDTH), np.uint8)
    correction[50:60, 10:30] = 2
    correction[0:5, 60:80] = 255
    labels = segmenter.step(video[1], correction)
    assert ((labels == 2) == (correction == 2)).all()
    assert 255 not in labels


def test_views_are_averaged_and_remember_separately() -> None:
    video, mask = _video(10), _squares([1, 2])
    plain = _run(_segmenter(), video, mask)
    several = _segmenter(TEST_MULTISCALE=(1.0, 1.3), TEST_FLIP=True)
    labels = _run(several, video, mask)
    assert several._video is not None
    assert len(several._video.views) == 4
    assert _differ(labels, plain)
    twice = _run(_segmenter(TEST_MULTISCALE=(1.0, 1.0)), video, mask)
    assert not _differ(twice, plain)


def test_a_flipped_video_with_flip_views_gives_flipped_labels() -> None:
    video, mask = _video(11, frames=4), _squares([1, 2])
    labels = _run(_segmenter(TEST_FLIP=True), video, mask)
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in video]
    other = _run(_segmenter(TEST_FLIP=True), mirrored, np.ascontiguousarray(mask[:, ::-1]))
    agreement = np.mean([(a[:, ::-1] == b).mean() for a, b in zip(labels, other, strict=True)])
    assert agreement > 0.999


def test_labels_go_to_the_memory_as_each_view_sees_them() -> None:
    one = _segmenter(TEST_FLIP=True, TEST_MULTISCALE=(1.0, 2.0))
    one.start(_video(11, frames=1)[0], _squares([1, 2]))
    assert one._video is not None
    labels = torch.tensor([[0, 7, 9], [7, 0, 9]], dtype=torch.int).repeat_interleave(33, 0)
    for view in one._video.views:
        height, width = view.size
        found = one._video.labels_of(view, labels)
        assert found.shape == view.size
        assert set(found.unique().tolist()) == {0, 7, 9}  # no label is between two others
        corners = [int(found[y, x]) for y in (0, height - 1) for x in (0, width - 1)]
        assert corners == ([9, 0, 9, 7] if view.flip else [0, 9, 7, 9])


def test_large_images_are_scaled_down() -> None:
    segmenter = _segmenter(TEST_MAX_LONG_EDGE=50.0)
    labels = _run(segmenter, _video(12, frames=3), _squares([1, 2]))
    assert segmenter._video is not None
    assert segmenter._video.inputs == [(33, 49)]  # 70 x 90 by 50 / 90: 38 x 50, to the nearest 16k + 1
    assert labels[-1].shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("size", "scales", "align_corners", "expected"),
    [
        ((480, 854), (1.0,), True, (481, 849)),
        ((480, 854), (1.0,), False, (480, 848)),
        ((720, 1280), (1.0,), True, (577, 1041)),
        ((721, 1280), (1.0,), True, (577, 1041)),  # 585.8 is rounded down first
        ((720, 1280), (1.0,), False, (592, 1040)),
        ((720, 1280), (1.0, 1.1, 1.2), False, (576, 1040)),  # the shorter side is limited first
        ((480, 854), (1.0, 1.5), False, (480, 848)),
        ((480, 854), (1.5, 1.0), False, (720, 1280)),
    ],
)
def test_inputs_have_the_sizes_of_the_aot_benchmark(
    size: tuple[int, int], scales: tuple[float, ...], align_corners: bool, expected: tuple[int, int]
) -> None:
    cfg = copy.copy(_model("aott").cfg)
    cfg.TEST_MULTISCALE, cfg.TEST_MULTISCALE_MAX_SHORT_EDGE = scales, 624.0
    cfg.MODEL_ALIGN_CORNERS = align_corners
    assert input_sizes(cfg, size)[0] == expected
    assert input_sizes(cfg, size[::-1])[0] == expected[::-1]


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 1.5)])
def test_the_shorter_side_has_its_own_limit(scales: tuple[float, ...]) -> None:
    segmenter = _segmenter(TEST_MAX_SHORT_EDGE=48.0, TEST_MULTISCALE=scales)
    frame = segmenter.prepare(np.zeros((64, 100, 3), np.uint8))
    assert tuple(frame.inputs[0].shape[:2]) == (49, 81)  # 48 x 75


def test_a_frame_that_was_prepared_for_another_size_is_refused() -> None:
    """It was prepared by another model's segmenter, or for another scale; the video can go on."""
    segmenter, video = _segmenter(), _video(12, frames=2)
    segmenter.start(video[0], _squares([1, 2]))
    with pytest.raises(DataError, match=r"33 x 49.* 65 x 97"):
        segmenter.step(_segmenter(TEST_MAX_LONG_EDGE=48.0).prepare(video[1]))
    assert segmenter.step(video[1]).shape == (HEIGHT, WIDTH)


def test_labels_of_another_size_than_the_images() -> None:
    """DAVIS at full resolution is evaluated this way; the state of such a video can be saved too."""
    video, mask = _video(12, frames=4), _squares([1, 2], side=30)
    small = mask[::2, ::2]
    segmenter, other = _segmenter(), _segmenter()
    frames = [replace(segmenter.prepare(image), size=small.shape) for image in video]
    segmenter.start(frames[0], small, memory_gap=1)
    segmenter.step(frames[1])
    assert segmenter._video is not None
    assert segmenter._video.inputs == [(65, 97)]  # 70 x 90
    other.load_state_dict(segmenter.state_dict())
    labels = segmenter.step(frames[2])
    assert labels.shape == small.shape
    np.testing.assert_array_equal(other.step(frames[2]), labels)


@pytest.mark.parametrize("name", ["aott", "deaott"])
def test_half_precision_stays_close(name: str) -> None:
    video, mask = _video(13, frames=3), _squares([1, 2], side=30)
    full = _run(_segmenter(name), video, mask)
    for dtype in ("bfloat16", "float16"):
        half = _run(_segmenter(name, TEST_DTYPE=dtype), video, mask)
        assert np.mean([(a == b).mean() for a, b in zip(full, half, strict=True)]) > 0.9, dtype


@pytest.mark.parametrize("overrides", [{}, {"TEST_MULTISCALE": (1.0, 1.3), "TEST_FLIP": True}])
def test_frames_prepared_by_other_threads_and_labels_taken_later(overrides: dict[str, Any]) -> None:
    video, mask = _video(19, frames=6), _squares([3, 200, 255])
    expected = _run(_segmenter(**overrides), video, mask)
    segmenter = _segmenter(**overrides)
    with ThreadPoolExecutor(2) as threads:  # all frames are ready before the video starts
        frames = list(threads.map(segmenter.prepare, video))
    first = segmenter.start(frames[0], mask, memory_gap=1)
    submitted = [segmenter.submit(frame) for frame in frames[1:]]
    assert not _differ([first, *(labels.array() for labels in submitted)], expected)


def test_a_mask_may_come_with_a_prepared_frame() -> None:
    video, segmenter = _video(20, frames=2), _segmenter()
    segmenter.start(video[0], _squares([1, 2]))
    correction = _squares([0, 2, 9])
    labels = segmenter.submit(segmenter.prepare(video[1]), correction).array()
    assert (labels[correction > 0] == correction[correction > 0]).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 11, 31])
def test_the_best_channel_is_the_one_argmax_says(channels: int) -> None:
    generator = torch.manual_seed(channels)
    scores = torch.randn(channels, 37, 53, generator=generator)
    ties = torch.randint(0, 3, scores.shape, generator=generator).float()
    ties[:, 0] = -torch.inf
    for case in (scores, ties, scores.bfloat16().float(), ties.transpose(1, 2)):
        assert torch.equal(best_channel(case), case.argmax(dim=0))


def test_labels_of_255_objects() -> None:
    packed = torch.arange(256, dtype=torch.int32).view(2, 128)
    ids = [*range(255, 0, -1)]
    np.testing.assert_array_equal(FrameLabels(packed, ids).array().ravel(), [0, *ids])


def test_the_trace_tells_every_append() -> None:
    entries: list[dict[str, Any]] = []
    segmenter = _segmenter(trace=entries.append)
    _run(segmenter, _video(15, frames=7), _squares([1, 2]))
    assert [entry["frame"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [entry["dropped"] is None for entry in entries] == [True] * 3 + [False] * 3
    last = entries[-1]
    assert last["dropped"] in last["bank"][1:]
    assert last["bank"].index(last["dropped"]) == 1 + int(np.argmin(last["score"][1:]))
    assert len(last["relevance"]) == len(last["redundancy"]) == len(last["bank"]) == 4


def test_the_trace_tells_which_masks_were_given() -> None:
    entries: list[dict[str, Any]] = []
    video, segmenter = _video(15, frames=5), _segmenter(trace=entries.append)
    segmenter.start(video[0], _squares([1, 2]), memory_gap=1)
    for frame, image in enumerate(video[1:], 1):
        segmenter.step(image, _squares([1, 2]) if frame == 2 else None)
    assert [entry.get("given", False) for entry in entries] == [False, True, False, False]


def test_later_references_stay_until_there_is_nothing_else() -> None:
    video, segmenter = _video(16, frames=8), _segmenter(MEM_POLICY="fifo")
    segmenter.start(video[0], _squares([1, 2]), memory_gap=1)
    for image in video[1:4]:
        segmenter.step(image, _squares([1, 2]))
    assert segmenter.banks == [[0, 1, 2, 3]]
    segmenter.step(video[4])
    assert segmenter.banks == [[0, 2, 3, 4]]
    segmenter.step(video[5])
    assert segmenter.banks == [[0, 2, 3, 5]]


def test_the_memory_gap_counts_from_the_last_write() -> None:
    segmenter = _segmenter(MEM_POLICY="unbounded")
    _run(segmenter, _video(17, frames=8), _squares([1]), gap=3)
    assert segmenter.banks == [[0, 3, 6]]


def test_merged_groups_follow_the_formula() -> None:
    one, other = torch.randn(3, 2, 2, generator=torch.manual_seed(0)), torch.randn(2, 2, 2)
    assert merge_groups([one]) is one
    p, q = torch.softmax(one, 0), torch.softmax(other, 0)
    expected = torch.cat([p[:1] * q[:1], p[1:], q[1:]]).clamp(1e-5, 1 - 1e-5)
    torch.testing.assert_close(merge_groups([one, other]), torch.log(expected / (1 - expected)))


def test_each_group_has_the_channels_of_its_objects() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 5, 6)  # up to three objects a group, of seven in all
    scores = FrameScores([logits], [False], 7, (17, 21), align_corners=True)
    large = F.interpolate(logits, size=(17, 21), mode="bilinear", align_corners=True)
    expected = merge_groups([large[0], large[1], large[2, :2]])
    torch.testing.assert_close(scores.probabilities(), expected.softmax(dim=0))
    assert torch.equal(scores.labels(), expected.argmax(dim=0).int())


def test_labels_of_groups_are_the_best_of_all() -> None:
    """Where objects of two groups are both certain, as probabilities are clamped, the first one wins."""
    torch.manual_seed(0)
    groups = [3 * torch.randn(ids, 40, 50) for ids in (4, 4, 2)]
    for group in groups[:2]:
        group[2, :5] = 50 + torch.rand(5, 50)
    groups[1][3] = -1e10  # removed
    labels = best_of_groups(groups)
    assert torch.equal(labels, merge_groups(groups).argmax(dim=0).int())
    assert labels.unique().tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert (labels[:5] == 2).all()
    assert torch.equal(best_of_groups(groups[:1]), groups[0].argmax(dim=0).int())


def _start(image: Any, mask: Any) -> None:
    _segmenter().start(image, mask)


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (np.zeros((70, 90), np.uint8), _squares([1]), "70 x 90"),
        (np.zeros((70, 90, 3), np.float32), _squares([1]), "float32"),
        (np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.uint8), "0 x 0 x 3"),
        (np.zeros((0, 5, 3), np.uint8), np.zeros((0, 5), np.uint8), "0 x 5 x 3"),
        (np.zeros((5, 0, 3), np.uint8), np.zeros((5, 0), np.uint8), "5 x 0 x 3"),
        (np.zeros((70, 90, 3), np.uint8), np.ones((60, 90), np.uint8), "60 x 90"),
        (np.zeros((70, 90, 3), np.uint8), np.zeros((70, 90), np.uint8), "no object"),
    ],
)
def test_wrong_arrays_are_named(image: Any, mask: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _start(image, mask)


def test_a_frame_of_another_size_and_a_step_before_the_start() -> None:
    segmenter = _segmenter()
    with pytest.raises(DataError, match="start"):
        segmenter.step(_video(1)[0])
    segmenter.start(_video(1)[0], _squares([1]))
    smaller = _video(1)[0][:60]
    for image in (smaller, segmenter.prepare(smaller)):
        with pytest.raises(DataError, match="60 x 90"):
            segmenter.step(image)
    with pytest.raises(DataError, match="float64"):
        segmenter.prepare(np.zeros((HEIGHT, WIDTH, 3)))  # type: ignore[arg-type]


@pytest.mark.parametrize("mask", [_squares([]), _squares([1])[:60]])
def test_a_start_that_fails_leaves_the_running_video_as_it_was(mask: Array) -> None:
    segmenter, video = _segmenter(), _video(13, frames=2)
    expected = _run(segmenter, video, _squares([3, 4]))
    segmenter.start(video[0], _squares([3, 4]))
    with pytest.raises(DataError):
        segmenter.start(video[1], mask)
    np.testing.assert_array_equal(segmenter.step(video[1]), expected[1])


@pytest.mark.parametrize("gap", [0, 1.5, 2.0, True, "5"])
def test_a_gap_that_is_no_number_of_frames_is_refused(gap: Any) -> None:
    with pytest.raises(DataError, match=f"memory_gap: .*found {gap!r}"):
        _segmenter().start(_video(1)[0], _squares([1]), memory_gap=gap)


def test_a_gap_may_be_an_integer_of_numpy() -> None:
    segmenter = _segmenter()
    _run(segmenter, _video(1), _squares([1]), gap=np.int64(2))  # type: ignore[arg-type]
    assert segmenter.banks == [[0, 2, 4]]
    assert type(segmenter.state_dict()["state"]["memory_gap"]) is int


@pytest.mark.parametrize("name", ["aott", "deaott"])
def test_logits_that_are_not_finite_are_noticed_at_the_end(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One frame suffices, even if the later ones no longer remember it."""
    segmenter, video = _segmenter(name), _video(7, frames=6)
    segmenter.check_finite()
    segmenter.start(video[0], _squares([1, 2]), memory_gap=3)
    segmenter.check_finite()
    segmenter.step(video[1])
    segmenter.check_finite()
    encode = AOT.encode

    def overflow(self: AOT, images: torch.Tensor) -> Features:
        return encode(self, images * torch.inf)

    with monkeypatch.context() as patch:
        patch.setattr(AOT, "encode", overflow)
        assert not segmenter.step(video[2]).any()
    for image in video[3:]:
        segmenter.step(image)
    with pytest.raises(DataError, match=r"finite.*TEST_DTYPE: float32"):
        segmenter.check_finite()
    segmenter.start(video[0], _squares([1, 2]))
    segmenter.step(video[1])
    segmenter.check_finite()


def test_a_name_is_no_model() -> None:
    with pytest.raises(ConfigError, match=r"load_model.*'aot_mini'"):
        VideoSegmenter("aot_mini")  # type: ignore[arg-type]


def test_a_shipped_checkpoint_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    model = aot_plus.load_model("aot_mini", "aot_mini.safetensors", stage="mini_vost", device="cpu")
    assert model.cfg.MODEL_NAME == "aot_mini"
    (tmp_path / "aot_mini.safetensors").touch()  # the user's file takes precedence
    with pytest.raises(CheckpointError, match="empty"):
        aot_plus.load_model("aot_mini", "aot_mini.safetensors", stage="mini_vost", device="cpu")


def test_a_bank_that_could_drop_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="LATTER_MEM_LEN"):
        _segmenter(LATTER_MEM_LEN=0).start(_video(1)[0], _squares([1]))


def test_the_checkpoint_decides_on_the_temporal_embedding() -> None:
    file = find_checkpoint("aot_mini.safetensors")
    off = {"USE_TEMPORAL_POSITIONAL_EMBEDDING": False}
    model = aot_plus.load_model("aot_mini", file, stage="mini_vost", device="cpu", overrides=off)
    assert model.cur_pos_emb is not None
    assert model.cfg.USE_TEMPORAL_POSITIONAL_EMBEDDING


@pytest.mark.parametrize("lost", ["cur_pos_emb", "mem_pos_emb"])
def test_half_a_temporal_embedding_is_refused(tmp_path: Path, lost: str) -> None:
    file = find_checkpoint("aot_mini.safetensors")
    assert file is not None
    weights = read_state_dict(file)
    del weights[lost]
    torch.save(weights, tmp_path / "half.pth")
    with pytest.raises(CheckpointError, match=rf"half\.pth.*missing, 1: {lost}"):
        aot_plus.load_model("aot_mini", tmp_path / "half.pth", stage="mini_vost", device="cpu")


@pytest.mark.parametrize(("name", "value"), [("MODEL_ALIGN_CORNERS", False), ("MODEL_MAX_OBJ_NUM", 5)])
def test_a_config_of_another_model_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"{name}: the model .* {value}$"):
        _segmenter(**{name: value})


def test_a_model_in_training_is_refused() -> None:
    """In training mode, it drops paths at random."""
    with pytest.raises(ConfigError, match=r"model\.eval\(\)"):
        VideoSegmenter(copy.deepcopy(_model("aott")).train())


def test_unknown_names_are_errors_of_the_project() -> None:
    for arguments in (("r50_aot", None), ("aott", "no_such_file.pth")):
        with pytest.raises(VOSError, match=r"r50_aotl|no_such_file"):
            aot_plus.load_model(*arguments)
