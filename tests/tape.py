"""A CUDA graph's stand-in on a CPU: operations are written down with their tensors, and done again."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_ATEN = torch.ops.aten
_FROM_OR_TO_THE_HOST = (
    _ATEN.item.default,  # in inference mode; else it is the next
    _ATEN._local_scalar_dense.default,
    _ATEN.lift_fresh.default,
    _ATEN.nonzero.default,
    _ATEN.masked_select.default,
    _ATEN._unique2.default,
)


class _Tape(TorchDispatchMode):
    """Writes down each operation with its arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _FROM_OR_TO_THE_HOST:
            raise RuntimeError(f"{function}: a GPU's graph has no host in it")
        result = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, result))
        return result

    def play(self) -> None:
        """Does every operation again, on the tensors of then, and leaves its results where they were then."""
        with torch._C._AutoDispatchBelowAutograd():  # a backward pass is on the tape itself
            for function, args, kwargs, result in self.calls:
                again = function(*args, **kwargs)
                for before, now in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(before, Tensor) and _storage(before) != _storage(now):
                        before.copy_(now)


class TapeRecorder:
    """Records as ``CudaRecorder`` does. Whoever reads something that is not on the tape gets old results."""

    def __init__(self) -> None:
        self.replays = 0
        self.freed = 0

    def warm_up(self, piece: Callable[[], None]) -> None:
        """Runs the piece."""
        piece()

    def record(self, piece: Callable[[], None]) -> tuple[Callable[[], None], int]:
        """Writes the piece down; as that does its work, the first repetition is left out."""
        tape = _Tape()
        with tape:
            piece()
        todo = [lambda: None]

        def replay() -> None:
            self.replays += 1
            (todo.pop() if todo else tape.play)()

        return replay, 1000

    def free(self) -> None:
        """Counts the calls."""
        self.freed += 1


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
