"""Embeds the positions of tokens: with sines in 2-D, and by the rank of a memory frame in time."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from aot_plus.utils.kept_tables import kept_table

TEMPERATURE = 10000.0
MAX_SLOTS = 4


@kept_table
def sine_position_embedding(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Computes the sine embedding of DETR as AOT uses it: ``1 x N x C`` float32, N = height * width by rows.

    Half of the features belong to y, half to x. Coordinates start at 0, are divided by (last + 1e-6) and
    scaled to 2 pi. Features 2i and 2i+1 are sine and cosine of the same frequency.
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

    ``table`` is the parameter ``mem_pos_emb`` (``S x D``). A table of two rows is first stretched linearly,
    ends aligned, to min(T, 4) rows. Up to S frames take the first rows as they are; more frames share the S
    rows, the newest frame having the last one.
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
