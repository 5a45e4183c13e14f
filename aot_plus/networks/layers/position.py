"""Embeds positions: sines for a token's place in 2-D, learned rows for a memory frame's rank in time."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from aot_plus.utils.tensor_cache import cached_table

TEMPERATURE = 10000.0
MAX_SLOTS = 4


@cached_table
def sine_position_embedding(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Computes DETR's sine embedding as used by AOT: ``1 x N x C`` float32, N = height * width, row-major.

    Half of the features encode y, half x. Coordinates start at 0, are divided by (last + 1e-6) and scaled to
    2 pi. Features 2i and 2i+1 are the sine and cosine of one frequency.
    """
    features = channels // 2
    exponents = 2 * torch.div(torch.arange(features, device=device), 2, rounding_mode="floor") / features
    frequencies = TEMPERATURE**exponents  # C/2

    def encode(length: int) -> Tensor:
        coordinates = torch.arange(length, dtype=torch.float32, device=device)
        angles = (coordinates / (length - 1 + 1e-6) * 2 * math.pi)[:, None] / frequencies  # length x C/2
        return torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), dim=2).flatten(1)

    y = encode(height)[:, None].expand(height, width, features)
    x = encode(width)[None].expand(height, width, features)
    return torch.cat((y, x), dim=2).reshape(1, height * width, channels)


def temporal_rows(table: Tensor, num_frames: int) -> Tensor:
    """Selects a row of the temporal embedding for each of ``num_frames`` frames, oldest first (``T x D``).

    ``table`` is the parameter ``mem_pos_emb`` (``S x D``). A table of two rows is first interpolated
    linearly, with aligned ends, to min(T, 4) rows. Up to S frames use the first rows as they are; more frames
    share the S rows, and the newest frame has the last one.
    """
    if table.shape[0] == 2:
        length = min(num_frames, MAX_SLOTS)
        table = F.interpolate(table.t()[None], size=length, mode="linear", align_corners=True)[0].t()
    slots = table.shape[0]
    if num_frames <= slots:
        return table[:num_frames]
    ranks = torch.arange(num_frames, device=table.device)
    index = slots - 1 - torch.div((num_frames - 1 - ranks) * slots, num_frames, rounding_mode="floor")
    return table[index]
