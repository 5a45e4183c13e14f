"""Keeps tables that are computed once for a size; those who still read them may hold them for longer."""

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

_KEPT = 8  # of each kind, those used last
_forget: list[Callable[[], None]] = []  # for each kind, what empties its cache
_holding: ContextVar[list[Any] | None] = ContextVar("holding", default=None)


def kept_table(compute: Callable[P, T]) -> Callable[P, T]:
    """Keeps the last tables that ``compute`` made, for arguments that can be hashed.

    They serve training as well as inference: do not change them in place.
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
    """Returns numbers as a kept int32 tensor: a copy to a GPU each time would have the host wait."""
    return torch.tensor(values, dtype=torch.int32, device=device)


@contextmanager
def held() -> Iterator[list[Any]]:
    """Collects the tables that the block uses: they live as long as the list, whatever else is computed.

    If the block fails, all tables are forgotten: a recording that was given up never computed those it made.
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
