"""Asks a memory policy and checks its answers: a user's own policy may return or raise anything."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from aot_plus.networks.memory.policies.base import Append, MemoryPolicy
from aot_plus.utils.device import is_on_host
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.own_classes import own_errors

__all__ = ["ask_to_drop", "ask_to_keep", "policy_errors"]

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def policy_errors(name: str) -> AbstractContextManager[None]:
    """Turns an error of a user's own policy, ``MEM_POLICY``, into a ``ConfigError``, as ``own_errors`` does.

    A GPU that is out of memory does not count as an error of the policy.
    """
    return own_errors("MEM_POLICY", name, torch.OutOfMemoryError)


def ask_to_keep(policy: MemoryPolicy, append: Append, name: str) -> bool:
    """Returns whether to store the frame; asks the policy only if it may decline frames.

    ``name``: ``MEM_POLICY``. Raises ``ConfigError`` for an answer that is neither True nor False.
    """
    if not policy.may_decline:
        return True
    with policy_errors(name):
        kept = policy.keep(append)
    if isinstance(kept, bool | np.bool_) or (isinstance(kept, Tensor) and _is_plain(kept, [torch.bool])):
        return bool(kept)
    raise ConfigError(f"MEM_POLICY {name!r}: keep() must return True or False, found {_shown(kept)}")


def ask_to_drop(policy: MemoryPolicy, append: Append, name: str) -> int | Tensor | None:
    """Shows a policy the frame, and asks it for the position to drop; returns None if there is room.

    The host never waits for a device: of a tensor on another device, only type and shape are checked.
    ``name``: ``MEM_POLICY``. Raises ``ConfigError`` for an answer that is not a droppable position.
    """
    with policy_errors(name):
        policy.observe(append)
        if not append.overflows:
            return None
        position = policy.drop(append)
    if isinstance(position, Tensor):
        whole = _is_plain(position, _INTEGERS)
        if whole and not is_on_host(position):
            return position
    else:
        whole = isinstance(position, Integral) and not isinstance(position, bool)
    allowed = _known_droppable(append)
    if whole and int(position) in allowed:
        return position if isinstance(position, Tensor) else int(position)
    raise ConfigError(
        f"MEM_POLICY {name!r}: drop() must return one of append.droppable, {list(allowed)} here, "
        f"as an int or an int64 tensor without dimensions, found {_shown(position)}"
    )


def _known_droppable(append: Append) -> Sequence[int]:
    """Lists the positions that may be dropped, or all after the first if the host would have to wait."""
    if "droppable" in vars(append) or is_on_host(append.may_drop):
        return append.droppable
    return range(1, len(append.may_drop))


def _is_plain(tensor: Tensor, types: Sequence[torch.dtype]) -> bool:
    return tensor.ndim == 0 and tensor.dtype in types


def _shown(value: object) -> str:
    """Describes an answer in short, with a tensor's content only if it is a single number on the host."""
    if not isinstance(value, Tensor):
        return f"{value!r:.100} ({type(value).__name__})"
    content = f" {value.item()}" if value.ndim == 0 and is_on_host(value) else ""
    return f"a tensor{content} of {value.dtype} with the shape {tuple(value.shape)}"
