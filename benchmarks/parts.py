"""What the parts of a frame take, in seconds or in operations."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aot_plus.networks.engines.inference import InferenceEngine
from aot_plus.networks.layers.aot_block import AOTBlock
from aot_plus.networks.memory.policies import MemoryPolicy
from aot_plus.networks.models import AOT

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

Target = tuple[Any, str, str]  # an object or class, the name of its method, the part that the method is

OTHER = "other"


class Meter(Protocol):
    """What ``metered`` needs: a context for the time that a part runs."""

    def part(self, name: str) -> AbstractContextManager[None]: ...


class PartMeter:
    """Books what a reading rises by to the part that runs. Inside a part another may run: it is booked alone.

    The reading is a clock, or anything else that only rises.
    """

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._running: list[str] = []
        self._last = 0.0
        self.totals: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What runs in the block is booked to ``name``."""
        self._book()
        self._running.append(name)
        try:
            yield
        finally:
            self._book()
            self._running.pop()

    def take(self) -> dict[str, float]:
        """The totals since the last call."""
        totals, self.totals = dict(self.totals), defaultdict(float)
        return totals

    def _book(self) -> None:
        now = self._read()
        if self._running:
            self.totals[self._running[-1]] += now - self._last
        self._last = now


class LargestTensor(TorchDispatchMode):
    """Notes the largest storage of a tensor that is computed while a part runs. Parts must not be nested."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Tensors that are computed in the block count."""
        with self:
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs the operation and looks at what it gives."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return result


@contextmanager
def metered(meter: Meter, targets: Sequence[Target]) -> Iterator[None]:
    """Within the block every call of a target's method is booked to its part."""
    with ExitStack() as stack:
        for owner, name, part in targets:
            stack.enter_context(_wrapped(meter, owner, name, part))
        yield


@contextmanager
def _wrapped(meter: Meter, owner: Any, name: str, part: str) -> Iterator[None]:
    original = getattr(owner, name)
    own = vars(owner).get(name)  # None: inherited, or of the class of an instance

    @wraps(original)
    def method(*arguments: Any, **named: Any) -> Any:
        with meter.part(part):
            return original(*arguments, **named)

    setattr(owner, name, method)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def stage_targets(model: AOT) -> list[Target]:
    """The stages of a frame's inference, one after another."""
    stages: list[Target] = [(model, name, name) for name in ("encode", "propagate", "decode")]
    return [*stages, (InferenceEngine, "commit", "commit")]


def frame_targets(model: AOT, policy: type[MemoryPolicy]) -> list[Target]:
    """The parts of a frame's inference. What a layer does outside its attentions is its ``other``."""
    targets = [*stage_targets(model), *policy_targets(policy)]
    for index, block in enumerate(model.LSTT.layers):
        layer = f"layer{index}"
        targets.append((block, "forward", f"{layer}.{OTHER}"))
        for kind in ("self", "long_term", "short_term"):
            targets.append((getattr(block, f"{kind}_attn"), "forward", f"{layer}.{kind}"))
        if isinstance(block, AOTBlock):
            steps = (block.linear1, block.activation, block.linear2)
            targets += [(step, "forward", f"{layer}.feed_forward") for step in steps]
    return targets


def policy_targets(policy: type[MemoryPolicy]) -> list[Target]:
    """What a policy does at a write, with the statistics that it asks for."""
    return [(policy, "observe", "policy"), (policy, "drop", "policy")]


def operation_counter() -> "FlopCounterMode":
    """Counts the floating-point operations of matrix products, convolutions and fused attention.

    A multiplication and an addition are two. Norms, activations, softmax and resizing are not counted.
    """
    # Here, because it imports Triton: 75 MiB that would count as the network's.
    from torch.utils.flop_counter import FlopCounterMode

    fused_on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={fused_on_cpu: attention_operations})


def attention_operations(
    queries: Sequence[int], keys: Sequence[int], values: Sequence[int], *_: Any, **__: Any
) -> int:
    """Operations of attention by its shapes: ``B x H x N x d``, ``B x H x M x d``, ``B x H x M x e``.

    ``2 B H N M (d + e)``: the logits and the weighted sum. PyTorch's counter does not know the CPU's kernel.
    """
    batch, heads, num_queries, width = queries
    num_keys, value_width = values[2:]
    return 2 * batch * heads * num_queries * num_keys * (width + value_width)
