"""A frame's work in fixed tensors, recorded and repeated: the same labels, banks and states as the plain way.

On a CPU a tape stands for CUDA's graphs. What it repeats depends on nothing but tensors that stay.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aot_plus.networks.engines import fixed_step, segmenter, step_graphs
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.memory.policies import Append, MemoryPolicy
from tests.tape import TapeRecorder
from tests.test_segmenter import _segmenter, _squares, _video

Outcome = tuple[list[list[int]], list[Any], list[list[int]]]
Run = Callable[[VideoSegmenter], list[NDArray[np.uint8]]]


class Newest(MemoryPolicy):
    """A policy of a user's own, which answers with an integer."""

    def drop(self, append: Append) -> int:
        return append.droppable[-1]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> TapeRecorder:
    """Has segmenters record their steps; all with this recorder."""
    tape = TapeRecorder()
    monkeypatch.setattr(segmenter, "step_recorder", lambda cfg, device: lambda: tape)
    return tape


def _plain(**values: Any) -> VideoSegmenter:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter, "step_recorder", lambda cfg, device: None)
        return _segmenter(**values)


def _check_equal(run: Run, **values: Any) -> VideoSegmenter:
    """Runs the same with and without recordings."""
    fixed, plain = _segmenter(**values), _plain(**values)
    for mine, other in zip(run(fixed), run(plain), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert fixed.banks == plain.banks
    values, expected = fixed.probabilities().values, plain.probabilities().values
    np.testing.assert_allclose(values, expected, atol=1e-5)  # kept tensors lie in another order in memory
    return fixed


def _all(frames: int = 14, ids: int = 2, gap: int = 2, seed: int = 40) -> Run:
    """Runs a video through: the bank fills, and overflows."""

    def run(one: VideoSegmenter) -> list[NDArray[np.uint8]]:
        video = _video(seed, frames=frames)
        first = one.start(video[0], _squares(list(range(1, ids + 1))), memory_gap=gap)
        return [first, *(one.step(image) for image in video[1:])]

    return run


@pytest.mark.parametrize("name", ["aott", "deaott"])
@pytest.mark.parametrize("ids", [2, 12])
def test_a_video_is_the_same(name: str, ids: int, recorder: TapeRecorder) -> None:
    """With one group of objects and with two; ``aott`` decides from the overflow on, ``deaott`` always."""
    start = {"aott": "overflow", "deaott": "append"}[name]
    _check_equal(_all(frames=11, ids=ids), name=name, LATTER_MEM_LEN=2, MEM_AVERAGES_START=start)
    assert recorder.replays > 10


@pytest.mark.parametrize("policy", ["emfs", "rmem", "fifo", "uniform", "random", f"{__name__}:Newest"])
def test_every_policy_decides_the_same(policy: str, recorder: TapeRecorder) -> None:
    _check_equal(_all(frames=8, gap=1), MEM_POLICY=policy, LATTER_MEM_LEN=2)
    assert recorder.replays > 5


def test_several_views_and_sizes_of_the_input(recorder: TapeRecorder) -> None:
    _check_equal(
        _all(frames=6, gap=1),
        TEST_FLIP=True,
        TEST_MULTISCALE=(1.0, 0.7),
        TEST_MAX_LONG_EDGE=65.0,
        LATTER_MEM_LEN=1,
    )
    assert recorder.replays > 3


def test_masks_in_mid_video_and_objects_that_go(recorder: TapeRecorder) -> None:
    """Masks take the plain way on the same tensors; a second group ends the fixed step."""
    video = _video(41, frames=16)
    masks = {2: _squares([0, 0, 2]), 6: _squares([0] * 12 + [3]), 13: _squares([0] * 3 + list(range(10, 20)))}

    def run(one: VideoSegmenter) -> list[NDArray[np.uint8]]:
        labels = [one.start(video[0], _squares([1, 2]), memory_gap=2)]
        for frame, image in enumerate(video[1:], start=1):
            if frame == 9:
                one.remove(1)
            labels.append(one.step(image, masks.get(frame)))
        return labels

    _check_equal(run, LATTER_MEM_LEN=3)
    assert recorder.replays > 5


def test_videos_one_after_another_use_the_same_recordings(recorder: TapeRecorder) -> None:
    """The second video of a shape begins with the first one's recordings, whatever came between."""
    one = _check_equal(_all(frames=9), LATTER_MEM_LEN=2)
    before, other = recorder.replays, _plain(LATTER_MEM_LEN=2)
    small = [image[:50] for image in _video(42, frames=5)]

    def run(segmenter: VideoSegmenter) -> list[NDArray[np.uint8]]:
        labels = [segmenter.start(small[0], _squares([1])[:50]), *map(segmenter.step, small[1:])]
        return [*labels, *_all(frames=9, seed=43)(segmenter)]

    for mine, expected in zip(run(one), run(other), strict=True):
        np.testing.assert_array_equal(mine, expected)
    assert one.banks == other.banks
    assert recorder.replays >= before + 15  # all frames but those of the plain start and the small video


def test_a_resumed_video_is_recorded_again(recorder: TapeRecorder) -> None:
    video = _video(44, frames=5)

    def run(one: VideoSegmenter) -> list[NDArray[np.uint8]]:
        _all(frames=5, gap=1)(one)
        one.load_state_dict(one.state_dict())
        return [one.step(image) for image in video]

    for policy in ("emfs", "rmem"):
        _check_equal(run, LATTER_MEM_LEN=2, MEM_POLICY=policy)


def test_traces_are_the_same(recorder: TapeRecorder) -> None:
    traces: list[list[dict[str, object]]] = []
    for make in (_segmenter, _plain):
        traces.append([])
        _all()(make(LATTER_MEM_LEN=2, trace=traces[-1].append))
    assert traces[0] == traces[1]
    assert any(entry["dropped"] is not None for entry in traces[0])


def test_what_cannot_be_recorded_runs_the_plain_way_and_says_so_once(
    recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(piece: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(recorder, "record", refuse)
    _check_equal(_all(), LATTER_MEM_LEN=2)
    (line,) = [entry.message for entry in caplog.records]
    assert "cannot be recorded (operation not permitted when stream is capturing)" in line


def test_an_unbounded_bank_runs_the_plain_way_and_says_so_once(
    recorder: TapeRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = _check_equal(_all(frames=4), MEM_POLICY="unbounded")
    _all(frames=2)(one)
    assert recorder.replays == 0
    assert len([entry for entry in caplog.records if "TEST_CUDA_GRAPH" in entry.message]) == 1


def test_recordings_are_bounded(
    recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the videos of other shapes the recordings go; what the present one needs beyond is not made."""
    one = _segmenter(LATTER_MEM_LEN=2)
    _all(frames=9)(one)
    first = one._step
    assert first is not None
    monkeypatch.setattr(fixed_step, "GRAPH_BYTES", int(first.num_bytes * 1.5))
    small = [image[:50] for image in _video(42, frames=9)]
    one.start(small[0], _squares([1])[:50], memory_gap=2)
    list(map(one.step, small[1:]))
    assert one._step is not None
    assert one._step.graphs.num_bytes > 0
    _all(frames=3)(one)
    assert one._step is not first
    monkeypatch.setattr(fixed_step, "GRAPH_BYTES", 0)
    _check_equal(_all(frames=9), LATTER_MEM_LEN=2)
    assert "hold" in caplog.text
    monkeypatch.undo()
    graphs = step_graphs.StepGraphs(TapeRecorder())
    total = torch.zeros(())
    for key in range(70):
        for _ in range(2):
            graphs.run(key, lambda: total.add_(1))
    assert total == 140
    assert len(graphs._recordings) == 64


def test_the_tape_notices_what_the_host_has_a_part_in() -> None:
    """So the tests above would fail: a wait, a copy of a list, and a number that only the host counts."""
    values = torch.zeros(3)
    for piece in (lambda: values[0].item(), lambda: values.add_(torch.tensor([1, 2, 3]))):
        with pytest.raises(RuntimeError, match="no host"):
            TapeRecorder().record(piece)
    count = [0]

    def counted() -> None:
        count[0] += 1
        values.fill_(count[0])

    replay, _ = TapeRecorder().record(counted)
    for _ in range(3):
        replay()
    assert values[0] == 1
