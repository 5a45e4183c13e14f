"""ResNets up to their third stage (He et al., 2016; strides in the 3x3 convolutions).

Parameters are called as torchvision calls them, so that its ImageNet weights load.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aot_plus.networks.encoders.norm import Norm

STAGES = {18: (2, 2, 2), 50: (3, 4, 6), 101: (3, 4, 23)}  # blocks of each
WIDTHS = (64, 128, 256)
STEM = 64  # channels


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = norm(width)
        self.downsample = _shortcut(inputs, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """``B x inputs x h x w`` to ``B x width x h/stride x w/stride``."""
        out = torch.relu_(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return torch.relu_(out.add_(self.downsample(x)))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, beside a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = norm(outputs)
        self.downsample = _shortcut(inputs, outputs, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """``B x inputs x h x w`` to ``B x 4 width x h/stride x w/stride``."""
        out = torch.relu_(self.bn1(self.conv1(x)))
        out = torch.relu_(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return torch.relu_(out.add_(self.downsample(x)))


def _shortcut(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
    """The identity, or where the shape changes a 1x1 convolution."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))


class ResNetEncoder(nn.Module):
    """Four feature levels, the last one repeating the third: there is no ``layer4``.

    Channels: 256, 512, 1024, 1024; ResNet-18 64, 128, 256, 256.
    """

    def __init__(self, depth: int, norm: Norm) -> None:
        """``depth``: 18, 50 or 101."""
        super().__init__()
        block = BasicBlock if depth == 18 else Bottleneck
        self.conv1 = nn.Conv2d(3, STEM, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(STEM)
        channels = [STEM, *(width * block.expansion for width in WIDTHS)]
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(
                block(inputs, width, stride, norm),
                *(block(width * block.expansion, width, 1, norm) for _ in range(blocks - 1)),
            )
            for inputs, width, stride, blocks in zip(channels, WIDTHS, (1, 2, 2), STAGES[depth], strict=False)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """``B x 3 x H x W`` normalised images to the four levels."""
        quarter = self.layer1(self._stem(images))
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        return [quarter, eighth, sixteenth, sixteenth]

    def _stem(self, images: Tensor) -> Tensor:
        """``B x 3 x H x W`` to ``B x 64 x H/4 x W/4``."""
        return F.max_pool2d(torch.relu_(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
