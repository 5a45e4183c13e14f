"""Claims a folder for the duration of a run, which may have several processes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import gethostname
from tempfile import NamedTemporaryFile

from aot_plus.networks.managers.processes import ProcessPlace, gather
from aot_plus.utils.errors import ConfigError, VOSError
from evaluation.folder_lock import FolderLock

__all__ = ["claim_folder"]


@contextmanager
def claim_folder(folder: Path, place: ProcessPlace, prepare: Callable[[], None]) -> Iterator[None]:
    """Creates and locks a folder for a run; the first process calls ``prepare`` before any continues.

    Raises in all processes: ``DataError`` if another run uses the folder, ``ConfigError`` if the processes do
    not share it, and any ``VOSError`` of ``prepare``.
    """
    with ExitStack() as held:
        problem: VOSError | None = None
        if place.rank == 0:
            try:
                _make(folder)
                lock = held.enter_context(FolderLock(folder))
                prepare()
                if place.world_size > 1:
                    lock.share()
            except VOSError as error:
                problem = error
        problems = [one for one in gather(place, problem) if one is not None]
        if problems:
            raise problems[0]
        if place.world_size > 1:
            _require_shared(folder, place)
        if place.rank > 0:  # so that the folder is locked until the last process has ended
            _make(folder)
            held.enter_context(FolderLock(folder, shared=True))
        yield
    gather(place, None)  # the folder is free when the first process continues


def _require_shared(folder: Path, place: ProcessPlace) -> None:
    """Raises ``ConfigError`` in all processes if any does not see a file that the first one writes there."""
    with ExitStack() as held:
        name = ""
        if place.rank == 0:  # a new name, which no file system has cached as missing
            file = held.enter_context(NamedTemporaryFile(prefix=".shared.", suffix=".partial", dir=folder))
            name = Path(file.name).name
        seen = (folder / gather(place, name)[0]).exists()
        answers = gather(place, (seen, f"process {place.rank} on {gethostname()}"))
    blind = [process for seen, process in answers if not seen]
    if blind:
        raise ConfigError(
            f"{folder}: expected a folder that all machines share; what the first process writes there is "
            f"not seen by {', '.join(blind)}"
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be used as the result folder ({error.strerror})") from error
