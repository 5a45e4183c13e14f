"""Notices that a model was moved or converted while a segmenter uses it."""

from collections.abc import Iterator

import torch
from torch import nn

from aot_plus.utils.errors import ConfigError

__all__ = ["WeightPlaces"]


class WeightPlaces:
    """Remembers where a model's weights are: CUDA graphs go on reading them there, whatever is there by then.

    They change with ``model.cpu()``, ``model.half()`` and the like, but not with ``load_state_dict``.
    """

    def __init__(self, model: nn.Module) -> None:
        # Their dictionaries: a parameter may be replaced as well as get other data. To look for them in the
        # whole model would take several times as long, and this is done for every frame.
        self._holders = [
            (module._parameters, name) for module in model.modules() for name in module._parameters
        ]
        self._kind = self._kind_now()
        self._addresses = self._addresses_now()

    def have_changed(self) -> bool:
        """Returns whether the weights are elsewhere in memory than at the last call; never waits for a GPU.

        Raises ``ConfigError`` if they are on another device or in another number format than at first.
        """
        addresses = self._addresses_now()
        if addresses == self._addresses:
            return False
        if (kind := self._kind_now()) != self._kind:
            first, now = (f"in {' and '.join(sorted(map(_name, each)))}" for each in (self._kind, kind))
            raise ConfigError(
                f"VideoSegmenter: expected the model where the segmenter found it first, {first}; "
                f"it is {now}: move it back, or make another segmenter"
            )
        self._addresses = addresses
        return True

    def _weights(self) -> Iterator[nn.Parameter]:
        found = (parameters[name] for parameters, name in self._holders)
        return (weight for weight in found if weight is not None)

    def _addresses_now(self) -> list[int]:
        return [weight.data_ptr() for weight in self._weights()]

    def _kind_now(self) -> set[tuple[torch.dtype, torch.device]]:
        return {(weight.dtype, weight.device) for weight in self._weights()}


def _name(kind: tuple[torch.dtype, torch.device]) -> str:
    return f"{str(kind[0]).removeprefix('torch.')} on {kind[1]}"
