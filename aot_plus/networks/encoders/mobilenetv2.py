"""MobileNetV2 with output stride 16, from torchvision."""

from collections.abc import Callable

from torch import Tensor, nn
from torchvision.models import mobilenet_v2

LEVELS = ((0, 4), (4, 7), (7, 14), (14, None))
DILATED = slice(14, 18)  # blocks that run at 1/32 in the original


class MobileNetV2Encoder(nn.Module):
    """Feature levels of 24, 32, 96 and 1280 channels at 1/4, 1/8, 1/16 and 1/16 of the input."""

    def __init__(self, norm_layer: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None, norm_layer=norm_layer).features
        for index, block in enumerate(self.features[DILATED]):
            depthwise = block.conv[1][0]
            depthwise.stride = (1, 1)
            if index > 0:  # the first block keeps its dilation of 1
                depthwise.dilation = depthwise.padding = (2, 2)

    def forward(self, images: Tensor) -> list[Tensor]:
        """``B x 3 x H x W`` normalised images to the four levels."""
        levels = []
        for start, stop in LEVELS:
            images = self.features[start:stop](images)
            levels.append(images)
        return levels
