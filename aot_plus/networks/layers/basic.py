"""Small modules that several blocks share. Names of parameters are those of the published checkpoints."""

import torch
from torch import Tensor, nn

from aot_plus.networks.layers.processor import depthwise_in_float32


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """``B x N x C`` tokens as a ``B x C x h x w`` map."""
    return tokens.transpose(1, 2).unflatten(2, size)


def to_tokens(feature_map: Tensor) -> Tensor:
    """Flattens a ``B x C x h x w`` map to ``B x N x C`` tokens in row-major order."""
    return feature_map.flatten(2).transpose(1, 2)


class ConvGN(nn.Module):
    """Convolution that keeps the size, then GroupNorm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, groups: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
        self.gn = nn.GroupNorm(groups, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``B x in x h x w`` to ``B x out x h x w``."""
        return self.gn(self.conv(x))


class TokenGroupNorm(nn.Module):
    """GroupNorm over all tokens of a frame."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.gn = nn.GroupNorm(groups, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """``B x N x C`` to the same."""
        return self.gn(tokens.transpose(1, 2)).transpose(1, 2)


class Depthwise5x5(nn.Conv2d):
    """5x5 convolution of each channel by itself that keeps the size."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 5, padding=2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``B x C x h x w`` to the same."""
        if not depthwise_in_float32(x):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class NormActDepthwiseConv(nn.Module):
    """GroupNorm, GELU, 5x5 depth-wise convolution over the map: the activation of AOT's feed-forward part."""

    def __init__(self, channels: int, groups: int = 32) -> None:
        super().__init__()
        self.gn = nn.GroupNorm(groups, channels)
        self.activate = nn.GELU()
        self.conv = Depthwise5x5(channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """``B x N x C`` to the same, N = h * w of ``size``."""
        return to_tokens(self.conv(self.activate(self.gn(to_map(tokens, size)))))


class DepthwiseConv(nn.Module):
    """5x5 depth-wise convolution over the map, with channel dropout in training."""

    def __init__(self, channels: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.conv = Depthwise5x5(channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """``B x N x C`` to the same, N = h * w of ``size``."""
        return to_tokens(self.dropout(self.conv(to_map(tokens, size))))
