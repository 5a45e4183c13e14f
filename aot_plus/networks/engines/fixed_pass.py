"""Runs forward and backward on tensors that stay where they are, so that a CUDA graph can repeat both.

On a CPU the same can be called; it does what the function that it is given does.
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
"""Adds the gradients of clips to those of the weights. The flag: predictions are committed."""


class FixedPass:
    """Runs a ``Learn`` function; from the second batch of a shape on, the host launches all its work at once.

    Gradients stay in the same tensors too. A weight has one only if the function reached it, as without this
    class: weights that a pass leaves out do not change.
    """

    def __init__(
        self, learn: Learn, weights: Iterable[nn.Parameter], device: torch.device, graphs: StepGraphs
    ) -> None:
        self._learn = learn
        self._device = device
        self._graphs = graphs
        self._clips: dict[Hashable, Clips] = {}  # by their shape
        self._outputs: dict[Hashable, TrainOutput] = {}  # the same
        self._gradients = {weight: torch.zeros_like(weight) for weight in weights if weight.requires_grad}
        self._reached: dict[Hashable, set[nn.Parameter]] = {}  # by recording
        self._touched: set[nn.Parameter] = set()
        for weight in self._gradients:
            weight.register_post_accumulate_grad_hook(self._touched.add)  # a replay does not call it

    def run(self, clips: Clips, sequential: bool) -> TrainOutput:
        """Does what the function does with ``clips``, which may be on the host; the results are copies."""
        shape = tuple(clips.images.shape)
        self._clips[shape] = copied(clips, self._clips.get(shape), self._device)
        key = shape, sequential
        lent = self._lend_gradients(self._reached.get(key, self._gradients))
        # One warm-up serves both ways: another would need the memory of a step beside the recording's.
        self._graphs.run(shape, partial(self._piece, shape, sequential), sequential)
        for weight in lent - self._reached.setdefault(key, set(self._touched)):
            weight.grad = None
        self._touched.clear()  # it would keep the weights alive: they hold it, by their hooks
        return copied(self._outputs[shape], None, self._device)

    @property
    def is_recorded(self) -> bool:
        """Tells whether batches are recorded, or will be."""
        return not self._graphs.stopped

    def _piece(self, shape: Hashable, sequential: bool) -> None:
        output = self._learn(self._clips[shape], sequential)
        self._outputs[shape] = copied(output, self._outputs.get(shape), self._device)

    def _lend_gradients(self, weights: Iterable[nn.Parameter]) -> set[nn.Parameter]:
        """Gives each weight without a gradient one of zeros, and returns those weights."""
        lent = {weight for weight in weights if weight.grad is None}
        for weight in lent:
            weight.grad = self._gradients[weight]
        if lent:
            torch._foreach_zero_([self._gradients[weight] for weight in lent])
        return lent
