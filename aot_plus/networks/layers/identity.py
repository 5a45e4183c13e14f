"""Embeds the object ids of a mask, patch by patch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aot_plus.networks.layers.basic import to_tokens
from aot_plus.networks.layers.processor import MATMUL_ALIGNMENT, identity_bank_method
from aot_plus.utils.tensor_cache import cached_int32
from evaluation.masks import IGNORE_ID

NO_ID = -1  # no pixel has it
OUTSIDE = -2  # outside the image: matches no channel


class IdentityBank(nn.Conv2d):
    """Embeds a patch as the sum of a learned vector per pixel, chosen by place and id: a convolution."""

    def __init__(self, num_ids: int, channels: int, stride: int, *, overlap: bool, ignores: bool) -> None:
        """Builds a bank for patches of ``stride`` x ``stride`` pixels.

        ``num_ids``: including the background; ``overlap``: patches have one more row and column, and are
        centred on their tokens; ``ignores``: ignored pixels have vectors too.
        """
        self.border = stride // 2 if overlap else 0
        kernel = stride + int(overlap)
        super().__init__(num_ids + int(ignores), channels, kernel, stride=stride, padding=self.border)
        self.num_ids = num_ids
        self.ignores = ignores

    def forward(self, labels: Tensor, *, reference: bool) -> Tensor:  # type: ignore[override]
        """Embeds ``G x H x W`` integers (0 background, 1..M objects, 255 ignored) as ``G x N x C``.

        An ignored pixel sets no id. In a ``reference`` frame it does not set the ignore channel either.
        """
        way = identity_bank_method(self.weight)
        if way == "sums":
            return self._sums(labels, reference=reference)
        ignored = ((NO_ID if reference else IGNORE_ID),) if self.ignores else ()
        ids = (*range(self.num_ids), *ignored)
        if way == "product":
            return self._product(labels, ids)
        # The convolution uses channels last: planes in this layout need no copy.
        return to_tokens(super().forward(self._one_hot(labels, ids).movedim(3, 1)))

    def _sums(self, labels: Tensor, *, reference: bool) -> Tensor:
        """Sums one vector for each pixel of a patch; all other products of the convolution are zero."""
        none = self.in_channels
        channels = torch.where(labels < self.num_ids, labels, none if reference else self.num_ids)
        pixels = self._pixels(channels, none)
        vectors = F.pad(self.weight.permute(2, 3, 1, 0), (0, 0, 0, 1)).flatten(0, 2)  # pixels*(ids+1) x C
        first = torch.arange(0, len(vectors), none + 1, dtype=torch.int32, device=pixels.device)
        bags = F.embedding_bag((pixels + first).flatten(0, 1), vectors, mode="sum")
        return bags.unflatten(0, pixels.shape[:2]) + self.bias

    def _product(self, labels: Tensor, ids: Sequence[int]) -> Tensor:
        """Multiplies the one-hot pixels of all patches by the weights."""
        pixels = self._pixels(labels.int(), OUTSIDE)
        missing = -pixels.shape[2] % MATMUL_ALIGNMENT
        planes = self._one_hot(F.pad(pixels, (0, missing), value=OUTSIDE), ids)  # G x N x . x ids
        rows = self.weight.permute(0, 2, 3, 1).flatten(1)  # C x pixels*ids, a view if channels are last
        return F.linear(planes.flatten(2), F.pad(rows, (0, missing * len(ids))), self.bias)

    def _pixels(self, labels: Tensor, outside: int) -> Tensor:
        """Gathers the pixels of each patch: ``G x N x pixels``."""
        size, stride = self.kernel_size[0], self.stride[0]
        padded = F.pad(labels, (self.border,) * 4, value=outside)
        return padded.unfold(1, size, stride).unfold(2, size, stride).flatten(3).flatten(1, 2)

    def _one_hot(self, labels: Tensor, ids: Sequence[int]) -> Tensor:
        """Encodes each pixel's id as one-hot over ``ids``, in the dtype of the weights."""
        return (labels[..., None] == cached_int32(tuple(ids), labels.device)).to(self.weight.dtype)
