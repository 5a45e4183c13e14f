"""Caches tables that are computed once per size; users that need them longer can hold them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = ["held", "kept_table", "table_of"]

P = ParamSpec("P")
T = TypeVar("T")

_KEPT = 8  # most recently used tables of each kind
_forget: list[Callable[[], None]] = []  # clears the cache of each kind
_holding: ContextVar[list[Any] | None] = ContextVar("holding", default=None)


def kept_table(compute: Callable[P, T]) -> Callable[P, T]:
    """Caches the tables that ``compute`` returned most recently; its arguments must be hashable.

    Training and inference share them: do not change them in place.
    """
    compute_once = lru_cache(maxsize=_KEPT)(compute)
    _forget.append(compute_once.cache_clear)

    @wraps(compute)
    def table(*args: P.args, **kwargs: P.kwargs) -> T:
        with torch.inference_mode(False):
            found = compute_once(*args, **kwargs)  # type: ignore[arg-type]
        holder = _holding.get()
        if holder is not None:
            holder.append(found)
        return found

    return table


@kept_table
def table_of(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Returns numbers as a cached int32 tensor: the host would wait for a copy to a GPU each time."""
    return torch.tensor(values, dtype=torch.int32, device=device)


@contextmanager
def held() -> Iterator[list[Any]]:
    """Collects the tables used in the block: they live as long as the list, even if the caches evict them.

    If the block fails, all caches are cleared: tables made in an aborted capture were never computed.
    """
    tables: list[Any] = []
    token = _holding.set(tables)
    try:
        yield tables
    except BaseException:
        for forget in _forget:
            forget()
        raise
    finally:
        _holding.reset(token)
