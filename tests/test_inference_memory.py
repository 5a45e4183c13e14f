"""A running video's memory: what is read, what policies are shown of it, and that it does not grow."""

import copy
import itertools
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from aot_plus.networks.engines.inference import GroupBatch, InferenceEngine, VideoState
from aot_plus.networks.memory.gap import memory_gap
from aot_plus.networks.memory.policies import Append, FifoPolicy, ReadStatistics
from aot_plus.networks.memory.scores import attention_per_frame, class_probabilities
from aot_plus.networks.models import AOT, build_model
from aot_plus.networks.models.prepare import prepare_for_inference
from aot_plus.utils.config import get_config

CAPACITY = 3
OVERRIDES = {"LATTER_MEM_LEN": CAPACITY - 1, "USE_TEMPORAL_POSITIONAL_EMBEDDING": True}
NAMES = ["aott", "deaott"]


@cache
def _model(name: str, device: str) -> AOT:
    torch.manual_seed(0)
    return prepare_for_inference(build_model(get_config("pre_vost_2", name, overrides=OVERRIDES))).to(device)


def _engine(name: str, device: str = "cpu") -> InferenceEngine:
    model = _model(name, device)
    return InferenceEngine(model, model.cfg)


def _start(engine: InferenceEngine, *, num_objects: int = 2, memory_gap: int = 1) -> VideoState:
    device = next(engine.model.parameters()).device
    labels = torch.zeros(33, 49, dtype=torch.int)
    for number in range(1, num_objects + 1):
        labels[number : number + 5, 2 * number : 2 * number + 20] = number
    return engine.start(_image(0).to(device), labels.to(device), num_objects, memory_gap)


def _image(frame: int) -> Tensor:
    return torch.randn(1, 3, 33, 49, generator=torch.Generator().manual_seed(frame))


def _step(engine: InferenceEngine, state: VideoState, image: Tensor) -> Tensor:
    """Returns the labels at 1/4 resolution, having committed them at the input's size."""
    prediction = engine.predict(state, image)
    labels = prediction.logits[0].argmax(dim=0)
    engine.commit(state, prediction, _enlarged(labels))
    return labels


def _enlarged(labels: Tensor) -> Tensor:
    return labels.repeat_interleave(4, 0).repeat_interleave(4, 1)[:33, :49].int()


def _read_keys(engine: InferenceEngine, batch: GroupBatch, group: int) -> Tensor:
    """Returns layer 0's stored keys of a group with their temporal embedding, oldest frame first."""
    bank = batch.memory.bank
    rows = engine.model.memory_embedding(len(bank))
    assert rows is not None
    return bank.layer(0).keys[group][bank.order[group]] + rows[:, None]


def _num_bytes(state: VideoState) -> int:
    storages: dict[int, int] = {}
    for batch in state.batches:
        layers = [batch.memory.bank.layer(index) for index in range(len(batch.memory.read()))]
        pairs = [pair for layer in batch.memory.read() for pair in layer]
        for tensor in (tensor for pair in [*layers, *pairs] for tensor in pair):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_the_keys_that_are_read_follow_the_bank(name: str) -> None:
    """Keys are cached with their temporal embedding; they must belong to the frames now in the bank."""
    engine = _engine(name)
    state = _start(engine, num_objects=12)  # two groups, whose policies may drop different frames
    for frame in range(1, CAPACITY + 4):
        _step(engine, state, _image(frame))
        (batch,) = state.batches
        for group in range(2):
            expected = _read_keys(engine, batch, group)
            torch.testing.assert_close(batch.memory.chronological_keys(group), expected)
            read = batch.memory.read()[0].long.keys[group].unflatten(0, (len(batch.memory.bank), -1))
            torch.testing.assert_close(read[batch.memory.bank.order[group]], expected)
    assert len(batch.memory.bank) == CAPACITY
    assert len(_start(engine).batches[0].memory.bank) == 1


@pytest.mark.parametrize("name", ["aott", "deaots"])  # deaott's only layer reads nothing but the frame
def test_a_frame_with_a_given_mask_is_stored_like_a_first_frame(name: str) -> None:
    """It reads only itself, so its entry does not depend on the frames before it."""
    engine = _engine(name)
    state = _start(engine)
    prediction = engine.predict(state, _image(1))
    labels = _enlarged(prediction.logits[0].argmax(dim=0))
    engine.commit(state, prediction, labels, num_objects=2)
    alone = engine.start(_image(1), labels, 2, memory_gap=1)
    (memory,), (expected,) = ([batch.memory for batch in one.batches] for one in (state, alone))
    for index, (layer, first) in enumerate(zip(memory.read(), expected.read(), strict=True)):
        assert all(torch.equal(*pair) for pair in zip(layer.short, first.short, strict=True))
        stored, reference = memory.bank.layer(index), expected.bank.layer(index)
        assert all(torch.equal(one[:, 1], other[:, 0]) for one, other in zip(stored, reference, strict=True))


