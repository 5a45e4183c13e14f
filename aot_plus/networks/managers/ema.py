"""Keeps the exponential moving average of a model's weights, which is what gets evaluated."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn


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
        decay = final_decay(total_steps, ratio)

        def average(averaged: PARAM_LIST, current: PARAM_LIST, number: Tensor | int) -> None:
            # ``number`` is a copy on the weights' device; reading it would make the host wait.
            get_ema_multi_avg_fn(decay_at(int(self._average.n_averaged), decay))(averaged, current, number)

        self._average = AveragedModel(model, multi_avg_fn=average)
        self._average.requires_grad_(False).eval()
        # AveragedModel's first update would only copy, so the count starts at 1, one ahead of the updates.
        self._average.n_averaged.fill_(1)

    @property
    def model(self) -> nn.Module:
        """Returns the model with the averaged weights, in evaluation mode. Every ``update`` changes it."""
        return self._average.module

    @property
    def updates(self) -> int:
        """Returns the number of updates so far."""
        return int(self._average.n_averaged) - 1

    def update(self, model: nn.Module) -> None:
        """Moves the average towards ``model``, after an optimizer step."""
        self._average.update_parameters(model)

    def state_dict(self) -> dict[str, Any]:
        """Returns ``{"state_dict": the averaged model's, "updates": int}``."""
        return {"state_dict": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a state from ``state_dict``. Raises ``RuntimeError`` for missing or unexpected tensors."""
        self.model.load_state_dict(state["state_dict"])
        self._average.n_averaged.fill_(state["updates"] + 1)
