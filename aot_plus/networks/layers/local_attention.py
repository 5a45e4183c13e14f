"""Attention restricted to a window around each query, computed in tiles of the map."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8  # queries of a TILE x TILE tile share one region of keys


def window_attention(
    queries: Tensor, keys: Tensor, values: Tensor, offset_logits: Tensor, max_distance: int
) -> Tensor:
    """Each query attends to the keys at most ``max_distance`` away from it in y and in x.

    Args:
        queries: ``B x D x h x w``, already scaled.
        keys: ``B x D x h x w``.
        values: ``B x E x h x w``.
        offset_logits: ``B x W^2 x h x w``, W = 2 * max_distance + 1, added to the logits of the key at each
            offset (key minus query, row-major).
        max_distance: pixels of the map. Positions outside the map are masked out.

    Returns:
        ``B x E x h x w``.
    """
    height, width = queries.shape[2:]
    q = _tiles(queries, 0)  # B x tiles x TILE^2 x D
    k = _tiles(keys, max_distance)  # B x tiles x region^2 x D
    v = _tiles(values, max_distance)
    inside = _tiles(torch.ones_like(keys[:1, :1]), max_distance)[..., 0] > 0  # 1 x tiles x region^2
    offsets, reachable = _offset_index(max_distance, queries.device)
    relative = _tiles(offset_logits, 0)  # B x tiles x TILE^2 x W^2
    logits = q @ k.transpose(2, 3) + relative.gather(3, offsets.expand(*relative.shape[:2], -1, -1))
    # Rows of the padding below and right of the map may see nothing: a finite lowest value keeps them from
    # NaN.
    logits = logits.masked_fill(~(reachable & inside[:, :, None]), torch.finfo(logits.dtype).min)
    out = torch.softmax(logits, dim=3) @ v  # B x tiles x TILE^2 x E
    return _untile(out, height, width)


def _tiles(x: Tensor, border: int) -> Tensor:
    """``B x C x h x w`` cut into TILE x TILE tiles with ``border`` pixels around each: ``B x tiles x side^2
    x C``.
    """
    height, width = x.shape[2:]
    x = F.pad(x, (border, border + -width % TILE, border, border + -height % TILE))
    side = TILE + 2 * border
    x = x.unfold(2, side, TILE).unfold(3, side, TILE)  # B x C x rows x columns x side x side
    return x.permute(0, 2, 3, 4, 5, 1).flatten(3, 4).flatten(1, 2)


def _untile(x: Tensor, height: int, width: int) -> Tensor:
    """Puts ``B x tiles x TILE^2 x C`` together to ``B x C x height x width``."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    x = x.unflatten(1, (rows, columns)).unflatten(3, (TILE, TILE))  # B x rows x columns x TILE x TILE x C
    x = x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
    return x[:, :, :height, :width]


@functools.lru_cache(maxsize=8)
def _offset_index(max_distance: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each query of a tile and key of its region: their offset's number, and if it is in the window."""
    side = TILE + 2 * max_distance
    window = 2 * max_distance + 1
    with torch.inference_mode(False):  # the cached tensors serve training as well
        query = torch.arange(TILE, device=device)
        offset = (
            torch.arange(side, device=device)[None] - query[:, None]
        )  # TILE x side: key minus query + distance
        dy = offset[:, None, :, None]
        dx = offset[None, :, None, :]
        reachable = (dy >= 0) & (dy < window) & (dx >= 0) & (dx < window)  # TILE x TILE x side x side
        index = torch.where(reachable, dy * window + dx, 0)
    return index.reshape(TILE**2, side**2), reachable.reshape(TILE**2, side**2)
