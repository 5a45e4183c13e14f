"""Copies tensors in nested lists and dataclasses to tensors that stay where they are."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["copied", "tensors_in"]

T = TypeVar("T")


def copied(new: T, old: Any, device: torch.device) -> T:
    """Copies tensors in nested lists and dataclasses into those of ``old``, or to new ones if it is empty.

    New tensors keep the order of dimensions in memory: a GPU copies several times as fast if both agree.
    """
    found: Any = new
    if isinstance(found, Tensor):
        into = torch.empty_like(found, device=device) if old is None else old
        found = into.copy_(found, non_blocking=True)
    elif isinstance(found, list):
        found = [copied(one, had, device) for one, had in zip(found, old or [None] * len(found), strict=True)]
    elif is_dataclass(found) and not isinstance(found, type):
        values = {item.name: getattr(found, item.name) for item in fields(found)}
        held = {name: copied(value, getattr(old, name, None), device) for name, value in values.items()}
        found = replace(found, **held)
    return found


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yields the tensors in nested lists and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from tensors_in(one)
    elif is_dataclass(value):
        for item in fields(value):
            yield from tensors_in(getattr(value, item.name))
