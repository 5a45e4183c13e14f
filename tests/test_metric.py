"""The VOST metric on arrays: its definition in cases computed by hand, and its properties."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from evaluation import (
    FIGURES,
    DataError,
    count_objects,
    decay,
    frame_ious,
    global_figures,
    last_frames,
    object_figures,
    recall,
    score_sequence,
)

Mask = NDArray[np.uint8]
IDS = np.array([0, 1, 2, 3, 4, 7, 254, 255], dtype=np.uint8)


def mask(*rows: list[int]) -> Mask:
    return np.array(rows, dtype=np.uint8)


def naive_ious(annotation: Mask, prediction: Mask, num_objects: int) -> list[float]:
    """Computes the definition, object by object."""
    ious = []
    for k in range(1, num_objects + 1):
        union = np.sum((annotation == k) | (prediction == k))
        ious.append(np.sum((annotation == k) & (prediction == k)) / union if union else 1.0)
    return ious


masks = arrays(np.uint8, (5, 7), elements=st.sampled_from([int(i) for i in IDS]))
object_counts = st.integers(1, 254)


@given(masks, masks, object_counts)
def test_frame_ious_follow_the_definition_and_stay_in_range(a: Mask, b: Mask, num_objects: int) -> None:
    ious = frame_ious(a, b, num_objects)
    assert ious.shape == (num_objects,)
    assert np.all((ious >= 0) & (ious <= 1))
    np.testing.assert_allclose(ious, naive_ious(a, b, num_objects), rtol=1e-12)


@given(masks, object_counts)
def test_equal_masks_score_one(a: Mask, num_objects: int) -> None:
    assert np.all(frame_ious(a, a.copy(), num_objects) == 1)


@given(masks, masks, object_counts)
def test_iou_is_symmetric(a: Mask, b: Mask, num_objects: int) -> None:
    np.testing.assert_array_equal(frame_ious(a, b, num_objects), frame_ious(b, a, num_objects))


@given(masks, masks, st.permutations(range(1, 255)))
def test_renaming_ids_in_both_masks_renames_the_ious(a: Mask, b: Mask, order: list[int]) -> None:
    names = np.array([0, *order, 255], dtype=np.uint8)  # old id -> new id
    before, after = frame_ious(a, b, 254), frame_ious(names[a], names[b], 254)
    np.testing.assert_array_equal(after[np.array(order) - 1], before)


@settings(max_examples=30)
@given(arrays(np.uint8, (6, 4, 4), elements=st.integers(0, 2)), st.integers(3, 6))
def test_a_sequence_predicted_perfectly_has_perfect_figures(video: Mask, length: int) -> None:
    video[0, 0, 0] = 2
    figures = object_figures(score_sequence(video[:length], video[:length]))
    np.testing.assert_array_equal(figures, [[1, 1, 0, 1, 1, 0]] * 2)


def test_an_object_in_neither_mask_scores_one() -> None:
    empty = mask([0, 0])
    np.testing.assert_array_equal(frame_ious(empty, empty, 2), [1, 1])
    np.testing.assert_array_equal(frame_ious(empty, mask([0, 2]), 2), [1, 0])


def test_ignored_pixels_are_background_in_both_masks() -> None:
    annotation, prediction = mask([1, 1, 255, 0]), mask([1, 255, 1, 255])
    # Pixel 0 is in both, 1 only in the annotation, 2 only in the prediction (ignored, but not masked out).
    assert frame_ious(annotation, prediction, 1) == pytest.approx([1 / 3])


def test_predicted_ids_above_the_range_only_take_pixels_away() -> None:
    annotation = mask([1, 1, 0, 0])
    np.testing.assert_array_equal(frame_ious(annotation, mask([1, 9, 9, 2]), 1), [0.5])


def test_an_id_of_the_range_that_never_occurs_is_scored() -> None:
    video = [mask([1, 0, 3])] * 4
    ious = score_sequence(video, video)
    np.testing.assert_array_equal(ious, np.ones((3, 2)))


def test_the_highest_possible_id_is_scored() -> None:
    annotation = mask([254, 0, 255])
    assert count_objects(annotation) == 254
    assert frame_ious(annotation, mask([254, 254, 0]), 254)[253] == 0.5


def test_later_objects_are_not_scored() -> None:
    annotations = [mask([1, 0]), mask([1, 2]), mask([1, 2]), mask([1, 2])]
    assert score_sequence(annotations, annotations).shape == (1, 2)


def test_the_first_and_the_last_frame_are_not_scored() -> None:
    annotations = [mask([1, 1, 0, 0])] * 4
    predictions = [mask([0, 0, 1, 1]), mask([1, 1, 0, 0]), mask([1, 0, 0, 0]), mask([0, 0, 1, 1])]
    np.testing.assert_array_equal(score_sequence(annotations, predictions), [[1, 0.5]])


def test_a_sequence_is_streamed() -> None:
    """Annotations and predictions are read alternately, and none ahead of time."""
    read = []

    def frames(kind: str) -> Iterator[Mask]:
        for index in range(6):
            read.append((kind, index))
            yield mask([1, 0])

    score_sequence(frames("annotation"), frames("prediction"))
    assert read == [(kind, index) for index in range(6) for kind in ("annotation", "prediction")]


def test_j_tr_takes_the_frames_from_three_quarters_on() -> None:
    for n, first in ((1, 0), (2, 1), (3, 2), (4, 3), (5, 3), (7, 5), (8, 6), (400, 300)):
        np.testing.assert_array_equal(last_frames(np.arange(float(n))), np.arange(float(first), n))


def test_recall_counts_only_frames_above_one_half() -> None:
    np.testing.assert_array_equal(recall(np.array([[0.5, 0.51, 1, 0], [0.6, 0.7, 0.8, 0.9]])), [0.5, 1])


@pytest.mark.parametrize(
    ("ious", "expected"),
    [
        ([0.7], 0),  # every quarter is the one frame
        ([0.9, 0.4], 0.5),  # borders 0, 0, 1, 1, 1: 0.9 - 0.4
        ([1, 0.5, 0], 0.75),  # borders 0, 1, 1, 2, 2 (1.5 and 2.5 round up): (1 + 0.5) / 2 - 0
        ([1, 0.8, 0.6, 0.4, 0.2], 0.6),  # borders 0, 1, 2, 3, 4: 0.9 - 0.3
    ],
)
def test_decay_of_few_frames(ious: list[float], expected: float) -> None:
    assert decay(np.array(ious)) == pytest.approx(expected)


def test_decay_past_255_frames() -> None:
    """400 frames: borders 0, 100, 200, 299, 399, which 8 bits cannot all hold."""
    ious = np.zeros(400)
    ious[:101] = 0.75
    ious[299:] = 0.25
    assert decay(ious) == pytest.approx(0.5)
    ious[300] = 0.25 + 101 * 0.1  # 299..399 are 101 frames
    assert decay(ious) == pytest.approx(0.4)


def test_figures_of_a_hand_computed_object() -> None:
    ious = np.array([[1, 0.8, 0.6, 0.4, 0.2]])
    # J_last is over the frames 3 and 4: recall 0, decay 0.4 - 0.2 (borders 0, 0, 1, 1, 1).
    expected = dict(zip(FIGURES, [0.6, 0.6, 0.6, 0.3, 0, 0.2], strict=True))
    assert dict(zip(FIGURES, object_figures(ious)[0], strict=True)) == pytest.approx(expected)


def test_global_figures_weigh_objects_alike() -> None:
    one, three = np.full((1, 6), 1.0), np.full((3, 6), 0.2)
    assert global_figures([one, three]) == pytest.approx([0.4] * 6)


@pytest.mark.parametrize(
    ("annotation", "prediction", "words"),
    [
        (mask([1, 0]), mask([1, 0, 0]), "(1, 2) and (1, 3)"),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8), "H x W"),
        (mask([1, 0]), np.array([[1, 0]]), "int64"),
        (np.array([[1, 0]]), mask([1, 0]), "int64"),
    ],
)
def test_masks_that_do_not_fit(annotation: Mask, prediction: Mask, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        frame_ious(annotation, prediction, 1)


def test_sequences_that_cannot_be_scored() -> None:
    one = mask([1, 0])
    for length in range(3):
        with pytest.raises(DataError, match=r"\b3\b"):
            score_sequence([one] * length, [one] * length)
    for predictions in (3, 5):
        with pytest.raises(DataError, match="predictions"):
            score_sequence([one] * 4, [one] * predictions)
    with pytest.raises(DataError, match="no object"):
        score_sequence([mask([0, 255])] * 3, [one] * 3)
