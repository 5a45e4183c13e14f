"""Wraps torchvision's ResNets and MobileNetV2 as encoders, with torchvision's parameter names."""

from collections.abc import Callable

import torchvision
from torch import Tensor, nn
from torchvision.ops.misc import FrozenBatchNorm2d

from aot_plus.networks.encoders.base import Encoder

__all__ = ["FrozenBatchNorm2d", "MobileNetV2Encoder", "ResNetEncoder"]

Norm = Callable[[int], nn.Module]  # builds a norm from its number of channels


class ResNetEncoder(Encoder):
    """Runs a ResNet up to its third stage, whose map is also the fourth level: there is no ``layer4``."""

    stages = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",))

    def __init__(self, name: str, norm: Norm) -> None:
        """Builds torchvision's ``name``, such as ``resnet50``, without the stages after the third."""
        super().__init__()
        network = torchvision.models.get_model(name, norm_layer=norm)
        self.conv1, self.bn1, self.relu, self.maxpool = (
            network.get_submodule(part) for part in ("conv1", "bn1", "relu", "maxpool")
        )
        self.layer1, self.layer2, self.layer3 = network.layer1, network.layer2, network.layer3
        width = network.fc.in_features // 8  # each stage is twice as wide as the one before
        self.channels = (width, 2 * width, 4 * width, 4 * width)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Computes the four levels of ``B x 3 x H x W`` normalised images."""
        quarter = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(images)))))
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        return [quarter, eighth, sixteenth, sixteenth]


class MobileNetV2Encoder(Encoder):
    """Runs MobileNetV2 with output stride 16: the last stride is 1, and the blocks after it are dilated."""

    channels = (24, 32, 96, 1280)
    ends = (4, 7, 14, 19)  # where each level ends in ``features``
    stages = (
        ("features.0",),
        *(
            tuple(f"features.{i}" for i in range(start, end))
            for start, end in zip((1, *ends), ends, strict=False)
        ),
    )

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.features = torchvision.models.mobilenet_v2(norm_layer=norm).features
        for index in range(14, 18):
            depthwise = self.features[index].conv[1][0]
            depthwise.stride = (1, 1)
            if index > 14:
                depthwise.dilation = depthwise.padding = (2, 2)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Computes the four levels of ``B x 3 x H x W`` normalised images."""
        levels = []
        for start, end in zip((0, *self.ends), self.ends, strict=False):
            images = self.features[start:end](images)
            levels.append(images)
        return levels
