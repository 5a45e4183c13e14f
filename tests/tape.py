"""A stand-in for a CUDA graph on a CPU: it records operations with their tensors and replays them."""

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
    """Records each operation with its arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self._changed: list[tuple[Tensor, Tensor]] = []  # each tensor with its content before the change

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _FROM_OR_TO_THE_HOST:
            raise RuntimeError(f"{function}: a GPU's graph has no host in it")
        changes = _written(function, args, kwargs or {})
        self._changed += [(tensor, tensor.clone()) for tensor in changes]
        result = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, result))
        return result

    def undo(self) -> None:
        """Restores the content that all tensors had before the first operation."""
        with torch._C._AutoDispatchBelowAutograd():
            for tensor, before in reversed(self._changed):
                tensor.copy_(before)
        self._changed.clear()

    def play(self) -> None:
        """Repeats every operation on the recorded tensors, and writes its results to the recorded results."""
        with torch._C._AutoDispatchBelowAutograd():  # the backward pass itself was recorded
            for function, args, kwargs, result in self.calls:
                again = function(*args, **kwargs)
                for before, now in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(before, Tensor) and _storage(before) != _storage(now):
                        before.copy_(now)

    def spoil(self) -> None:
        """Overwrites all that the operations allocated, as graphs do that share a GPU's memory pool."""
        with torch._C._AutoDispatchBelowAutograd():
            for tensor in self._allocated():
                if tensor.is_floating_point():
                    tensor.fill_(torch.nan)
                elif tensor.dtype == torch.bool:
                    tensor.logical_not_()
                else:
                    tensor.fill_(3)

    def _allocated(self) -> list[Tensor]:
        """Lists the results whose memory no earlier argument or result had."""
        seen, found = set[int](), list[Tensor]()
        for _, args, kwargs, result in self.calls:
            seen |= {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor) and leaf.numel() and _storage(leaf) not in seen:
                    seen.add(_storage(leaf))
                    found.append(leaf)
        return found


class TapeRecorder:
    """Records like ``CudaRecorder``.

    Code that depends on more than recorded tensors replays stale data. Results that are left in tensors which
    a piece allocated are overwritten.
    """

    def __init__(self) -> None:
        self.replays = 0
        self.freed = 0

    def warm_up(self, piece: Callable[[], None]) -> None:
        """Runs the piece."""
        piece()

    def record(self, piece: Callable[[], None]) -> tuple[Callable[[], None], int]:
        """Records the piece, and undoes what recording it computed."""
        tape = _Tape()
        with torch.random.fork_rng():
            try:
                with tape:
                    piece()
            finally:
                tape.undo()
                tape.spoil()

        def replay() -> None:
            self.replays += 1
            tape.play()
            tape.spoil()

        return replay, 1000

    def free(self) -> None:
        """Counts the calls."""
        self.freed += 1


def _written(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Lists the arguments that an operation changes."""
    places = function._schema.arguments
    given = dict(zip((place.name for place in places), args, strict=False)) | kwargs
    names = [place.name for place in places if place.is_write]
    if function == _ATEN.native_batch_norm.default:  # its schema does not declare these writes
        names += ["running_mean", "running_var"]
    leaves = tree_leaves([given.get(name) for name in names])
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