class Noting(FifoPolicy):
    """Notes what it is shown. Every second object of the class drops the newest frame, not the oldest."""

    made = itertools.count()

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.number = next(Noting.made)
        self.noted: tuple[list[int], list[int], ReadStatistics, Tensor] | None = None

    def observe(self, append: Append) -> None:
        self.noted = append.frames, append.droppable, append.statistics(), append.probabilities()

    def drop(self, append: Append) -> int:
        return append.droppable[-(self.number % 2)]


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_each_groups_policy_is_shown_its_own_memory_and_prediction(name: str) -> None:
    """Two of the three groups start later than the first one, and their banks differ in the end."""
    engine = _engine(name)
    engine.cfg = copy.copy(engine.cfg)
    engine.cfg.MEM_POLICY, engine.cfg.LATTER_MEM_LEN = f"{__name__}:Noting", 4
    state, given = _start(engine), {2: 25, 4: 25}  # numbers of objects, by the frames with a mask
    for frame in range(1, 10):
        prediction = engine.predict(state, _image(frame))
        before = [
            (batch, group, batch.memory.bank.frames[group], _read_keys(engine, batch, group))
            for batch in state.batches
            for group in range(len(batch.groups))
        ]
        labels = _enlarged(prediction.logits[0].argmax(dim=0))
        engine.commit(state, prediction, labels, num_objects=given.get(frame))
        for batch, group, frames, keys in before:
            logits = prediction.logits[batch.groups[group]]
            own = prediction.propagations[0 if batch is before[0][0] else 1].first_keys[group]
            queries = own + engine.model.cur_pos_emb
            attention = attention_per_frame(queries[None], keys[None], engine.model.attention_heads)[0]
            probabilities = class_probabilities(logits, prediction.features.size)
            seen_frames, droppable, seen, seen_probabilities = batch.policies[group].noted
            assert seen_frames == frames
            free = [position for position, number in enumerate(frames) if number not in (0, *given)]
            assert droppable == (free or list(range(1, len(frames))))
            torch.testing.assert_close(
                (seen.attention, seen.keys, seen.foreground, seen.new_keys, seen_probabilities),
                (attention, keys, 1 - probabilities[0], queries, probabilities),
            )
    assert len({tuple(frames) for frames in state.banks}) == 3


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_memory_does_not_grow_with_the_video(name: str) -> None:
    engine = _engine(name)
    state = _start(engine)
    sizes = []
    for frame in range(1, 25):
        _step(engine, state, _image(frame))
        sizes.append(_num_bytes(state))
    assert sizes[0] > 0
    assert set(sizes[CAPACITY:]) == {sizes[CAPACITY]}
    assert state.batches[0].memory.num_bytes == sizes[-1]


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_the_last_frame_is_written_in_place(name: str) -> None:
    engine = _engine(name)
    state = _start(engine)
    places = []
    for frame in (1, 2):
        _step(engine, state, _image(frame))
        tensors = [tensor for layer in state.batches[0].memory.read() for tensor in layer.short]
        places.append([tensor.data_ptr() for tensor in tensors])
    assert places[0] == places[1]


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_what_is_kept_of_a_frame_has_its_own_storage(name: str) -> None:
    """A view of a larger tensor would keep that tensor's whole storage alive."""
    engine = _engine(name)
    prediction = engine.predict(_start(engine), _image(1))
    for frame in prediction.propagations[0].kept:
        tensors = [tensor for tensor in vars(frame).values() if tensor is not None]
        assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize(
    ("frames", "gap"), [(None, 5), (1, 5), (150, 5), (165, 6), (195, 6), (300, 10), (2000, 67)]
)
def test_memory_gap(frames: int | None, gap: int) -> None:
    assert memory_gap(get_config("pre_vost_2", "aott"), frames) == gap  # 5.5 -> 6, 6.5 -> 6: half to even
    fixed = get_config("pre_vost_2", "aott", overrides={"TEST_MEM_GAP_BY_LENGTH": False})
    assert memory_gap(fixed, frames) == fixed.TEST_LONG_TERM_MEM_GAP
