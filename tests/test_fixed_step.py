"""A frame's step on fixed tensors, recorded and replayed: labels, banks and states equal eager execution's.

On a CPU, a tape stands in for CUDA graphs. What it replays depends only on tensors that stay in place.
"""

import copy
import gc
import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aot_plus.configs import Config
from aot_plus.networks.engines import segmenter, step_graphs, step_store
from aot_plus.networks.engines.fixed_step import FixedStep
from aot_plus.networks.engines.fixed_tensors import copied, tensors_in
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.engines.views import VideoViews
from aot_plus.networks.layers.aot_block import AOTFrame
from aot_plus.networks.layers.position import sine_position_embedding
from aot_plus.networks.memory.bank import MemoryBank
from aot_plus.networks.memory.policies import Append, FifoPolicy, MemoryPolicy, answers
from aot_plus.networks.models import AOT, Features, Propagation
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.tensor_cache import cached_int32
from tests.tape import TapeRecorder
from tests.test_segmenter import _segmenter, _squares, _video

Outcome = tuple[list[list[int]], list[Any], list[list[int]]]
Run = Callable[[VideoSegmenter], list[NDArray[np.uint8]]]


class Newest(MemoryPolicy):
    """A custom policy that returns an integer."""

    def drop(self, append: Append) -> int:
        return append.droppable[-1]


class EachItsOwn(FifoPolicy):
    """Declines different frames in each memory, that is, in each view."""

    may_decline = True
    made = 0

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        EachItsOwn.made += 1
        self._every = 2 + EachItsOwn.made % 2

    def keep(self, append: Append) -> bool:
        return append.new_frame % self._every == 0


class EverySecond(FifoPolicy):
    """Declines every other frame; the methods that it inherits can be recorded, but ``keep`` cannot."""

    may_decline = True

    def keep(self, append: Append) -> bool:
        return append.new_frame % 2 == 0


class WantsTheHost(FifoPolicy):
    """Claims that it can be recorded, but converts a tensor to a Python number."""

    replayable = True

    def drop(self, append: Append) -> torch.Tensor:
        return append.new_number.new_full((), int(append.may_drop.long().argmax()))


class KeepsItsState(FifoPolicy):
    """Keeps a value for each entry in a tensor that stays where it is."""

    replayable = True

    def reserve(self, capacity: int, device: torch.device) -> None:
        self.state = torch.zeros(capacity, device=device)


class Unprepared(KeepsItsState):
    """Fails where a replayable policy has to do more than others."""

    replayable = True
    fails = False

    def reserve(self, capacity: int, device: torch.device) -> None:
        if self.fails:
            raise ZeroDivisionError("reserve")
        super().reserve(capacity, device)

    def forget(self) -> None:
        if self.fails:
            raise ZeroDivisionError("forget")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> TapeRecorder:
    """Makes all segmenters record their steps with this recorder."""
    tape = TapeRecorder()
    monkeypatch.setattr(segmenter, "step_recorder", lambda device, wanted: lambda: tape)
    monkeypatch.setattr(answers, "is_on_host", lambda tensor: False)  # the CPU stands in for a GPU
    return tape


def _plain(**values: Any) -> VideoSegmenter:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter, "step_recorder", lambda device, wanted: None)
        return _segmenter(**values)


