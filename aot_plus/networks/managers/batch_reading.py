"""Reads a training's batches, and names the errors of the processes that read clips (data workers)."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager

from aot_plus.dataloaders.clips import Batch
from aot_plus.utils.errors import ConfigError, DataError, ProcessError, VOSError, first_line

__all__ = ["deaths_of_workers", "read_batches"]


def read_batches(batches: Iterator[Batch]) -> Generator[Batch, None, None]:
    """Yields the batches of a loader's iterator, of which it must have the only reference.

    Closing it ends the workers. Raises a worker's ``ConfigError`` or ``DataError`` without its traceback.
    """
    try:
        yield from batches
    except (ConfigError, DataError) as error:  # a worker's has its traceback in the message
        kind = type(error)
        message = str(error).strip().splitlines()[-1]
        shown = message.removeprefix(f"{kind.__module__}.{kind.__name__}: ")
        raise kind(shown) from error.with_traceback(None)  # frames keep ``batches`` alive
    finally:
        # If this is left to the garbage collector, PyTorch waits 5 s in vain for each of its workers.
        del batches


@contextmanager
def deaths_of_workers(count: int) -> Iterator[None]:
    """Names the likely cause when a data worker was killed. PyTorch's signal handler raises at any point."""
    try:
        yield
    except (RuntimeError, ProcessError) as error:  # the latter if it was raised during an exchange
        if "DataLoader worker (pid" not in str(error):
            raise
        raise VOSError(
            f"DATA_WORKERS: one of {count} processes that read clips died ({first_line(error)}). Memory or "
            f"/dev/shm may be full; fewer processes need less: --overrides DATA_WORKERS={count // 2}"
        ) from error
