"""The memory bank: frames with their numbers, reused storage, gradients in training."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from aot_plus.networks.layers.memory_types import KeyValue
from aot_plus.networks.memory.bank import DifferentiableBank, MemoryBank


def _entries(value: float, groups: int = 2) -> list[KeyValue]:
    """Returns one layer's entry, filled with ``value`` (plus 0.5 for the second group)."""
    keys = torch.full((groups, 3, 4), float(value))
    keys[1:] += 0.5
    return [KeyValue(keys, keys[..., :2] * 10)]


def append(
    bank: MemoryBank, entries: Sequence[KeyValue], frame: int, dropped: Sequence[int] = (0, 0)
) -> None:
    """Stores a frame; in a full bank it replaces those at the positions ``dropped``, one for each group."""
    bank.store(entries, torch.tensor(frame), torch.tensor(dropped), reference=False)
    bank.finish_store()


def _stored(bank: MemoryBank, group: int) -> list[float]:
    """Returns the values of a group's frames, oldest first."""
    keys = bank.layer(0).keys[group, :, 0, 0]
    return [float(keys[slot]) for slot in bank.order[group]]


@pytest.mark.parametrize("tokens", [1, 2])
def test_frames_may_have_a_token_or_two(tokens: int) -> None:
    """Images of 16 x 16 and 16 x 32 pixels give these without aligned corners."""
    bank = MemoryBank(capacity=2)
    for frame in (0, 5, 10):
        entry = _entries(frame)[0]
        append(bank, [KeyValue(entry.keys[:, :tokens], entry.values[:, :tokens])], frame, [1, 1])
    assert bank.frames == [[0, 10], [0, 10]]
    assert _stored(bank, 1) == [0.5, 10.5]


def test_groups_may_drop_different_frames() -> None:
    bank = MemoryBank(capacity=3)
    for frame in (0, 5, 10):
        append(bank, _entries(frame), frame)
    assert bank.is_full
    append(bank, _entries(15), 15, dropped=[1, 2])
    assert bank.frames == [[0, 10, 15], [0, 5, 15]]
    assert (_stored(bank, 0), _stored(bank, 1)) == ([0, 10, 15], [0.5, 5.5, 15.5])
    append(bank, _entries(20), 20, dropped=[0, 1])
    assert bank.frames == [[10, 15, 20], [0, 15, 20]]
    assert (_stored(bank, 0), _stored(bank, 1)) == ([10, 15, 20], [0.5, 15.5, 20.5])


def test_the_order_says_which_slot_is_how_old() -> None:
    bank = MemoryBank(capacity=3)
    for frame in (0, 1, 2):
        append(bank, _entries(frame), frame)
    append(bank, _entries(3), 3, dropped=[1, 0])
    # Group 0: slots hold frames 0, 3, 2; group 1: frames 3, 1, 2.
    assert bank.order.tolist() == [[0, 2, 1], [1, 2, 0]]


def test_a_full_bank_is_written_in_place() -> None:
    bank = MemoryBank(capacity=2)
    append(bank, _entries(0), 0)
    storage = bank.layer(0).keys.untyped_storage().data_ptr()
    append(bank, _entries(1), 1)
    for frame in range(2, 20):
        append(bank, _entries(frame), frame, dropped=[1, 1])
    assert bank.layer(0).keys.untyped_storage().data_ptr() == storage
    assert [tensor.shape[1] for tensor in bank.storage] == [2, 2]  # keys and values, no larger than needed
    assert bank.frames == [[0, 19], [0, 19]]


def _keys_with(bank: MemoryBank | DifferentiableBank, rows: Tensor) -> Tensor:
    """Returns the keys of layer 0 with a temporal embedding."""
    if isinstance(bank, DifferentiableBank):
        return bank.layer(0, rows).keys
    bank.embed(rows)
    return bank.as_read(0).keys


def _append(bank: MemoryBank | DifferentiableBank, frame: int, dropped: int = 0) -> None:
    """Appends a frame for both groups."""
    if isinstance(bank, DifferentiableBank):
        bank.append(_entries(frame), dropped)
    else:
        append(bank, _entries(frame), frame, [dropped] * 2)


@pytest.mark.parametrize("kind", [MemoryBank, DifferentiableBank])
def test_the_embedding_follows_the_frames_ranks(kind: type[MemoryBank] | type[DifferentiableBank]) -> None:
    bank = kind(capacity=3)
    rows = torch.tensor([[100.0], [200.0], [300.0]]).expand(3, 4)
    for frame in (0, 1, 2):
        _append(bank, frame)
        keys = _keys_with(bank, rows[: frame + 1])
        assert keys[0, :, 0, 0].tolist() == [100, 201, 302][: frame + 1]
    _append(bank, 3, dropped=1)  # slots of MemoryBank: frames 0, 3, 2
    order = [0, 2, 1] if kind is MemoryBank else [0, 1, 2]
    expected = [[100, 202, 303], [100.5, 202.5, 303.5]]
    assert _keys_with(bank, rows)[:, order, 0, 0].tolist() == expected
    assert bank.layer(0).keys[0, order, 0, 0].tolist() == [0, 2, 3]


def test_an_unbounded_bank_grows_and_keeps_everything() -> None:
    bank = MemoryBank(capacity=None)
    for frame in range(20):
        append(bank, _entries(frame), frame)
        assert _keys_with(bank, torch.full((frame + 1, 4), 100.0))[1, -1, 0, 0] == 100.5 + frame
    assert not bank.is_full
    assert bank.frames[1] == list(range(20))
    assert _stored(bank, 0) == list(range(20))
    assert bank.layer(0).values.shape == (2, 20, 3, 2)
    again = MemoryBank(capacity=None)
    again.load_state_dict(bank.state_dict())
    for one in (bank, again):
        append(one, _entries(20), 20)
    assert again.frames == bank.frames
    assert _stored(again, 1) == _stored(bank, 1)


def test_the_differentiable_bank_holds_the_same_and_passes_gradients() -> None:
    plain, differentiable = MemoryBank(capacity=3), DifferentiableBank(capacity=3)
    entries = [_entries(frame) for frame in range(6)]
    for (layer,) in entries:
        layer.keys.requires_grad_()
    for frame, entry in enumerate(entries):
        differentiable.append(entry, 1)
        copy = [KeyValue(*(tensor.detach() for tensor in entry[0]))]
        append(plain, copy, frame, [1, 1])
    assert plain.frames == [[0, 4, 5]] * 2
    for mine, other in zip(differentiable.layer(0), plain.layer(0), strict=True):
        assert torch.equal(mine[0], other[0, plain.order[0]])
    differentiable.layer(0).keys.sum().backward()
    reached = [entry[0].keys.grad is not None for entry in entries]
    assert reached == [True, False, False, False, True, True]
