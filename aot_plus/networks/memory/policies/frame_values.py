"""Keeps a value per stored frame on the memory's device, for memory policies."""

from collections.abc import Mapping

import torch
from torch import Tensor

NOBODY = -1  # a frame number that no frame has


class FrameValues:
    """Keeps a value per frame on the device, found by the frame's number.

    Only ``as_dict`` makes the host wait.

    Attributes:
        numbers: S int64, NOBODY where there is no frame; S is 0 before the first values.
        values: S.
    """

    def __init__(self) -> None:
        self.numbers = torch.empty(0, dtype=torch.long)
        self.values = torch.empty(0)

    def reserve(self, size: int, device: torch.device) -> None:
        """Keeps up to ``size`` values, in tensors that stay where they are from now on."""
        if len(self.numbers) == size:
            return
        before, values = self.numbers, self.values
        self.numbers = torch.full((size,), NOBODY, device=device)
        self.values = torch.zeros(size, device=device)
        self.numbers[: len(before)] = before
        self.values[: len(values)] = values

    def forget(self) -> None:
        """Forgets all values; the tensors stay."""
        self.numbers.fill_(NOBODY)

    def find(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the values of frames (T int64), 0 where there is none, and which have one (T bool)."""
        if not len(self.numbers):  # they may not be on the memory's device yet
            return torch.zeros_like(numbers, dtype=torch.float32), torch.zeros_like(numbers, dtype=torch.bool)
        same = numbers[:, None] == self.numbers  # T x S
        return torch.where(same, self.values, 0).sum(dim=1), same.any(dim=1)

    def replace(self, numbers: Tensor, values: Tensor) -> None:
        """Replaces all values with these (T), of the frames ``numbers`` (T int64)."""
        if len(self.numbers) < len(numbers):
            self.numbers, self.values = numbers.clone(), values.clone()
            return
        self.forget()
        self.numbers[: len(numbers)].copy_(numbers)
        self.values[: len(values)].copy_(values)

    def as_dict(self) -> dict[int, float]:
        """Returns the values by frame number. Waits for the device."""
        pairs = zip(self.numbers.tolist(), self.values.tolist(), strict=True)
        return {number: value for number, value in pairs if number != NOBODY}

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the tensors, not copies."""
        return {"numbers": self.numbers, "values": self.values}

    def load_state_dict(self, state: Mapping[str, Tensor | None]) -> None:
        """Takes over the tensors of a ``state_dict``, in which None stands for no values."""
        numbers, values = state["numbers"], state["values"]
        if numbers is not None and values is not None:
            self.numbers, self.values = numbers, values
