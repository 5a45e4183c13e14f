"""The policies spread, lfu and readmem, the write gate, and policies that decline frames."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from aot_plus.networks.engines.saved_state import restored_batches
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.memory.policies import (
    Append,
    FifoPolicy,
    MemoryPolicy,
    ReadStatistics,
    UniformPolicy,
    WriteGate,
    build_policy,
)
from aot_plus.networks.memory.scores import aligned_similarity, prediction_quality
from aot_plus.utils.errors import ConfigError
from tests.fake_cuda import needs_fake_cuda
from tests.test_memory_policies import append_of, config, decide, reading
from tests.test_segmenter import _segmenter, _squares, _video

# --- spread


def test_spread_weighs_relevance_and_room() -> None:
    policy = build_policy(config("spread", MEM_SPREAD_POWER=1.0))
    read = [0.4, 0.1, 0.3, 0.2]
    assert decide(policy, append_of([5, 15, 17, 25], 45, reading(read))) == 1
    room = np.array([20, 12, 10, 28]) / 17.5
    assert policy.last_scores["room"].tolist() == pytest.approx(room.tolist())
    assert policy.last_scores["score"].tolist() == pytest.approx((read * room).tolist())
    # The average keeps 0.8 of the old value; the newest frame starts with its own relevance.
    assert decide(policy, append_of([5, 17, 25, 45], 46, reading([0.4, 0.1, 0.1, 0.4]))) == 2
    relevance = [0.4, 0.8 * 0.3 + 0.2 * 0.1, 0.8 * 0.2 + 0.2 * 0.1, 0.4]
    assert policy.last_scores["relevance"].tolist() == pytest.approx(relevance)


def test_spread_without_relevance_is_uniform() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        frames = sorted(rng.choice(100, 9, replace=False).tolist())
        append = append_of(frames, 100, reading(rng.dirichlet(np.ones(9)).tolist()))
        dropped = decide(build_policy(config("spread", MEM_SPREAD_POWER=0.0)), append)
        assert dropped == decide(UniformPolicy(config("uniform")), append)


# --- lfu


def test_lfu_drops_the_least_attended_since_stored() -> None:
    policy = build_policy(config("lfu"))
    policy.observe(append_of([0], 5, reading([1.0]), overflows=False))
    policy.observe(append_of([0, 5], 10, reading([0.2, 0.8]), overflows=False))
    assert decide(policy, append_of([0, 5, 10], 15, reading([0.5, 0.1, 0.4]))) == 2
    assert policy.last_scores["mean"].tolist() == pytest.approx([1.7 / 3, 0.45, 0.4])
    assert decide(policy, append_of([0, 5, 15], 20, reading([0.2, 0.3, 0.5]))) == 1  # forgets frame 10
    assert policy.last_scores["reads"].tolist() == [4, 3, 1]


# --- readmem


def looking(keys: Tensor, new_keys: Tensor) -> Any:
    statistics = ReadStatistics(torch.full((1, len(keys)), 1 / len(keys)), keys, torch.ones(1), new_keys)
    return lambda: statistics


def one_token(*directions: tuple[float, float, float]) -> Tensor:
    """Returns keys T x 1 x 3."""
    return torch.tensor(directions)[:, None]


def test_similarity_follows_tokens_that_have_moved() -> None:
    keys = 50 * torch.eye(6)
    moved = aligned_similarity(torch.stack([keys, keys[torch.tensor([3, 4, 5, 0, 1, 2])], -keys]), keys)
    assert moved[:2].tolist() == pytest.approx([1, 1])
    assert moved[2] < 0.1


def test_readmem_swaps_only_for_diversity_and_keeps_to_the_reference() -> None:
    policy = build_policy(config("readmem", MEM_READMEM_FLOOR=0.3))
    first, near, far = (1.0, 0.0, 0.0), (0.9, 0.436, 0.0), (0.5, 0.2, 0.843)
    seen = [first]
    for frame, new in enumerate([near, far], start=1):
        append = append_of(list(range(frame)), frame, looking(one_token(*seen), one_token(new)[0]))
        append.overflows = False
        assert policy.keep(append)
        policy.observe(append)
        seen.append(new)

    def offered(frame: int, new: tuple[float, float, float]) -> Append:
        return append_of([0, 1, 2], frame, looking(one_token(*seen), one_token(new)[0]))

    assert not policy.keep(offered(3, (0.1, 0.0, 0.99)))  # unlike the reference
    assert not policy.keep(offered(4, (0.95, 0.312, 0.0)))  # like frame 1, which it would replace
    assert policy.last_facts["log determinant"] > policy.last_scores["log determinant"][1:].max()
    append = offered(5, (0.6, 0.8, 0.0))
    assert policy.keep(append)
    assert decide(policy, append) == 1


def test_readmem_compares_with_the_reference_alone() -> None:
    """A frame that looks like the reference again has not drifted, whatever came in between."""
    policy = build_policy(config("readmem", MEM_READMEM_FLOOR=0.3))
    stored = one_token((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    append = append_of([0, 5], 10, looking(stored, torch.tensor([[0.99, 0.0, 0.141]])))
    append.overflows = False
    assert policy.keep(append)
    assert float(policy.last_scores["similarity"][1]) < 0.3


def test_readmem_goes_on_swapping_where_all_frames_are_equal() -> None:
    """A still scene has no diversity to lose: the memory stays recent."""
    policy, frames = build_policy(config("readmem")), [0]
    for frame in range(1, 7):
        keys = one_token(*[(1.0, 0.0, 0.0)] * len(frames))
        append = append_of(list(frames), frame, looking(keys, keys[0]))
        append.overflows = len(frames) == 3
        assert policy.keep(append)
        assert np.isfinite(policy.last_facts["log determinant"])
        policy.observe(append)
        if append.overflows:
            frames.pop(policy.drop(append))
        frames.append(frame)
    assert frames == [0, 5, 6]


def test_readmems_diversity_never_falls() -> None:
    rng = torch.Generator().manual_seed(0)
    policy, stored, before = build_policy(config("readmem")), {0: torch.rand(5, 4, generator=rng)}, -1e9
    swaps = 0
    for frame in range(1, 60):
        new = torch.rand(5, 4, generator=rng)
        append = append_of(list(stored), frame, looking(torch.stack(list(stored.values())), new))
        append.overflows = len(stored) == 4
        if not policy.keep(append):
            continue
        policy.observe(append)
        if append.overflows:
            assert policy.last_facts["log determinant"] >= before - 1e-9
            before = policy.last_facts["log determinant"]
            del stored[append.frames[policy.drop(append)]]
            swaps += 1
        stored[frame] = new
    assert swaps > 3


@needs_fake_cuda
@pytest.mark.filterwarnings("ignore:Accessing the data pointer")  # of a fake tensor
def test_readmem_goes_on_on_a_gpu_from_a_saved_state() -> None:
    """It compares on the CPU, but a saved video resumes with all its tensors on the device."""
    policy, resumed = build_policy(config("readmem")), build_policy(config("readmem"))
    policy.observe(append_of([0], 1, looking(one_token((1.0, 0.0, 0.0)), torch.tensor([[0.8, 0.6, 0.0]]))))
    saved = [{"groups": [0], "memory": {}, "policies": [policy.state_dict()]}]
    memory = SimpleNamespace(load_state_dict=lambda state: None)
    batch = SimpleNamespace(memory=memory, policies=[resumed])
    engine: Any = SimpleNamespace(new_batch=lambda groups: batch)
    with FakeTensorMode(allow_non_fake_inputs=True):  # as if there were a GPU
        restored_batches(saved, engine, torch.device("cuda"))
    tensors = [value for value in vars(resumed).values() if isinstance(value, Tensor)]
    assert [(tensor.device.type, tensor.shape) for tensor in tensors] == [("cpu", (2, 2))]


# --- the write gate


def shown(quality: float) -> Tensor:
    """Returns class probabilities 2 x 4 with three object tokens of probability ``quality``; none if 0."""
    object_ = torch.tensor([quality] * 3 + [0.1]) if quality else torch.full((4,), 0.2)
    return torch.stack([1 - object_, object_])


def test_quality_is_the_mean_top_probability_of_the_objects() -> None:
    assert float(prediction_quality(torch.tensor([[0.1, 0.3, 0.9], [0.9, 0.7, 0.1]]))) == pytest.approx(0.8)
    assert float(prediction_quality(shown(0))) == 0


def test_the_gate_measures_by_the_first_frames() -> None:
    gate = build_policy(config("fifo", MEM_WRITE_GATE=0.75))
    assert isinstance(gate, WriteGate)

    def passes(quality: float) -> bool:
        append = append_of([0, 5, 10], 15)
        append.read_probabilities = lambda: shown(quality)
        return gate.keep(append)

    assert not passes(0)  # shows no object, and does not count as one of the first frames
    assert [passes(quality) for quality in (0.9, 0.8, 0.7)] == [True] * 3
    assert [passes(quality) for quality in (0.61, 0.59, 0.0)] == [True, False, False]
    assert gate.last_facts == {"quality": 0.0, "needed": pytest.approx(0.6)}
    fresh = build_policy(config("fifo", MEM_WRITE_GATE=0.75))
    fresh.load_state_dict(gate.state_dict())
    assert fresh.state_dict() == gate.state_dict()
    assert decide(fresh, append_of([0, 5, 10], 15)) == 1  # the policy's choice


def test_a_gate_out_of_range_is_an_error() -> None:
    with pytest.raises(ConfigError, match="MEM_WRITE_GATE"):
        build_policy(config("fifo", MEM_WRITE_GATE=1.5))


def test_the_gate_passes_on_what_the_policy_says() -> None:
    gate = build_policy(config("emfs", MEM_WRITE_GATE=0.5))
    plain = build_policy(config("emfs"))
    append = append_of([0, 5, 10], 15, reading([0.5, 0.1, 0.4]))
    assert decide(gate, append) == decide(plain, append)
    assert gate.explain() == plain.explain()
    assert gate.averages == plain.averages
    assert not build_policy(config("unbounded", MEM_WRITE_GATE=0.5)).bounded


class Sometimes(FifoPolicy):
    """Explains every second frame that it observes."""

    shown = 0

    def observe(self, append: Append) -> None:
        self.shown += 1
        if self.shown % 2:
            self.last_scores = {"read": torch.ones(len(append.frames))}
            self.last_facts = {"shown": float(self.shown)}


def test_the_policy_behind_the_gate_does_not_repeat_explanations() -> None:
    trace: list[dict[str, Any]] = []
    policy = {"MEM_POLICY": f"{__name__}:Sometimes", "MEM_WRITE_GATE": 0.01}
    _run(_segmenter(**policy, trace=trace.append), 10, [1])
    assert ["read" in line for line in trace] == [True, False, True, False]
    assert ["shown" in line["facts"] for line in trace] == [True, False, True, False]


def gated(append: Append) -> Append:
    """Makes the frame pass the gate."""
    append.read_probabilities = lambda: shown(0.9)
    return append


def test_the_policy_behind_the_gate_may_decline() -> None:
    gate = build_policy(config(f"{__name__}:Never", MEM_WRITE_GATE=0.5))
    assert not gate.keep(gated(append_of([0, 5, 10], 15)))
    assert gate.last_facts["quality"] >= gate.last_facts["needed"]  # the gate did not decline it


def test_the_gates_facts_come_with_the_policys() -> None:
    gate = build_policy(config("readmem", MEM_WRITE_GATE=0.5))
    keys = one_token((1.0, 0.0, 0.0), (0.6, 0.8, 0.0))
    append = gated(append_of([0, 5], 10, looking(keys, keys[0])))
    gate.keep(append)
    assert set(gate.last_facts) == {"quality", "needed", "log determinant"}
    gate.observe(append)
    assert set(gate.last_facts) == {"quality", "needed", "log determinant"}


# --- what a policy sees of a frame, in a video


class Seen(FifoPolicy):
    """Traces the highest probability of an id beyond the group's second object."""

    def observe(self, append: Append) -> None:
        self.last_facts = {"third": float(append.probabilities()[3:].max())}


