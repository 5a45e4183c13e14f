"""F on arrays: the edge map and the reach in small cases, and F against its definition, pixel by pixel."""

import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from evaluation import boundaries
from evaluation.boundaries import (
    Reach,
    boundary_f,
    boundary_radius,
    disk,
    edge_map,
    object_edges,
    off_centre_disk,
)

Mask = NDArray[np.uint8]


def one_pixel(y: int, x: int, size: tuple[int, int] = (6, 8)) -> Mask:
    mask = np.zeros(size, np.uint8)
    mask[y, x] = 1
    return mask


def f_of(annotation: Mask, prediction: Mask, reach: Reach) -> float:
    return boundary_f(edge_map(annotation), edge_map(prediction), reach)


def naive_found(edges: Mask, others: Mask, reach: Reach) -> int:
    """Computes the definition: counts edge pixels with one of ``others`` at an offset of the element."""
    offsets = np.argwhere(reach.element) - len(reach.element) // 2
    points = {(int(y), int(x)) for y, x in np.argwhere(others)}
    return sum(any((y + dy, x + dx) in points for dy, dx in offsets) for y, x in np.argwhere(edges))


def naive_f(annotated: Mask, predicted: Mask, reach: Reach) -> float:
    if not annotated.any() or not predicted.any():
        return float(annotated.any() == predicted.any())
    precision = naive_found(predicted, annotated, reach) / predicted.sum()
    recall = naive_found(annotated, predicted, reach) / annotated.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize(
    ("place", "edges"), [((2, 3), 4), ((0, 0), 1), ((0, 7), 2), ((5, 0), 2), ((5, 7), 3), ((0, 3), 2)]
)
def test_edge_pixels_of_a_single_pixel(place: tuple[int, int], edges: int) -> None:
    assert edge_map(one_pixel(*place)).sum() == edges


def test_edges_lie_above_and_left_of_what_differs() -> None:
    assert np.argwhere(edge_map(one_pixel(2, 3))).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    # The last pixel of the image is compared with nothing.
    assert np.argwhere(edge_map(one_pixel(5, 7))).tolist() == [[4, 6], [4, 7], [5, 6]]


def test_the_border_of_the_image_is_no_edge() -> None:
    assert not edge_map(np.ones((5, 7), np.uint8)).any()


@pytest.mark.parametrize(
    ("size", "radius"),
    [
        *(((480, 854), 8), ((480, 910), 9), ((480, 1152), 10)),
        *(((240, 427), 4), ((150, 200), 2), ((120, 200), 2)),
    ],
)
def test_radius(size: tuple[int, int], radius: int) -> None:
    assert boundary_radius(*size) == radius


def test_the_disk_holds_all_offsets_up_to_its_radius() -> None:
    assert disk(2).element.tolist() == [
        [0, 0, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 0, 0],
    ]
    assert [disk(radius).square for radius in (1, 2, 8)] == [0, 1, 5]


def test_the_off_centre_disk_extends_further_on_one_side_if_its_radius_is_no_integer() -> None:
    element = off_centre_disk(1.5).element  # rows and columns at -1.5, -0.5, 0.5, 1.5 from its centre
    assert element.tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(off_centre_disk(2.0).element, disk(2).element)


def test_f_counts_edge_maps_not_masks() -> None:
    full, nothing = np.ones((6, 8), np.uint8), np.zeros((6, 8), np.uint8)
    assert f_of(full, nothing, disk(1)) == 1
    assert f_of(nothing, nothing, disk(1)) == 1
    assert f_of(one_pixel(2, 3), nothing, disk(1)) == 0
    assert f_of(nothing, one_pixel(2, 3), disk(1)) == 0


def test_f_is_one_within_reach_and_nought_beyond() -> None:
    at, near, far = one_pixel(4, 4, (9, 20)), one_pixel(4, 6, (9, 20)), one_pixel(4, 12, (9, 20))
    assert f_of(at, near, disk(2)) == 1
    assert f_of(at, near, disk(1)) == pytest.approx(0.5)  # a column of each map is found
    assert f_of(at, far, disk(2)) == 0


edge_maps = arrays(np.uint8, (9, 14), elements=st.integers(0, 1), fill=st.just(0))
reaches = st.one_of(st.integers(0, 5).map(disk), st.floats(1, 5).map(off_centre_disk))


@pytest.mark.parametrize("most_lookups", [math.inf, 0], ids=["looked up one by one", "dilated"])
@given(edge_maps, edge_maps, reaches)
def test_f_follows_the_definition(
    most_lookups: float, annotated: Mask, predicted: Mask, reach: Reach
) -> None:
    with patch.object(boundaries, "_MOST_LOOKUPS", most_lookups):
        f = boundary_f(annotated, predicted, reach)
    assert f == pytest.approx(naive_f(annotated, predicted, reach), abs=1e-12)


ids = arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 0, 0, 1, 2, 255]))


@given(ids, ids, st.integers(0, 3))
def test_edges_on_the_objects_part_of_the_frame_are_those_of_the_frame(
    annotation: Mask, prediction: Mask, radius: int
) -> None:
    for number in np.union1d(annotation[annotation > 0], prediction[prediction > 0]):
        whole = [edge_map((mask == number).astype(np.uint8)) for mask in (annotation, prediction)]
        part = object_edges(annotation, prediction, int(number))
        assert [edges.sum() for edges in part] == [edges.sum() for edges in whole]
        assert boundary_f(*part, disk(radius)) == boundary_f(*whole, disk(radius))
