"""Caches tables that are computed once per size; users that need them longer can collect them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = ["cached_int32", "cached_table", "collect_tables"]

P = ParamSpec("P")
T = TypeVar("T")

_MAX_TABLES = 8  # most recently used tables of each kind
_cache_clears: list[Callable[[], None]] = []  # clears the cache of each kind
_collected: ContextVar[list[Any] | None] = ContextVar("collected", default=None)


def cached_table(compute: Callable[P, T]) -> Callable[P, T]:
    """Caches the tables that ``compute`` returned most recently; its arguments must be hashable.

    Training and inference share them: do not change them in place.
    """
    compute_once = lru_cache(maxsize=_MAX_TABLES)(compute)
    _cache_clears.append(compute_once.cache_clear)

    @wraps(compute)
    def table(*args: P.args, **kwargs: P.kwargs) -> T:
        with torch.inference_mode(False):
            found = compute_once(*args, **kwargs)  # type: ignore[arg-type]
        collected = _collected.get()
        if collected is not None:
            collected.append(found)
        return found

    return table


@cached_table
def cached_int32(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Returns numbers as a cached int32 tensor: the host would wait for a copy to a GPU each time."""
    return torch.tensor(values, dtype=torch.int32, device=device)


@contextmanager
def collect_tables() -> Iterator[list[Any]]:
    """Collects the tables used in the block: they live as long as the list, even if the caches evict them.

    If the block fails, all caches are cleared: tables made in an aborted capture were never computed.
    """
    tables: list[Any] = []
    token = _collected.set(tables)
    try:
        yield tables
    except BaseException:
        for clear in _cache_clears:
            clear()
        raise
    finally:
        _collected.reset(token)