def test_ids_that_no_object_has_are_improbable_in_the_last_group() -> None:
    trace: list[dict[str, Any]] = []
    _run(_segmenter(MEM_POLICY=f"{__name__}:Seen", trace=trace.append), 5, list(range(1, 13)))
    third = [(line["group"], line["facts"]["third"]) for line in trace]
    assert [group for group, _ in third] == [0, 1] * 2
    assert all((value > 0) == (group == 0) for group, value in third)


# --- frames that are declined, in a video


class Every(FifoPolicy):
    """Keeps every second frame that it is offered."""

    may_decline = True

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.offered = 0

    def keep(self, append: Append) -> bool:
        self.offered += 1
        self.last_facts = {"offered": float(self.offered)}
        return self.offered % 2 == 0


class Never(FifoPolicy):
    """Keeps nothing, so ``observe`` must not be called."""

    may_decline = True

    def keep(self, append: Append) -> bool:
        return False

    def observe(self, append: Append) -> None:
        raise AssertionError("a declined frame is not appended")


def _run(segmenter: VideoSegmenter, frames: int, ids: list[int]) -> None:
    video = _video(3, frames)
    segmenter.start(video[0], _squares(ids), memory_gap=2)
    for image in video[1:]:
        segmenter.step(image)


def test_a_declined_frame_is_not_stored_and_traced() -> None:
    trace: list[dict[str, Any]] = []
    segmenter = _segmenter(MEM_POLICY=f"{__name__}:Every", trace=trace.append)
    _run(segmenter, 14, [1, 2])
    assert segmenter.banks == [[0, 4, 8, 12]]  # the gap is kept: every second frame is offered
    assert [line["frame"] for line in trace if "declined" in line] == [2, 6, 10]
    assert [line["facts"]["offered"] for line in trace] == [1, 2, 3, 4, 5, 6]
    assert all(line["dropped"] is None for line in trace)


