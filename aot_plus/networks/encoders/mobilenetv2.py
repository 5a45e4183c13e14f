"""MobileNetV2 (Sandler et al., 2018) with output stride 16.

Parameters are called as torchvision calls them, so that its ImageNet weights load.
"""

from torch import Tensor, nn

from aot_plus.networks.encoders.norm import Norm

STEM, HEAD = 32, 1280  # channels
GROUPS = (  # of blocks: expansion, channels, blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
OUTPUT_STRIDE = 16  # from there on, what would be a stride dilates the blocks after it
LEVELS = ((0, 4), (4, 7), (7, 14), (14, None))  # of ``features``


class ConvNormAct(nn.Sequential):
    """Convolution, norm, ReLU6."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        norm: Norm,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        padding = kernel // 2 * dilation
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
        super().__init__(conv, norm(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """Widens, convolves each channel by itself, and narrows; with a shortcut where the shape stays."""

    def __init__(
        self, inputs: int, outputs: int, norm: Norm, *, expansion: int, stride: int, dilation: int
    ) -> None:
        super().__init__()
        width = inputs * expansion
        self.has_shortcut = stride == 1 and inputs == outputs
        widen = [ConvNormAct(inputs, width, 1, norm)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            ConvNormAct(width, width, 3, norm, stride=stride, dilation=dilation, groups=width),
            nn.Conv2d(width, outputs, 1, bias=False),
            norm(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``B x inputs x h x w`` to ``B x outputs x h/stride x w/stride``."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


class MobileNetV2Encoder(nn.Module):
    """Feature levels of 24, 32, 96 and 1280 channels at 1/4, 1/8, 1/16 and 1/16 of the input."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        features: list[nn.Module] = [ConvNormAct(3, STEM, 3, norm, stride=2)]
        inputs, reached, dilation = STEM, 2, 1
        for expansion, outputs, blocks, stride in GROUPS:
            for step in (stride, *[1] * (blocks - 1)):
                kept = step if reached < OUTPUT_STRIDE else 1
                features.append(
                    InvertedResidual(
                        inputs, outputs, norm, expansion=expansion, stride=kept, dilation=dilation
                    )
                )
                inputs, reached, dilation = outputs, reached * kept, dilation * step // kept
        self.features = nn.Sequential(*features, ConvNormAct(inputs, HEAD, 1, norm))

    def forward(self, images: Tensor) -> list[Tensor]:
        """``B x 3 x H x W`` normalised images to the four levels."""
        levels = []
        for start, stop in LEVELS:
            images = self.features[start:stop](images)
            levels.append(images)
        return levels
