"""Valid and invalid custom encoders, used as ``tests.own_encoders:ClassName``."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn


class Pooled(nn.Module):
    """A minimal encoder: convolutions averaged over patches, for sides of 16k pixels."""

    channels = (8, 8, 8, 8)
    stages = (("stem",), ("body",))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.body = nn.Conv2d(8, 8, 1)
        nn.init.constant_(self.body.bias, 7)

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.body(self.stem(images))
        return [F.avg_pool2d(features, stride) for stride in (4, 8, 16, 16)]


class WrongChannels(Pooled):
    """Returns 8 channels at 1/4, but declares 16."""

    channels = (16, 8, 8, 8)


class ThreeLevels(Pooled):
    """Returns one level too few."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return super().forward(images)[:3]


class Failing(Pooled):
    """Fails in its forward pass."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.stem(images.flatten(1))


class NoChannels(nn.Module):
    """Does not declare its channels."""


class CannotBeBuilt(Pooled):
    """Fails in its constructor, with an error of an unusual type."""

    def __init__(self) -> None:
        super().__init__()
        self.body = {"body": self.body}["boddy"]


class FractionalChannels(Pooled):
    """Declares channels that are not integers."""

    channels = (8.0, 8.0, 8.0, 8.0)  # type: ignore[assignment]


class OneByOne(Pooled):
    """Returns an iterator over the levels."""

    def forward(self, images: Tensor) -> Iterator[Tensor]:  # type: ignore[override]
        return iter(super().forward(images))


class NeedsRoom(Pooled):
    """Fails for images that are smaller than those it is tried with."""

    def forward(self, images: Tensor) -> list[Tensor]:
        F.conv2d(images, images.new_zeros(1, 3, 48, 48))
        return super().forward(images)


class Unfinished(Pooled):
    """Raises an unusual error in its forward pass."""

    def forward(self, images: Tensor) -> list[Tensor]:
        raise StopIteration


class MisspeltStages(Pooled):
    """Names a module that does not exist: freezing this stage would freeze nothing."""

    stages = (("stemm",), ("body",))


class FlatStages(Pooled):
    """Declares stages that are strings: their letters would be taken for module names."""

    stages = ("stem", "body")  # type: ignore[assignment]


class Overflows(Pooled):
    """Returns levels whose values are too large for float16."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [level + 7e4 for level in super().forward(images)]


class InFull(Pooled):
    """Returns float32 whatever its inputs are."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [level.float() for level in super().forward(images)]


class NormAct(nn.BatchNorm2d):
    """Includes an activation, which a frozen batch norm does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class OwnNorm(Pooled):
    """Has a norm of a custom class."""

    def __init__(self) -> None:
        super().__init__()
        self.stem[1] = NormAct(8)
