"""Keeps the exponential moving average of a model's weights, which is what gets evaluated."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def final_decay(total_steps: int, ratio: float) -> float:
    """Computes a training's final decay, ``1 - 1 / (ratio * total_steps)`` (``TRAIN_EMA_RATIO``), >= 0."""
    return max(1.0 - 1.0 / (ratio * total_steps), 0.0)


def decay_at(update: int, decay: float) -> float:
    """Computes the decay of an update, counted from 1: ``min(decay, (1 + update) / (10 + update))``."""
    return min(decay, (1 + update) / (10 + update))


class ModelEMA:
    """Averages a model's weights: starts as a copy, which ``update`` moves towards the model after each step.

    Parameters are averaged (frozen ones do not change), buffers are copied from the model.
    """

    def __init__(self, model: nn.Module, total_steps: int, ratio: float) -> None:
        """``total_steps`` and ``ratio``: see ``final_decay``."""
        self._decay = final_decay(total_steps, ratio)
        self.model = copy.deepcopy(model).requires_grad_(False).eval()  # every ``update`` changes it
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the average towards ``model``, after an optimizer step.

        PyTorch's ``AveragedModel`` does the same, but copies its counter to a GPU, for which the host waits.
        """
        self.updates += 1
        average = get_ema_multi_avg_fn(decay_at(self.updates, self._decay))
        average(list(self.model.parameters()), list(model.parameters()), self.updates)
        for own, current in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(current)

    def state_dict(self) -> dict[str, Any]:
        """Returns ``{"state_dict": the averaged model's, "updates": int}``."""
        return {"state_dict": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a state from ``state_dict``. Raises ``RuntimeError`` for missing or unexpected tensors."""
        self.model.load_state_dict(state["state_dict"])
        self.updates = int(state["updates"])
