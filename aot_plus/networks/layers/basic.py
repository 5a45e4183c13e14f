"""Defines small modules shared by the blocks. Parameters have the names in the published checkpoints."""

from typing import cast

import torch
from torch import Tensor, nn

from aot_plus.networks.layers.processor import decomposes_group_norm, depthwise_in_float32, fuses_activation


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Reshapes ``B x N x C`` tokens to a ``B x C x h x w`` map."""
    return tokens.transpose(1, 2).unflatten(2, size)


def to_tokens(feature_map: Tensor) -> Tensor:
    """Flattens a ``B x C x h x w`` map to ``B x N x C`` tokens in row-major order."""
    return feature_map.flatten(2).transpose(1, 2)


def joined(parts: list[Tensor], dim: int) -> Tensor:
    """Concatenates tensors; a single tensor is returned without a copy."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


class GroupNorm(nn.GroupNorm):
    """Computes PyTorch's group norm with the implementation that is fastest on the device."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B x C x ...`` to the same shape."""
        return self._decomposed(x) if decomposes_group_norm(x, self.num_groups) else super().forward(x)

    def _decomposed(self, x: Tensor) -> Tensor:
        """Computes statistics, factors and offsets in float32, and rounds only the result."""
        grouped = x.flatten(2).unflatten(1, (self.num_groups, -1))  # B x G x C/G x N
        # B x G x 1 x 1 each
        variance, mean = torch.var_mean(grouped.float(), dim=(2, 3), correction=0, keepdim=True)
        weight, bias = (one.view(self.num_groups, -1, 1) for one in (self.weight, self.bias))
        factor = weight * torch.rsqrt(variance + self.eps)  # B x G x C/G x 1, float32 like the variance
        offset = torch.addcmul(bias, mean, factor, value=-1)
        shape = (x.shape[0], x.shape[1], *(1 for _ in x.shape[2:]))
        return torch.addcmul(offset.view(shape), x, factor.view(shape), out=torch.empty_like(x))


def conv_relu(conv: nn.Conv2d, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """Convolves, adds the shortcut if given, and applies ReLU: in one kernel on CUDA without gradients.

    Args:
        conv: with a bias.
        x: ``B x in x H x W``.
        shortcut: ``B x out x h x w``.

    Returns:
        ``B x out x h x w``.
    """
    if not fuses_activation(x):
        out = conv(x)
        return torch.relu_(out if shortcut is None else out.add_(shortcut))
    padding = cast(tuple[int, ...], conv.padding)
    if shortcut is None:
        return torch.cudnn_convolution_relu(
            x, conv.weight, conv.bias, conv.stride, padding, conv.dilation, conv.groups
        )
    return torch.cudnn_convolution_add_relu(
        x, conv.weight, shortcut, 1.0, conv.bias, conv.stride, padding, conv.dilation, conv.groups
    )


class ConvGN(nn.Module):
    """Applies a convolution that preserves the size, then GroupNorm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
        self.gn = GroupNorm(8, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B x in x h x w`` to ``B x out x h x w``."""
        return self.gn(self.conv(x))


class TokenGroupNorm(nn.Module):
    """Applies GroupNorm over all tokens of a frame."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.gn = GroupNorm(groups, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps ``B x N x C`` to the same shape."""
        return self.gn(tokens.transpose(1, 2)).transpose(1, 2)


class Depthwise5x5(nn.Conv2d):
    """Convolves each channel separately with a 5x5 kernel, preserving the size."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 5, padding=2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B x C x h x w`` to the same shape."""
        if not depthwise_in_float32(x):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class NormActDepthwiseConv(nn.Module):
    """Applies GroupNorm, GELU and a 5x5 depth-wise convolution: the activation of AOT's feed-forward part."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gn = GroupNorm(32, channels)
        self.activate = nn.GELU()
        self.conv = Depthwise5x5(channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps ``B x N x C`` to the same shape, N = h * w of ``size``."""
        return to_tokens(self.conv(self.activate(self.gn(to_map(tokens, size)))))


class DepthwiseConv(nn.Module):
    """Applies a 5x5 depth-wise convolution over the map, with channel dropout in training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Depthwise5x5(channels)
        self.dropout = nn.Dropout2d(0.1)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps ``B x N x C`` to the same shape, N = h * w of ``size``."""
        return to_tokens(self.dropout(self.conv(to_map(tokens, size))))
