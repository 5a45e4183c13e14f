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
_caches: list[Any] = []  # for each kind, a function with ``lru_cache``
_collected: ContextVar[list[Any] | None] = ContextVar("collected", default=None)


def cached_table(compute: Callable[P, T]) -> Callable[P, T]:
    """Caches the tables that ``compute`` returned most recently; its arguments must be hashable.

    Training and inference share them: do not change them in place. ``torch.compile`` ignores the cache, so
    they should be made on their device: a copy from the host in every frame would break a CUDA graph.
    """
    compute_once = lru_cache(maxsize=_MAX_TABLES)(compute)
    _caches.append(compute_once)

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

    If the block computes any, all caches are cleared: in a capture, only the replays compute them.
    """
    tables: list[Any] = []
    token, before = _collected.set(tables), _computed()
    try:
        yield tables
    finally:
        _collected.reset(token)
        if _computed() != before:
            for cache in _caches:
                cache.cache_clear()


def _computed() -> int:
    """Counts the tables that were computed since the caches were last cleared."""
    return sum(cache.cache_info().misses for cache in _caches)