class Scored(Every):
    """Scores the stored frames when a frame is appended."""

    def observe(self, append: Append) -> None:
        self.last_scores = {"read": torch.ones(len(append.frames))}


def test_a_declined_frame_does_not_get_the_scores_of_another() -> None:
    trace: list[dict[str, Any]] = []
    _run(_segmenter(MEM_POLICY=f"{__name__}:Scored", trace=trace.append), 10, [1])
    assert [len(line.get("read", [])) for line in trace] == [0, 1, 0, 2]


def test_a_given_mask_does_not_get_the_quality_of_another_frame() -> None:
    trace: list[dict[str, Any]] = []
    segmenter = _segmenter(MEM_POLICY="fifo", MEM_WRITE_GATE=0.01, trace=trace.append)
    video, mask = _video(3, 4), _squares([1])
    segmenter.start(video[0], mask, memory_gap=1)
    for frame, image in enumerate(video[1:], start=1):
        segmenter.step(image, mask if frame == 2 else None)
    assert ["quality" in line.get("facts", {}) for line in trace] == [True, False, True]


def test_a_given_mask_is_stored_whatever_the_policy_says() -> None:
    segmenter = _segmenter(MEM_POLICY=f"{__name__}:Never")
    _run(segmenter, 6, [1])
    assert segmenter.banks == [[0]]


