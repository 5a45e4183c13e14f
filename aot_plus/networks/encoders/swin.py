"""Runs Swin-B up to its third stage, as in the AOT benchmark, with the tensor names of the published files.

timm's and torchvision's Swin give other numbers: timm rolls a map before padding it, and torchvision does not
shift windows along a side that is a single window. What both get right is imported from them.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from timm.layers import DropPath, Mlp, PatchEmbed
from torch import Tensor, nn
from torchvision.models.swin_transformer import PatchMerging

from aot_plus.networks.encoders.base import Encoder
from aot_plus.utils.tensor_cache import cached_table

WINDOW = 7
SHIFT = WINDOW // 2
HIDDEN = -100.0  # added to the logits between tokens that are neighbours only because of the roll
DROPPATH = 0.3  # rate of the 24th block, the classifier's last; rates rise linearly from 0 at the first


class SwinEncoder(Encoder):
    """Runs three stages of 2, 2 and 18 blocks; each level has its own norm, the last is returned twice."""

    channels = (128, 256, 512, 512)
    depths: tuple[int, ...] = (2, 2, 18)
    stages = (
        ("patch_embed",),
        ("layers.0.blocks",),
        ("layers.0.downsample", "norm0", "layers.1.blocks"),
        ("layers.1.downsample", "norm1", "layers.2", "norm2"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(
            img_size=None,
            patch_size=4,
            embed_dim=self.channels[0],
            norm_layer=nn.LayerNorm,
            output_fmt="NHWC",
            dynamic_img_pad=True,
        )
        # The first stage has no drop path: it is frozen in the published recipe.
        rates = [DROPPATH * k / 23 if k >= self.depths[0] else 0.0 for k in range(sum(self.depths))]
        self.layers = nn.ModuleList()
        for index, (channels, depth) in enumerate(zip(self.channels, self.depths, strict=False)):
            own, rates = rates[:depth], rates[depth:]
            self.layers.append(SwinStage(channels, own, merges=index < 2))
            self.add_module(f"norm{index}", nn.LayerNorm(channels))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Computes the four levels of ``B x 3 x H x W`` normalised images."""
        x = self.patch_embed(images)  # B x h x w x C
        levels = []
        for index, stage in enumerate(self.layers):
            for block in stage.get_submodule("blocks").children():
                x = block(x)
            levels.append(self.get_submodule(f"norm{index}")(x).permute(0, 3, 1, 2))
            if index < 2:
                x = stage.get_submodule("downsample")(x)
        return [*levels, levels[-1]]

    def of_classifier(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns a classifier's tensors without the last stage, plus the levels' norms, which it lacks."""
        norms = {name: value for name, value in self.state_dict().items() if name.startswith("norm")}
        return norms | {name: value for name, value in tensors.items() if not name.startswith("layers.3.")}


class SwinStage(nn.Module):
    """Holds the blocks of a stage, every second one with shifted windows, and the patch merging after it."""

    def __init__(self, channels: int, droppath: list[float], *, merges: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(SwinBlock(channels, rate, shifted=index % 2 == 1) for index, rate in enumerate(droppath))
        )
        if merges:
            self.downsample = PatchMerging(channels)


class SwinBlock(nn.Module):
    """Attends within windows, then applies a feed-forward part."""

    def __init__(self, channels: int, droppath: float, *, shifted: bool) -> None:
        super().__init__()
        self.shifted = shifted
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, channels // 32)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 4 * channels)
        self.droppath = DropPath(droppath)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B x h x w x C`` to the same shape."""
        x = x + self.droppath(self._attend(self.norm1(x)))
        return x + self.droppath(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor) -> Tensor:
        """Attends within windows of the ``B x h x w x C`` map, padded with zeros to whole windows."""
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        if self.shifted:
            x = x.roll((-SHIFT, -SHIFT), dims=(1, 2))
        mask = _shift_mask(x.shape[1], x.shape[2], x.device) if self.shifted else None
        x = _from_windows(self.attn(_to_windows(x), mask), x.shape[1], x.shape[2])
        if self.shifted:
            x = x.roll((SHIFT, SHIFT), dims=(1, 2))
        return x[:, :height, :width]


class WindowAttention(nn.Module):
    """Attends among the tokens of a window, with a learned bias for each offset of query and key."""

    relative_position_index: Tensor

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", _relative_index())  # in the published files too
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attends within windows.

        Args:
            windows: ``B*n x WINDOW^2 x C``.
            mask: ``n x WINDOW^2 x WINDOW^2``, added to the logits of the n windows of an image.

        Returns:
            The same shape as ``windows``.
        """
        q, k, v = self.qkv(windows).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(len(windows) // len(mask), 1, 1, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.proj(out.transpose(1, 2).flatten(2))


def _to_windows(x: Tensor) -> Tensor:
    """Splits ``B x h x w x C``, a whole number of windows, into ``B*n x WINDOW^2 x C``, row by row."""
    x = x.unflatten(2, (-1, WINDOW)).unflatten(1, (-1, WINDOW))  # B x rows x WINDOW x columns x WINDOW x C
    return x.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def _from_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Inverts ``_to_windows``."""
    x = windows.unflatten(0, (-1, height // WINDOW, width // WINDOW)).unflatten(3, (WINDOW, WINDOW))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _relative_index() -> Tensor:
    """Returns the bias table's row for each query and key of a window, by their offset, query minus key."""
    y, x = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
    dy, dx = (side.flatten()[:, None] - side.flatten() + WINDOW - 1 for side in (y, x))
    return dy * (2 * WINDOW - 1) + dx


@cached_table
def _shift_mask(height: int, width: int, device: torch.device) -> Tensor:
    """Returns a rolled map's mask, ``n x WINDOW^2 x WINDOW^2``: it separates tokens that were apart."""
    rows, columns = (
        (place >= len(place) - WINDOW).long() + (place >= len(place) - SHIFT)
        for place in (torch.arange(side, device=device) for side in (height, width))
    )
    part = _to_windows((3 * rows[:, None] + columns)[None, :, :, None])[..., 0]  # n x WINDOW^2
    return (part[:, :, None] != part[:, None, :]) * HIDDEN
