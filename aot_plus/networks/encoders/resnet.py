"""ResNets up to their third stage, from torchvision."""

from collections.abc import Callable

from torch import Tensor, nn
from torchvision.models import resnet18, resnet50, resnet101


class ResNetEncoder(nn.Module):
    """Four feature levels, the last one repeating the third: there is no ``layer4``.

    Channels: 256, 512, 1024, 1024; ResNet-18 64, 128, 256, 256.
    """

    def __init__(self, depth: int, norm_layer: Callable[..., nn.Module]) -> None:
        super().__init__()
        build = {18: resnet18, 50: resnet50, 101: resnet101}[depth]
        net = build(weights=None, norm_layer=norm_layer)
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3 = net.layer1, net.layer2, net.layer3

    def forward(self, images: Tensor) -> list[Tensor]:
        """``B x 3 x H x W`` normalised images to the four levels."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        quarter = self.layer1(x)
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        return [quarter, eighth, sixteenth, sixteenth]