def test_a_frame_is_stored_if_one_of_several_groups_keeps_it() -> None:
    segmenter = _segmenter(MEM_POLICY=f"{__name__}:First")
    _run(segmenter, 6, list(range(1, 13)))
    assert segmenter.banks == [[0, 2, 4], [0, 2, 4]]


class First(FifoPolicy):
    """Keeps every frame in the first group and declines all frames in the others."""

    may_decline = True
    made = itertools.count()

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.number = next(First.made)

    def keep(self, append: Append) -> bool:
        return self.number == 0


@pytest.mark.parametrize("policy", ["spread", "lfu", "readmem"])
def test_the_policies_run_on_a_video_and_go_on_from_a_saved_state(policy: str) -> None:
    overrides: dict[str, Any] = {"MEM_POLICY": policy, "LATTER_MEM_LEN": 2, "MEM_WRITE_GATE": 0.01}
    video, through, other = _video(4, 14), _segmenter(**overrides), _segmenter(**overrides)
    through.start(video[0], _squares([1, 2]), memory_gap=1)
    for image in video[1:8]:
        through.step(image)
    other.load_state_dict(through.state_dict())
    for image in video[8:]:
        assert (through.step(image) == other.step(image)).all()
    assert through.banks == other.banks
    assert 1 < len(through.banks[0]) <= 3


def test_policies_do_not_decline_by_default() -> None:
    assert not MemoryPolicy.may_decline
    assert FifoPolicy(config("fifo")).keep(append_of([0], 1))
