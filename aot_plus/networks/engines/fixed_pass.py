"""Runs forward and backward on tensors that stay where they are, so that a CUDA graph can replay both.

It also runs on a CPU. Either way, the results are those of the function that it is given.
"""

from collections.abc import Callable, Hashable, Iterable
from functools import partial

import torch
from torch import nn

from aot_plus.networks.engines.fixed_tensors import copied
from aot_plus.networks.engines.step_graphs import StepGraphs
from aot_plus.networks.engines.training import Clips, TrainOutput

__all__ = ["FixedPass", "Learn"]


Learn = Callable[[Clips, bool], TrainOutput]
"""Runs clips forward and backward; gradients add up in the weights. The flag: predictions are committed."""


class FixedPass:
    """Runs a ``Learn`` function; from the second batch of a shape on, the host launches all its work at once.

    Gradients stay in the same tensors, too. As without this class, a weight has a gradient only if the
    function reached it: weights that a pass leaves out do not change.
    """

    def __init__(
        self, learn: Learn, weights: Iterable[nn.Parameter], device: torch.device, graphs: StepGraphs
    ) -> None:
        self._learn = learn
        self._device = device
        self._graphs = graphs
        self._clips: dict[Hashable, Clips] = {}  # by their shape
        self._outputs: dict[Hashable, TrainOutput] = {}  # by the clips' shape
        self._gradients = {weight: torch.zeros_like(weight) for weight in weights if weight.requires_grad}
        self._reached: dict[Hashable, set[nn.Parameter]] = {}  # by shape and flag, as recordings are
        self._touched: set[nn.Parameter] = set()
        for weight in self._gradients:
            weight.register_post_accumulate_grad_hook(self._touched.add)  # a replay does not call the hook

    def run(self, clips: Clips, sequential: bool) -> TrainOutput:
        """Runs the function on ``clips``, which may be on the host, and returns a copy of its output."""
        shape = clips.images.shape
        self._clips[shape] = copied(clips, self._clips.get(shape), self._device)
        key = shape, sequential
        lent = self._lend_gradients(self._reached.get(key, self._gradients))
        # One warm-up serves both flags: another would need the memory of a step besides the recording's.
        self._graphs.run(shape, partial(self._piece, shape, sequential), sequential)
        for weight in lent - self._reached.setdefault(key, set(self._touched)):
            weight.grad = None
        self._touched.clear()  # the weights' hooks refer to the set: a cycle would keep the weights alive
        return copied(self._outputs[shape], None, self._device)

    @property
    def is_recorded(self) -> bool:
        """Returns whether batches are captured, or will be."""
        return not self._graphs.stopped

    def _piece(self, shape: Hashable, sequential: bool) -> None:
        output = self._learn(self._clips[shape], sequential)
        self._outputs[shape] = copied(output, self._outputs.get(shape), self._device)

    def _lend_gradients(self, weights: Iterable[nn.Parameter]) -> set[nn.Parameter]:
        """Gives each weight without a gradient a zero gradient, and returns these weights."""
        lent = {weight for weight in weights if weight.grad is None}
        for weight in lent:
            weight.grad = self._gradients[weight]
        if lent:
            torch._foreach_zero_([self._gradients[weight] for weight in lent])
        return lent
