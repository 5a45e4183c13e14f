"""Encoders of a user's own, right and wrong, as ``tests.own_encoders:ClassName``."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn


class Pooled(nn.Module):
    """The smallest encoder: a convolution of averages over patches, for sides 16k."""

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
    """It has 8 channels at 1/4."""

    channels = (16, 8, 8, 8)


class ThreeLevels(Pooled):
    """It gives a level too few."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return super().forward(images)[:3]


class Failing(Pooled):
    """Its forward does not work."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.stem(images.flatten(1))


class NoChannels(nn.Module):
    """It does not say its channels."""


class CannotBeBuilt(Pooled):
    """It has a slip in it, of a kind that nobody thinks of."""

    def __init__(self) -> None:
        super().__init__()
        self.body = {"body": self.body}["boddy"]


class FractionalChannels(Pooled):
    """Its channels count no channels."""

    channels = (8.0, 8.0, 8.0, 8.0)  # type: ignore[assignment]


class OneByOne(Pooled):
    """It gives one level after another."""

    def forward(self, images: Tensor) -> Iterator[Tensor]:  # type: ignore[override]
        return iter(super().forward(images))


class Unfinished(Pooled):
    """Its forward fails in a way of its own."""

    def forward(self, images: Tensor) -> list[Tensor]:
        raise StopIteration


class MisspeltStages(Pooled):
    """It names a module that it has not: freezing this stage would freeze nothing."""

    stages = (("stemm",), ("body",))


class FlatStages(Pooled):
    """Its stages are names: of each, the letters would be taken for modules."""

    stages = ("stem", "body")  # type: ignore[assignment]


class Overflows(Pooled):
    """Its levels are too large for float16."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [level + 7e4 for level in super().forward(images)]


class InFull(Pooled):
    """It makes float32 of everything."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [level.float() for level in super().forward(images)]


class NormAct(nn.BatchNorm2d):
    """It has its activation in it, which a frozen batch norm has not."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class OwnNorm(Pooled):
    """It has a norm of its own class."""

    def __init__(self) -> None:
        super().__init__()
        self.stem[1] = NormAct(8)
