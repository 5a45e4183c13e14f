"""The frames of a training clip, its ids, and the merging of two clips."""

import numpy as np
import pytest
from numpy.typing import NDArray

from aot_plus.dataloaders.clips import keep_objects, merge_clips
from aot_plus.dataloaders.video_clips import ClipRules, VideoClips
from aot_plus.utils.config_ranges import RANGES
from aot_plus.utils.errors import DataError
from tests.train_videos import (
    HEIGHT,
    LENGTH,
    WIDTH,
    FakeVideo,
    drawn,
    frame_numbers,
    raw_clip,
    rectangles,
    steady_video,
)


def test_gaps_are_within_the_limit_and_the_ends_are_annotated() -> None:
    gaps = set()
    for seed in range(60):
        clip = drawn(steady_video(), ClipRules(length=6, reverse_probability=0.0), seed)
        numbers = frame_numbers(clip)
        gaps |= set(np.diff(numbers)[:-1].tolist())  # the last one is drawn in another way
        assert 1 <= numbers[-1] - numbers[-2] <= 3
        assert numbers[0] % 2 == 0
        assert numbers[-1] % 2 == 0
        assert clip.labels[0] is not None
        assert clip.labels[-1] is not None
    assert gaps == {1, 2, 3}


def test_a_clip_whose_next_annotated_frame_is_too_far_away_is_drawn_again() -> None:
    for seed in range(10):
        numbers = frame_numbers(drawn(steady_video(every=5), ClipRules(length=6), seed))
        assert (numbers[0] % 5, numbers[-1] % 5) == (0, 0)


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
    rules = ClipRules(length=7, reverse_probability=0.0)
    assert frame_numbers(drawn(video, rules, seed=0)) == list(range(7))
    assert VideoClips([video], ClipRules(length=8)).draw(0, np.random.default_rng(0)) is None
    unannotated = FakeVideo(video.masks * 3)  # a clip ends with an annotated frame
    unannotated.annotated[7:] = [False] * 14
    assert frame_numbers(drawn(unannotated, rules, seed=0)) == list(range(7))


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
    first = rectangles((2, 20, 20, 60, 60))
    second = rectangles((2, 20, 20, 60, 60), (1, 70, 70, 90, 90))
    # Every second annotated frame has the second object, so one of two neighbours has it.
    always = FakeVideo([first if index % 2 == 0 else second for index in range(LENGTH)], every=1)
    rules = ClipRules(length=2, max_gap=1, reverse_probability=0.0)
    consistent = 0
    for seed in range(40):
        always.read.clear()
        clip = drawn(always, rules, seed)
        tries = len(always.read) // 3  # the reference is read twice: once to check it, once with the clip
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
    with pytest.raises(DataError, match=r"odd_one, frame \d.* 96 x 128.* 96 x 129"):
        drawn(video, ClipRules(length=4), seed=0)


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
    np.testing.assert_array_equal(merged.images[0][..., 0], np.where(expected == 3, 200, 10))
    assert merged.labels[1] is None
    assert merged.images[1][0, 0, 0] == 200
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
    # The first clip's second object has 40 pixels left; the second clip's third object has 99.
    assert count == 3
    assert set(np.unique(merged.reference)) == {0, 1, 2, 3}
    assert not merged.reference[89, :40].any()
    assert not merged.reference[:9, 60:].any()
    _, few = merge_clips(first, covering, 3, 100, np.random.default_rng(0))
    assert few == 3
    _, fewest = merge_clips(first, covering, 2, 1, np.random.default_rng(0))
    assert fewest == 2


def test_two_clips_of_as_many_objects_as_a_group_may_have_are_merged() -> None:
    most = int(RANGES["MODEL_MAX_OBJ_NUM"].highest)
    first = raw_clip(rectangles((1, 0, 0, 20, 20), (most, 0, 40, 20, 60)))
    second = raw_clip(rectangles((1, 50, 0, 70, 20), (2, 50, 40, 70, 60), (most, 50, 80, 70, 100)))
    merged, count = merge_clips(first, second, most, 100, np.random.default_rng(0))
    assert count == 5
    expected = [(1, 0, 0, 20, 20), (2, 0, 40, 20, 60), (3, 50, 0, 70, 20), (4, 50, 40, 70, 60)]
    np.testing.assert_array_equal(merged.reference, rectangles(*expected, (5, 50, 80, 70, 100)))


def test_merging_that_would_leave_no_object_returns_the_first_clip() -> None:
    first = raw_clip(rectangles((1, 0, 0, 8, 8)), name="first")
    merged, count = merge_clips(
        first, raw_clip(rectangles((1, 20, 20, 28, 28))), 10, 100, np.random.default_rng(0)
    )
    assert count == 1
    assert merged.names == ["first"]
    np.testing.assert_array_equal(merged.reference, first.reference)
