"""Embeds the ids of a mask, patch by patch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aot_plus.networks.layers.basic import to_tokens
from aot_plus.networks.layers.processor import PRODUCTS_MULTIPLE, way_of_identities
from aot_plus.utils.kept_tables import table_of
from evaluation.masks import IGNORE_ID

NO_ID = -1  # no pixel has it
OUTSIDE = -2  # of the image: no channel is for it


class IdentityBank(nn.Conv2d):
    """Sums a learned vector over all pixels of a patch, one for each place and id: a convolution."""

    def __init__(self, num_ids: int, channels: int, stride: int, *, overlap: bool, ignores: bool) -> None:
        """Makes a bank of patches of ``stride`` x ``stride`` pixels.

        ``num_ids``: with the background; ``overlap``: a patch has a row and a column more, and its token in
        the middle; ``ignores``: ignored pixels have a vector too.
        """
        self.border = stride // 2 if overlap else 0
        kernel = stride + int(overlap)
        super().__init__(num_ids + int(ignores), channels, kernel, stride=stride, padding=self.border)
        self.num_ids = num_ids
        self.ignores = ignores

    def forward(self, labels: Tensor, *, reference: bool) -> Tensor:  # type: ignore[override]
        """Embeds ``G x H x W`` integers (0 background, 1..M objects, 255 ignored) as ``G x N x C``.

        At an ignored pixel no id is set. In a ``reference`` its own channel is empty as well.
        """
        way = way_of_identities(self.weight)
        if way == "sums":
            return self._sums(labels, reference=reference)
        ignored = ((NO_ID if reference else IGNORE_ID),) if self.ignores else ()
        ids = (*range(self.num_ids), *ignored)
        if way == "product":
            return self._product(labels, ids)
        # The convolution takes the channels last: made so, they need not be copied.
        return to_tokens(super().forward(self._one_hot(labels, ids).movedim(3, 1)))

    def _sums(self, labels: Tensor, *, reference: bool) -> Tensor:
        """Adds up one vector for each pixel of a patch: all other products would be with zeros."""
        none = self.in_channels
        channels = torch.where(labels < self.num_ids, labels, none if reference else self.num_ids)
        pixels = self._pixels(channels, none)
        vectors = F.pad(self.weight.permute(2, 3, 1, 0), (0, 0, 0, 1)).flatten(0, 2)  # pixels*(ids+1) x C
        first = torch.arange(0, len(vectors), none + 1, dtype=torch.int32, device=pixels.device)
        bags = F.embedding_bag((pixels + first).flatten(0, 1), vectors, mode="sum")
        return bags.unflatten(0, pixels.shape[:2]) + self.bias

    def _product(self, labels: Tensor, ids: Sequence[int]) -> Tensor:
        """Multiplies the one-hot pixels of all patches with the weights."""
        pixels = self._pixels(labels.int(), OUTSIDE)
        missing = -pixels.shape[2] % PRODUCTS_MULTIPLE
        planes = self._one_hot(F.pad(pixels, (0, missing), value=OUTSIDE), ids)  # G x N x . x ids
        rows = self.weight.permute(0, 2, 3, 1).flatten(1)  # C x pixels*ids, as it lies if channels are last
        return F.linear(planes.flatten(2), F.pad(rows, (0, missing * len(ids))), self.bias)

    def _pixels(self, labels: Tensor, outside: int) -> Tensor:
        """Lays out the pixels of every patch one after another: ``G x N x pixels``."""
        size, stride = self.kernel_size[0], self.stride[0]
        padded = F.pad(labels, (self.border,) * 4, value=outside)
        return padded.unfold(1, size, stride).unfold(2, size, stride).flatten(3).flatten(1, 2)

    def _one_hot(self, labels: Tensor, ids: Sequence[int]) -> Tensor:
        """Tells which of the ids each pixel has, in the number format of the weights."""
        return (labels[..., None] == table_of(tuple(ids), labels.device)).to(self.weight.dtype)
