"""A policy's choice as a tensor: labels, banks and traces are the same, and no frame waits for it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from aot_plus.configs import Config
from aot_plus.networks.layers.memory_types import KeyValue
from aot_plus.networks.memory.bank import MemoryBank
from aot_plus.networks.memory.policies import MemoryPolicy, build_policy
from aot_plus.utils.device import HostCopy
from tests.test_segmenter import _segmenter, _squares, _video

DROPS = [[1, 2], [0, 1], [2, 0], [1, 1]]


def _entry(frame: int) -> list[KeyValue]:
    keys = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(frame))
    return [KeyValue(keys, 10 * keys), KeyValue(-keys, keys[..., :2])]


def test_a_bank_written_by_index_tensors_is_the_same() -> None:
    plain, indexed = MemoryBank(capacity=3), MemoryBank(capacity=3)
    embedding = torch.arange(12.0).view(3, 4)
    for frame in range(3):
        for bank in (plain, indexed):
            bank.append(_entry(frame), frame)
    place = indexed.layer(0).keys.data_ptr()
    for frame, dropped in enumerate(DROPS, start=3):
        plain.append(_entry(frame), frame, dropped)
        indexed.append(_entry(frame), frame, torch.tensor(dropped))
        for bank in (plain, indexed):
            bank.embed(embedding)
        for layer in (0, 1):
            for mine, other in zip(indexed.as_read(layer), plain.as_read(layer), strict=True):
                assert torch.equal(mine, other)
        assert torch.equal(indexed.order, plain.order)
        if frame % 2:  # otherwise, the frame numbers are not read between two appends
            assert indexed.frames == plain.frames
    assert indexed.frames == plain.frames
    assert indexed.layer(0).keys.data_ptr() == place


def test_a_bank_saved_before_the_choice_is_known_holds_it() -> None:
    bank, copy = MemoryBank(capacity=2), MemoryBank(capacity=2)
    for frame in range(2):
        bank.append(_entry(frame), frame)
    bank.append(_entry(2), 2, torch.tensor([0, 1]))
    copy.load_state_dict(bank.state_dict())
    assert copy.frames == [[1, 2], [0, 2]]
    assert torch.equal(copy.layer(0).keys, bank.layer(0).keys)


def _changed(change: Callable[[Any], Any]) -> Callable[[Config], MemoryPolicy]:
    """Returns a builder of a config's policy whose choices have their type changed by ``change``."""

    def build(cfg: Config) -> MemoryPolicy:
        policy = build_policy(cfg)
        drop = policy.drop
        policy.drop = lambda append: change(drop(append))  # type: ignore[method-assign]
        return policy

    return build


@pytest.mark.parametrize("policy", ["emfs", "rmem", "fifo", "random", "uniform"])
def test_choices_on_the_device_give_the_same_video(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are several groups of objects, one of which starts with a mask in the middle of the video."""
    video, later, outcomes = _video(3, frames=12), _squares([*[0] * 15, 20, *range(30, 39)]), []
    for change in (int, torch.as_tensor):
        monkeypatch.setattr("aot_plus.networks.engines.inference.build_policy", _changed(change))
        entries: list[dict[str, object]] = []
        segmenter = _segmenter(MEM_POLICY=policy, LATTER_MEM_LEN=2, trace=entries.append)
        labels = [segmenter.start(video[0], _squares(list(range(1, 13))), memory_gap=1)]
        for frame, image in enumerate(video[1:], start=1):
            labels.append(segmenter.step(image, later if frame == 5 else None))
        outcomes.append(([one.tolist() for one in labels], segmenter.banks, entries))
    assert any(entry["dropped"] is not None for entry in outcomes[0][2])
    assert len(outcomes[0][1]) == 3
    assert outcomes[0] == outcomes[1]


def test_a_choice_may_be_a_tensor_for_some_groups_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter(range(100))
    mixed = _changed(lambda position: torch.as_tensor(position) if next(turns) % 2 else int(position))
    banks = []
    for build in (build_policy, mixed):
        monkeypatch.setattr("aot_plus.networks.engines.inference.build_policy", build)
        segmenter = _segmenter(LATTER_MEM_LEN=2)
        segmenter.start(_video(3)[0], _squares(list(range(1, 13))), memory_gap=1)
        for image in _video(3)[1:]:
            segmenter.step(image)
        banks.append(segmenter.banks)
    assert banks[0] == banks[1]


def test_the_host_waits_for_a_choice_only_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[HostCopy] = []

    class Watched(HostCopy):
        def wait(self) -> Tensor:
            waits.append(self)
            return super().wait()

    monkeypatch.setattr("aot_plus.networks.memory.bank.HostCopy", Watched)
    segmenter, video = _segmenter(LATTER_MEM_LEN=1), _video(3, frames=10)
    segmenter.start(video[0], _squares([1, 2]), memory_gap=3)
    for image in video[1:]:
        segmenter.step(image)
    assert not waits
    assert segmenter.banks == [[0, 9]]
    assert len(waits) == 1