def _check_equal(run: Run, **values: Any) -> VideoSegmenter:
    """Checks that results are the same with and without recordings; returns the segmenter with recordings."""
    fixed, plain = _segmenter(**values), _plain(**values)
    for mine, other in zip(run(fixed), run(plain), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert fixed.banks == plain.banks
    values, expected = fixed.probabilities().values, plain.probabilities().values
    np.testing.assert_allclose(values, expected, atol=1e-5)  # fixed tensors have another memory format
    return fixed


def _all(frames: int = 14, ids: int = 2, gap: int = 2, seed: int = 40) -> Run:
    """Returns a function that runs a whole video: the bank fills and overflows."""

    def run(one: VideoSegmenter) -> list[NDArray[np.uint8]]:
        video = _video(seed, frames=frames)
        first = one.start(video[0], _squares(list(range(1, ids + 1))), memory_gap=gap)
        return [first, *(one.step(image) for image in video[1:])]

    return run


def masks_and_removals(one: VideoSegmenter) -> list[NDArray[np.uint8]]:
    """Runs a video with later masks: eager steps on the same tensors. A second group ends the fixed step."""
    video = _video(41, frames=16)
    masks = {2: _squares([0, 0, 2]), 6: _squares([0] * 12 + [3]), 13: _squares([0] * 3 + list(range(10, 20)))}
    labels = [one.start(video[0], _squares([1, 2]), memory_gap=2)]
    for frame, image in enumerate(video[1:], start=1):
        if frame == 9:
            one.remove(1)
        labels.append(one.step(image, masks.get(frame)))
    return labels


def paused(one: VideoSegmenter) -> list[NDArray[np.uint8]]:
    """Saves and loads the state in the middle of a video."""
    _all(frames=5, gap=1)(one)
    one.load_state_dict(one.state_dict())
    return [one.step(image) for image in _video(44, frames=5)]


VIEWS = {"TEST_FLIP": True, "TEST_MULTISCALE": (1.0, 0.7), "TEST_MAX_LONG_EDGE": 65.0}
CASES: dict[str, tuple[Run, dict[str, Any]]] = {
    "AOT, decisions from the overflow on": (_all(frames=11), {"MEM_AVERAGES_START": "overflow"}),
    "AOT, two groups": (_all(frames=11, ids=12), {}),
    "DeAOT, decisions always": (_all(frames=11), {"name": "deaott", "MEM_AVERAGES_START": "append"}),
    "DeAOT, two groups": (_all(frames=9, ids=12), {"name": "deaott"}),
    **{
        policy: (_all(frames=8, gap=1), {"MEM_POLICY": policy})
        for policy in ("rmem", "fifo", "uniform", "spread", "lfu", "random", "readmem", f"{__name__}:Newest")
    },
    "declined frames": (_all(frames=10, gap=1), {"MEM_POLICY": f"{__name__}:EverySecond"}),
    "frames declined in one view alone": (
        _all(frames=16, gap=1),
        {"MEM_POLICY": f"{__name__}:EachItsOwn", "TEST_FLIP": True, "LATTER_MEM_LEN": 4},
    ),
    "several views": (_all(frames=6, gap=1), {**VIEWS, "LATTER_MEM_LEN": 1}),
    "masks and removals": (masks_and_removals, {"LATTER_MEM_LEN": 3}),
    "paused, emfs": (paused, {}),
    "paused, rmem": (paused, {"MEM_POLICY": "rmem"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_video_is_the_same(case: str, recorder: TapeRecorder, caplog: pytest.LogCaptureFixture) -> None:
    run, values = CASES[case]
    _check_equal(run, **{"LATTER_MEM_LEN": 2, **values})
    assert recorder.replays > 3
    assert not caplog.records  # nothing was tried that cannot be recorded


def test_videos_one_after_another_use_the_same_recordings(recorder: TapeRecorder) -> None:
    """A video of the same size and number of groups reuses the recordings, whatever ran in between."""
    one = _check_equal(_all(frames=9), LATTER_MEM_LEN=2)
    before, other = recorder.replays, _plain(LATTER_MEM_LEN=2)
    small = [image[:50] for image in _video(42, frames=5)]

    def run(segmenter: VideoSegmenter) -> list[NDArray[np.uint8]]:
        labels = [segmenter.start(small[0], _squares([1])[:50]), *map(segmenter.step, small[1:])]
        return [*labels, *_all(frames=3, ids=12)(segmenter), *_all(frames=9, seed=43)(segmenter)]

    for mine, expected in zip(run(one), run(other), strict=True):
        np.testing.assert_array_equal(mine, expected)
    assert one.banks == other.banks
    assert recorder.replays >= before + 15  # all frames except the eager first one and other videos'


def test_a_second_video_is_all_replays(recorder: TapeRecorder) -> None:
    """But for what fills the bank: two frames are written without recordings."""
    one, run = _segmenter(LATTER_MEM_LEN=2), _all(frames=9, gap=1)
    run(one)
    before = recorder.replays
    run(one)
    # Eight frames are encoded, propagated and decoded; six times there is a choice and a write.
    assert recorder.replays == before + 3 * 8 + 2 * 6


def test_a_replayable_policy_gets_tensors_of_the_banks_size(recorder: TapeRecorder) -> None:
    """It may keep its state nowhere else, so each group's policy gets them, before a frame is recorded."""
    one = _segmenter(MEM_POLICY=f"{__name__}:KeepsItsState", LATTER_MEM_LEN=2)
    _all(frames=2, ids=12)(one)
    assert one._steps.current is not None
    policies = [policy for batch in one._steps.current.video.batches for policy in batch.policies]
    assert [policy.state.shape for policy in policies] == [(3,)] * 2  # one and LATTER_MEM_LEN


def test_an_object_removed_from_one_video_is_followed_in_the_next(recorder: TapeRecorder) -> None:
    """Its recordings give their own results, though other ones for fewer objects were made after them."""
    one, other = _segmenter(LATTER_MEM_LEN=2), _plain(LATTER_MEM_LEN=2)
    _all(frames=3, gap=1)(one)
    one.remove(1)
    for image in _video(44, frames=2):
        one.step(image)
    run = _all(frames=6, gap=1, seed=43)
    expected = run(other)
    assert any((labels == 1).any() for labels in expected[1:])
    for mine, labels in zip(run(one), expected, strict=True):
        np.testing.assert_array_equal(mine, labels)
    found, wanted = one.probabilities(), other.probabilities()
    assert found.ids == wanted.ids == [0, 1, 2]
    np.testing.assert_allclose(found.values, wanted.values, atol=1e-5)
    assert one.banks == other.banks
    for each in (one, other):
        each.remove(2)  # the recordings without object 1 do not serve
    for image in _video(45, frames=2):
        np.testing.assert_array_equal(one.step(image), other.step(image))
    assert recorder.replays > 0


def test_a_policy_with_state_starts_afresh_in_the_next_video(recorder: TapeRecorder) -> None:
    """The random policy draws from its seed again, as in a new segmenter."""
    values = {"MEM_POLICY": "random", "LATTER_MEM_LEN": 2}
    one, other = _segmenter(**values), _plain(**values)
    run = _all(frames=7, gap=1)
    for each in (other, one, one):
        run(each)
    assert one.banks == other.banks
    assert recorder.replays > 0


def test_a_trace_may_be_asked_for_between_two_videos(recorder: TapeRecorder) -> None:
    """Steps recorded without a trace would leave out the decisions."""
    entries: list[dict[str, object]] = []
    expected: list[dict[str, object]] = []
    one, run = _segmenter(LATTER_MEM_LEN=2), _all(frames=7, gap=1)
    run(one)
    one.trace = entries.append
    run(one)
    run(_plain(LATTER_MEM_LEN=2, trace=expected.append))
    assert entries == expected
    assert any(entry["dropped"] is not None for entry in entries)


def test_traces_are_the_same(recorder: TapeRecorder, caplog: pytest.LogCaptureFixture) -> None:
    traces: list[list[dict[str, object]]] = []
    for make in (_segmenter, _plain):
        traces.append([])
        _all()(make(LATTER_MEM_LEN=2, trace=traces[-1].append))
    assert traces[0] == traces[1]
    assert any(entry["dropped"] is not None for entry in traces[0])
    assert not caplog.records  # the other pieces are still recorded


def test_what_cannot_be_recorded_runs_eagerly_with_one_log_line(
    recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(piece: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(recorder, "record", refuse)
    _check_equal(_all(), LATTER_MEM_LEN=2)
    (line,) = [entry.message for entry in caplog.records]
    assert "(operation not permitted when stream is capturing)" in line


def test_a_custom_policy_that_cannot_be_recorded_runs_eagerly(
    recorder: TapeRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """The error that it raises during recording is hidden from the user."""
    _check_equal(_all(), MEM_POLICY=f"{__name__}:WantsTheHost", LATTER_MEM_LEN=2)
    assert ["TEST_CUDA_GRAPH" in entry.message for entry in caplog.records] == [True]


def test_an_unbounded_bank_runs_eagerly_with_one_log_line(
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
    """Recordings for other video sizes are freed; beyond the limit, the present video gets no more."""
    one = _segmenter(LATTER_MEM_LEN=2)
    _all(frames=9)(one)
    first = one._steps.current
    assert first is not None
    monkeypatch.setattr(step_store, "GRAPH_BYTES", first.num_bytes + 1500)
    small = [image[:50] for image in _video(42, frames=9)]
    one.start(small[0], _squares([1])[:50], memory_gap=2)
    list(map(one.step, small[1:]))
    assert one._steps.current is not None
    assert one._steps.current.graphs.num_bytes > 0
    _all(frames=3)(one)
    assert one._steps.current is not first
    monkeypatch.setattr(step_store, "GRAPH_BYTES", 0)
    _check_equal(_all(frames=9), LATTER_MEM_LEN=2)
    assert ["TEST_CUDA_GRAPH" in entry.message for entry in caplog.records] == [True]
    monkeypatch.undo()
    graphs = step_graphs.StepGraphs(TapeRecorder())
    total = torch.zeros(())
    for key in range(70):
        for _ in range(2):
            graphs.run(key, lambda: total.add_(1))
    assert total == 140
    assert len(graphs._recordings) == 64


def test_what_is_prepared_may_be_the_last_for_which_there_is_room() -> None:
    """It serves all frames with a full bank, the others a few frames each."""
    recorder, warnings = TapeRecorder(), list[str]()
    graphs = step_graphs.StepGraphs(recorder, lambda: graphs.num_bytes <= 1000, warnings.append)
    ran = torch.zeros(())
    for count in (1, 1, 2, 3, 9, 9, 9):
        graphs.run("propagate", lambda: ran.add_(1), count)
        graphs.prepare("propagate", lambda: ran.add_(1), 9)
    assert graphs.stopped
    graphs.prepare("propagate", lambda: ran.add_(1), 10)
    assert ran == 7
    assert recorder.replays == 1 + 3
    assert len(warnings) == 1


def test_recordings_in_use_are_kept() -> None:
    graphs, calls = step_graphs.StepGraphs(TapeRecorder()), list[int]()
    for key in range(70):
        for _ in range(2):
            graphs.run("every frame", lambda: calls.append(1))
            graphs.run(key, lambda: None)
    assert len(calls) == 2  # eagerly, and when it was recorded


def test_what_cannot_be_prepared_is_not_tried_in_every_frame() -> None:
    graphs, tries = step_graphs.StepGraphs(TapeRecorder()), list[int]()

    def fails() -> None:
        tries.append(1)
        raise RuntimeError("it wants the host the first time")

    for _ in range(4):
        graphs.run("propagate", lambda: None, 1)
        graphs.prepare("propagate", fails, 9)
    assert len(tries) == 1
    assert not graphs.stopped


def test_what_is_already_recorded_is_not_prepared() -> None:
    """A bank of one frame is full from the first frame on."""
    recorder = TapeRecorder()
    graphs = step_graphs.StepGraphs(recorder)
    for _ in range(3):
        graphs.run("propagate", lambda: None, 1)
        graphs.prepare("propagate", lambda: None, 1)
    _, one_recording = recorder.record(lambda: None)
    assert graphs.num_bytes == one_recording


def test_a_large_banks_recordings_are_all_kept() -> None:
    """A piece is recorded once per number of frames, and every video needs them in the same order."""
    graphs, ran = step_graphs.StepGraphs(TapeRecorder(), counts=50), torch.zeros(())
    for _ in range(2):
        for kind in ("propagate", "write"):
            for count in range(50):
                graphs.run(kind, lambda: ran.add_(1), count)
    assert len(graphs._recordings) == 100


def test_nested_tensors_are_copied_into_those_held() -> None:
    def nested(start: int) -> list[Any]:
        a, b, c = torch.arange(start, start + 6.0).split((1, 2, 3))
        return [AOTFrame(a, b, c), [c + 3], None]

    device = torch.device("cpu")
    held = copied(nested(0), None, device)
    places = [tensor.data_ptr() for tensor in tensors_in(held)]
    again = copied(nested(6), held, device)
    found = list(tensors_in(again))
    assert [tensor.data_ptr() for tensor in found] == places
    assert torch.equal(torch.cat(found), torch.arange(6.0, 15.0))


def test_an_unused_segmenter_is_freed_at_once(recorder: TapeRecorder) -> None:
    """So is the memory of its recordings: with a reference cycle, that would wait for garbage collection."""
    one = _segmenter(LATTER_MEM_LEN=2)
    _all(frames=9)(one)
    assert recorder.replays > 0
    video = weakref.ref(one._video)
    gc.disable()
    try:
        del one
        assert video() is None
    finally:
        gc.enable()


def test_videos_without_recordings_do_not_accumulate(
    recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each leaves tensors for the next video of its size."""
    one = _segmenter(LATTER_MEM_LEN=2)
    _all(frames=2)(one)
    assert one._steps.current is not None
    monkeypatch.setattr(step_store, "GRAPH_BYTES", 3 * one._steps.current.num_bytes)
    image = _video(42, frames=1)[0]
    for height in range(30, 60, 4):
        one.start(image[:height], _squares([1])[:height], memory_gap=2)
        one.step(image[:height])
    waiting = one._steps._waiting.values()
    assert 0 < sum(step.num_bytes for step in waiting) <= step_store.GRAPH_BYTES
    assert recorder.freed > 0
    monkeypatch.setattr(step_store, "GRAPH_BYTES", 0)
    one.start(image[:54], _squares([1])[:54], memory_gap=2)  # the last video but one had this size
    assert not waiting


def test_logits_that_are_not_finite_are_noticed_in_a_recorded_frame(recorder: TapeRecorder) -> None:
    plain = _plain(LATTER_MEM_LEN=2)
    one, video = VideoSegmenter(copy.deepcopy(plain.model), plain.cfg), _video(40, frames=6)
    bias = one.model.decoder.conv_out.bias
    for spoiled in (False, True, False):
        one.start(video[0], _squares([1, 2]), memory_gap=2)
        for frame, image in enumerate(video[1:], start=1):
            kept, before = bias.clone(), recorder.replays
            if spoiled and frame == 4:
                bias.data.fill_(torch.nan)
            one.step(image)
            bias.data.copy_(kept)
            assert frame < 4 or recorder.replays > before
        if spoiled:
            with pytest.raises(DataError, match="finite"):
                one.check_finite()
        else:
            one.check_finite()


def test_a_model_moved_away_and_back_is_recorded_again(recorder: TapeRecorder) -> None:
    """A graph would go on reading the memory in which the weights were."""
    run, plain = _all(frames=6, gap=1), _plain(LATTER_MEM_LEN=2)
    expected = run(plain)
    one = VideoSegmenter(copy.deepcopy(plain.model), plain.cfg)
    video = _video(40, frames=6)
    one.start(video[0], _squares([1, 2]), memory_gap=1)
    for frame, image in enumerate(video[1:], start=1):
        if frame >= 4:  # the second time, nothing is recorded any more
            before = recorder.replays
            for weight in one.model.parameters():
                weight.data = weight.data.clone()
        np.testing.assert_array_equal(one.step(image), expected[frame])
    assert recorder.replays == before > 0
    for _ in range(2):
        for mine, other in zip(run(one), expected, strict=True):
            np.testing.assert_array_equal(mine, other)
    assert recorder.replays > before


def test_steps_of_a_model_that_was_moved_are_freed(
    recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Present and waiting graphs would go on reading the memory in which the weights were."""
    plain, video = _plain(LATTER_MEM_LEN=2), _video(40, frames=3)
    one = VideoSegmenter(copy.deepcopy(plain.model), plain.cfg)
    steps, alive = list[weakref.ref[FixedStep]](), list[int]()
    for height in (50, 60):
        one.start(video[0][:height], _squares([1, 2])[:height])
        one.step(video[1][:height])
        assert one._steps.current is not None
        steps.append(weakref.ref(one._steps.current))
    monkeypatch.setattr(recorder, "free", lambda: alive.append(sum(step() is not None for step in steps)))
    for weight in one.model.parameters():
        weight.data = weight.data.clone()
    one.step(video[2][:60])
    assert alive == [1, 0]  # a step is gone before its memory is freed


@pytest.mark.parametrize("move", [lambda model: model.half(), lambda model: model.to("meta")])
def test_a_model_that_is_moved_or_converted_in_mid_video_is_an_error(
    move: Callable[[AOT], AOT], recorder: TapeRecorder
) -> None:
    plain = _plain(LATTER_MEM_LEN=2)
    one, video = VideoSegmenter(copy.deepcopy(plain.model), plain.cfg), _video(40, frames=3)
    one.start(video[0], _squares([1, 2]))
    one.step(video[1])
    move(one.model)
    with pytest.raises(ConfigError, match=r"float32 on cpu.* (float16 on cpu|float32 on meta)"):
        one.step(video[2])
    with pytest.raises(ConfigError, match="segmenter"):
        one.start(video[0], _squares([1, 2]))


def test_a_loaded_state_replaces_the_step_that_waits(
    recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _segmenter(LATTER_MEM_LEN=2)
    for _ in range(3):
        paused(one)
    assert len(one._steps._waiting) == 1
    assert recorder.freed >= 2
    monkeypatch.setattr(step_store, "GRAPH_BYTES", 0)
    one.load_state_dict(one.state_dict())
    assert not one._steps._waiting


def test_a_video_keeps_its_step_if_a_state_cannot_be_loaded(
    recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second group of objects then ends this step; otherwise the next video would get both groups."""

    def run(one: VideoSegmenter) -> list[NDArray[np.uint8]]:
        labels = _all(frames=4, gap=1)(one)
        if one._steps.current is not None:
            monkeypatch.setattr(Unprepared, "fails", True)
            with pytest.raises(ConfigError):
                one.load_state_dict(one.state_dict())
            monkeypatch.setattr(Unprepared, "fails", False)
        labels.append(one.step(_video(44, frames=1)[0], _squares(list(range(10, 20)))))
        return [*labels, *_all(frames=6, gap=1)(one)]

    _check_equal(run, MEM_POLICY=f"{__name__}:Unprepared", LATTER_MEM_LEN=2)
    assert recorder.replays > 0


def test_an_error_in_an_own_policys_tensors_is_reported(
    recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like all errors in a user's policy, it names the policy and the line."""
    one, run = _segmenter(MEM_POLICY=f"{__name__}:Unprepared", LATTER_MEM_LEN=2), _all(frames=2)
    for method in ("reserve", "forget"):
        monkeypatch.setattr(Unprepared, "fails", True)
        with pytest.raises(ConfigError, match=f"Unprepared.*{method}"):
            run(one)
        monkeypatch.setattr(Unprepared, "fails", False)
        run(one)


def test_frames_of_the_networks_size_and_others_do_not_share_tensors(recorder: TapeRecorder) -> None:
    """The former are uint8; the others were resized, so they are float32 and may exceed 0 to 255."""

    def run(one: VideoSegmenter) -> list[NDArray[np.uint8]]:
        frames = [one.prepare(image) for image in _video(45, frames=6)]
        as_they_are = [
            replace(frame, inputs=[p.clamp(0, 255).byte() for p in frame.inputs]) for frame in frames
        ]
        resized = [replace(frame, inputs=[1.2 * p - 20 for p in frame.inputs]) for frame in frames]
        labels = []
        for video in (as_they_are, resized):
            labels.append(one.start(video[0], _squares([1, 2]), memory_gap=2))
            labels += [one.step(frame) for frame in video[1:]]
        return labels

    _check_equal(run, LATTER_MEM_LEN=2)


def test_only_the_first_piece_of_a_kind_runs_before_it_is_recorded() -> None:
    """A later piece that cannot be recorded also runs first, and is recorded the next time."""
    recorder, total = TapeRecorder(), torch.zeros(())
    graphs = step_graphs.StepGraphs(recorder)
    for count in (1, 2, 3):
        graphs.run("read", lambda: total.add_(1), count)
    assert (recorder.replays, float(total)) == (2, 3)

    table: list[torch.Tensor] = []

    def wants_the_host() -> None:
        if not table:
            table.append(torch.tensor([1.0]))  # a copy from the host
        total.add_(table[0][0])

    for _ in range(2):
        graphs.run("read", wants_the_host, 4)
    graphs.run("read", pytest.fail, 3)  # replayed: its recording was not lost when another failed
    assert (recorder.replays, float(total)) == (4, 6)
    assert not graphs.stopped


@pytest.mark.parametrize("fails", [False, True])
def test_the_recording_that_reads_most_is_made_early(
    fails: bool, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others fit in its memory; uninitialised values where no frame has been stored do no harm."""
    propagate, frames = VideoViews.propagate, list[int]()

    def counted(video: VideoViews, features: list[Features]) -> list[list[Propagation]]:
        (batch,) = video.batches
        frames.append(batch.memory.read()[0].long.keys.shape[1] // features[0].position.shape[1])
        if fails and len(frames) == 3:
            raise RuntimeError("no memory")
        return propagate(video, features)

    allocate = MemoryBank._allocate

    def with_content(bank: MemoryBank, entry: torch.Tensor) -> torch.Tensor:
        stored = allocate(bank, entry)
        return stored.fill_(torch.nan) if stored.is_floating_point() else stored

    monkeypatch.setattr(MemoryBank, "_allocate", with_content)
    one, other = _segmenter(LATTER_MEM_LEN=3), _plain(LATTER_MEM_LEN=3)
    run = _all(frames=9, gap=1)
    expected = run(other)
    monkeypatch.setattr(VideoViews, "propagate", counted)
    for mine, labels in zip(run(one), expected, strict=True):
        np.testing.assert_array_equal(mine, labels)
    assert frames == [1, 2, 4, 3, *([4] if fails else [])]  # the first runs eagerly
    assert recorder.replays > 0


def test_a_recording_keeps_the_tables_that_it_reads() -> None:
    """The cache evicts tables when others are computed, and a graph would then read freed memory."""
    graphs, device = step_graphs.StepGraphs(TapeRecorder()), torch.device("cpu")

    def read() -> None:
        cached_int32((31, 41, 59), device)

    for _ in range(2):
        graphs.run("read", read)
    table = weakref.ref(cached_int32((31, 41, 59), device))
    for number in range(20):
        cached_int32((number, 26), device)
    assert table() is not None
    del graphs
    gc.collect()
    assert table() is None


def test_tables_of_a_recording_that_fails_are_forgotten() -> None:
    """A GPU would not have computed them, as a capture executes nothing."""
    device, made = torch.device("cpu"), list[torch.Tensor]()

    def fails() -> None:
        made.append(sine_position_embedding(2, 7, 8, device))
        raise RuntimeError("it fails later")

    graphs = step_graphs.StepGraphs(TapeRecorder())
    graphs.run("kind", lambda: None)
    with pytest.raises(RuntimeError, match="later"):
        graphs.run("kind", fails, 2)
    tried, ran = made
    assert tried is not ran
    assert sine_position_embedding(2, 7, 8, device) is ran


def test_a_table_that_a_recording_computes_is_its_own() -> None:
    """On a GPU, the table would be empty until the first replay, and other recordings would overwrite it."""
    device, made = torch.device("cpu"), list[torch.Tensor]()
    graphs = step_graphs.StepGraphs(TapeRecorder())
    graphs.run("kind", lambda: None)
    graphs.run("kind", lambda: made.append(sine_position_embedding(2, 9, 8, device)), 2)
    other = sine_position_embedding(2, 9, 8, device)
    assert other is not made[0]
    graphs.run("kind", lambda: made.append(sine_position_embedding(2, 9, 8, device)), 3)
    assert made[1] is other  # one that was there is shared
    assert sine_position_embedding(2, 9, 8, device) is other


def test_the_tape_detects_work_that_involves_the_host() -> None:
    """A wait, a copy of a list, or a counter on the host would make the tests above fail."""
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


def test_the_tape_detects_results_in_a_recordings_own_memory() -> None:
    """On a GPU, another recording may overwrite them."""
    values, found = torch.zeros(3), list[torch.Tensor]()
    replay, _ = TapeRecorder().record(lambda: found.append(values.add_(1) * 2))
    assert found[0].isnan().all()
    replay()
    assert found[0].isnan().all()
    assert values.eq(1).all()
