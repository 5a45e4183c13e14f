"""A running video's memory: what is read, what policies are shown of it, and that it does not grow."""

import copy
import itertools
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from aot_plus.networks.engines.inference import GroupBatch
from aot_plus.networks.engines.views import VideoViews
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


def _video(name: str, device: str = "cpu", **values: object) -> VideoViews:
    """Returns a video in one view, which has not started. ``values``: of the config."""
    model = _model(name, device)
    cfg = copy.copy(model.cfg)
    vars(cfg).update(values)
    return VideoViews(model, cfg, (33, 49), [(33, 49)])


def _start(video: VideoViews, *, num_objects: int = 2, memory_gap: int = 1) -> VideoViews:
    labels = torch.zeros(33, 49, dtype=torch.int)
    for number in range(1, num_objects + 1):
        labels[number : number + 5, 2 * number : 2 * number + 20] = number
    video.start(_pixels(0), labels.to(video.device), num_objects, memory_gap)
    return video


def _pixels(frame: int) -> list[Tensor]:
    return [255 * torch.rand(33, 49, 3, generator=torch.Generator().manual_seed(frame))]


def _step(video: VideoViews, pixels: list[Tensor]) -> Tensor:
    """Returns the labels at 1/4 resolution, having committed them at the input's size."""
    (prediction,) = video.predict(pixels)
    labels = prediction.logits[0].argmax(dim=0)
    video.commit([prediction], _enlarged(labels))
    return labels


def _enlarged(labels: Tensor) -> Tensor:
    return labels.repeat_interleave(4, 0).repeat_interleave(4, 1)[:33, :49].int()


def _read_keys(video: VideoViews, batch: GroupBatch, group: int) -> Tensor:
    """Returns layer 0's stored keys of a group with their temporal embedding, oldest frame first."""
    bank = batch.memory.bank
    rows = video.model.memory_embedding(len(bank))
    assert rows is not None
    return bank.layer(0).keys[group][bank.order[group]] + rows[:, None]


def _num_bytes(video: VideoViews) -> int:
    storages: dict[int, int] = {}
    for batch in video.batches:
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
    video = _start(_video(name), num_objects=12)  # two groups, whose policies may drop different frames
    for frame in range(1, CAPACITY + 4):
        _step(video, _pixels(frame))
        (batch,) = video.batches
        for group in range(2):
            expected = _read_keys(video, batch, group)
            torch.testing.assert_close(batch.memory.chronological_keys(group), expected)
            read = batch.memory.read()[0].long.keys[group].unflatten(0, (len(batch.memory.bank), -1))
            torch.testing.assert_close(read[batch.memory.bank.order[group]], expected)
    assert len(batch.memory.bank) == CAPACITY
    (batch,) = _start(video, num_objects=12).batches
    assert len(batch.memory.bank) == 1


@pytest.mark.parametrize("name", ["aott", "deaots"])  # deaott's only layer reads nothing but the frame
def test_a_frame_with_a_given_mask_is_stored_like_a_first_frame(name: str) -> None:
    """It reads only itself, so its entry does not depend on the frames before it."""
    video, alone = _start(_video(name)), _video(name)
    (prediction,) = video.predict(_pixels(1))
    labels = _enlarged(prediction.logits[0].argmax(dim=0))
    video.commit_reference([prediction], labels, num_objects=2)
    alone.start(_pixels(1), labels, 2, memory_gap=1)
    (memory,), (expected,) = ([batch.memory for batch in one.batches] for one in (video, alone))
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
    video = _start(_video(name, MEM_POLICY=f"{__name__}:Noting", LATTER_MEM_LEN=4))
    given = {2: 25, 4: 25}  # numbers of objects, by the frames with a mask
    for frame in range(1, 10):
        (prediction,) = video.predict(_pixels(frame))
        before = [
            (batch, group, batch.memory.bank.frames[group], _read_keys(video, batch, group))
            for batch in video.batches
            for group in range(len(batch.groups))
        ]
        labels = _enlarged(prediction.logits[0].argmax(dim=0))
        if frame in given:
            video.commit_reference([prediction], labels, given[frame])
        else:
            video.commit([prediction], labels)
        for batch, group, frames, keys in before:
            logits = prediction.logits[batch.groups[group]]
            own = prediction.propagations[0 if batch is before[0][0] else 1].first_keys[group]
            queries = own + video.model.cur_pos_emb
            attention = attention_per_frame(queries[None], keys[None], video.model.attention_heads)[0]
            probabilities = class_probabilities(logits, prediction.features.size)
            seen_frames, droppable, seen, seen_probabilities = batch.policies[group].noted
            assert seen_frames == frames
            free = [position for position, number in enumerate(frames) if number not in (0, *given)]
            assert droppable == (free or list(range(1, len(frames))))
            torch.testing.assert_close(
                (seen.attention, seen.keys, seen.foreground, seen.new_keys, seen_probabilities),
                (attention, keys, 1 - probabilities[0], queries, probabilities),
            )
    assert len({tuple(frames) for frames in video.views[0].engine.banks}) == 3


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_memory_does_not_grow_with_the_video(name: str) -> None:
    video = _start(_video(name))
    sizes = []
    for frame in range(1, 25):
        _step(video, _pixels(frame))
        sizes.append(_num_bytes(video))
    assert sizes[0] > 0
    assert set(sizes[CAPACITY:]) == {sizes[CAPACITY]}
    assert video.batches[0].memory.num_bytes == sizes[-1]


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_the_last_frame_is_written_in_place(name: str) -> None:
    video = _start(_video(name))
    places = []
    for frame in (1, 2):
        _step(video, _pixels(frame))
        tensors = [tensor for layer in video.batches[0].memory.read() for tensor in layer.short]
        places.append([tensor.data_ptr() for tensor in tensors])
    assert places[0] == places[1]


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_what_is_kept_of_a_frame_has_its_own_storage(name: str) -> None:
    """A view of a larger tensor would keep that tensor's whole storage alive."""
    (prediction,) = _start(_video(name)).predict(_pixels(1))
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
