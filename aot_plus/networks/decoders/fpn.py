"""Decodes the transformer's output with an FPN into logits at a quarter of the input's size."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aot_plus.networks.layers.basic import ConvGN


class FPNDecoder(nn.Module):
    """Decodes in three levels, each fused with the encoder's features by a 1x1 adapter."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        encoder_channels: Sequence[int],
        *,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.channels_last = False  # memory format of the maps
        self.conv_in = ConvGN(in_channels, hidden, 1)
        self.conv_16x = ConvGN(hidden, hidden, 3)
        self.conv_8x = ConvGN(hidden, hidden // 2, 3)
        self.conv_4x = ConvGN(hidden // 2, hidden // 2, 3)
        quarter, eighth, sixteenth = encoder_channels[:3]
        self.adapter_16x = nn.Conv2d(sixteenth, hidden, 1)
        self.adapter_8x = nn.Conv2d(eighth, hidden, 1)
        self.adapter_4x = nn.Conv2d(quarter, hidden // 2, 1)
        self.conv_out = nn.Conv2d(hidden // 2, out_channels, 1)

    def adapt(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Reduces the encoder's maps at 1/4, 1/8 and 1/16 (``B x c x . x .``) to what decoding needs.

        The results are half as large, and nothing else must be kept until the frame is decoded.
        """
        adapters = self.adapter_4x, self.adapter_8x, self.adapter_16x
        return [adapter(level) for adapter, level in zip(adapters, levels, strict=True)]

    def forward(self, x: Tensor, adapted: Sequence[Tensor]) -> Tensor:
        """Computes the logits of every id.

        Args:
            x: ``G x in_channels x h x w``.
            adapted: the frame's maps from ``adapt``, each ``B x c x . x .`` with B = G, or B = 1 if the G
                groups of objects share one frame.

        Returns:
            ``G x out_channels x H/4 x W/4``.
        """
        quarter, eighth, sixteenth = adapted
        # Maps made from tokens have their channels last.
        x = x.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)
        x = torch.relu_(self.conv_in(x))
        x = torch.relu_(self.conv_16x(sixteenth + x))
        x = self._resize(x, eighth).add_(eighth)
        x = torch.relu_(self.conv_8x(x))
        x = self._resize(x, quarter).add_(quarter)
        x = torch.relu_(self.conv_4x(x))
        return self.conv_out(x.to(self.conv_out.weight.dtype))

    def _resize(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=self.align_corners)
