"""A policy's choice as a tensor: labels, banks and traces are the same, and no frame waits for it."""

import itertools
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
from tests.test_memory_bank import append
from tests.test_segmenter import _segmenter, _squares, _video

DROPS = [[1, 2], [0, 1], [2, 0], [1, 1]]


def _entry(frame: int) -> list[KeyValue]:
    keys = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(frame))
    return [KeyValue(keys, 10 * keys), KeyValue(-keys, keys[..., :2])]


def test_each_group_drops_its_own_frames() -> None:
    bank, kept = MemoryBank(capacity=3), [[0, 1, 2], [0, 1, 2]]
    embedding = torch.arange(12.0).view(3, 4)
    for frame in range(3):
        append(bank, _entry(frame), frame)
    place = bank.layer(0).keys.data_ptr()
    for frame, dropped in enumerate(DROPS, start=3):
        append(bank, _entry(frame), frame, dropped)
        for own, position in zip(kept, dropped, strict=True):
            del own[position]
            own.append(frame)
        bank.embed(embedding)
        for layer, group in itertools.product((0, 1), (0, 1)):
            keys, values = (tensor[group][bank.order[group]] for tensor in bank.as_read(layer))
            entries = [_entry(number)[layer] for number in kept[group]]
            assert torch.equal(
                keys, torch.stack([entry.keys[group] for entry in entries]) + embedding[:, None]
            )
            assert torch.equal(values, torch.stack([entry.values[group] for entry in entries]))
        if frame % 2:  # otherwise, the frame numbers are not read between two writes
            assert bank.frames == kept
    assert bank.frames == kept
    assert bank.layer(0).keys.data_ptr() == place


def test_a_bank_saved_before_the_choice_is_known_holds_it() -> None:
    bank, copy = MemoryBank(capacity=2), MemoryBank(capacity=2)
    for frame in range(2):
        append(bank, _entry(frame), frame)
    append(bank, _entry(2), 2, [0, 1])
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
