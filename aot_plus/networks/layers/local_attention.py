"""Attends within a window around each query: tile by tile, or for all pairs at once if the map is small."""

import torch
import torch.nn.functional as F
from torch import Tensor

from aot_plus.networks.layers.basic import joined
from aot_plus.networks.layers.processor import tiles_at_a_time
from aot_plus.utils.tensor_cache import cached_table

TILE = 8  # queries of a TILE x TILE tile share one region of keys
MAX_DISTANCE = 7  # from a query to the keys that it attends to, in y and in x; pixels of the feature map
WINDOW = 2 * MAX_DISTANCE + 1
SMALL_MAP = 512  # positions; up to this size all pairs cost less than tiles with their borders


def window_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    offset_logits: Tensor,
    offset_values: Tensor | None = None,
) -> Tensor:
    """Attends from each query to the keys at most ``MAX_DISTANCE`` away in y and in x, within the map.

    Args:
        queries: ``B x D x h x w``, already scaled.
        keys: ``B x D x h x w``.
        values: ``B x E x h x w``.
        offset_logits: ``B x W^2 x h x w``, W = ``WINDOW``, added to the logit of the key at each offset (key
            minus query, row-major).
        offset_values: ``B x W^2 x E``, added to the value of the key at each offset.

    Returns:
        ``B x E x h x w``.
    """
    small = queries.shape[2] * queries.shape[3] <= SMALL_MAP
    attend = _all_pairs if small else _by_tiles
    return attend(queries, keys, values, offset_logits, offset_values)


def _all_pairs(
    queries: Tensor, keys: Tensor, values: Tensor, offset_logits: Tensor, offset_values: Tensor | None
) -> Tensor:
    """Computes ``window_attention`` from the logits of all pairs of queries and keys, ``B x N x N``."""
    height, width = queries.shape[2:]
    offsets, hidden = _offsets(height, width, 0, queries.device)
    logits = queries.flatten(2).transpose(1, 2) @ keys.flatten(2)
    relative = offset_logits.flatten(2).transpose(1, 2)  # B x N x W^2
    logits = logits + relative.gather(2, offsets.expand(relative.shape[0], -1, -1))
    weights = torch.softmax(logits.masked_fill_(hidden, torch.finfo(logits.dtype).min), dim=2)
    out = weights @ values.flatten(2).transpose(1, 2)
    if offset_values is not None:
        table = _key_table(height, width, 0, queries.device)
        out = out + _by_offset(weights, *table) @ offset_values
    return out.transpose(1, 2).unflatten(2, (height, width))


def _by_tiles(
    queries: Tensor, keys: Tensor, values: Tensor, offset_logits: Tensor, offset_values: Tensor | None
) -> Tensor:
    """Computes ``window_attention`` tile by tile: the cost is linear in the map's size, not quadratic."""
    height, width = queries.shape[2:]
    maps = [(_padded(x, 0), 0) for x in (queries, offset_logits)]
    maps += [(_padded(x, MAX_DISTANCE), MAX_DISTANCE) for x in (keys, values)]
    hidden = _hidden_in_tiles(height, width, queries.device)
    rows, columns = hidden.shape[:2]
    step = tiles_at_a_time(rows, columns, queries.device)
    out = [
        _attend_in_tiles(
            *(_tiles(x, border, (row, column), step) for x, border in maps),
            hidden=hidden[row : row + step[0], column : column + step[1]].flatten(0, 1),
            offset_values=offset_values,
        )
        for row in range(0, rows, step[0])
        for column in range(0, columns, step[1])
    ]
    return _untile(joined(out, dim=1), height, width)


def _attend_in_tiles(
    q: Tensor,
    offset_logits: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    hidden: Tensor,
    offset_values: Tensor | None,
) -> Tensor:
    """Attends with each tile's queries to the keys of its region.

    Args:
        q: ``B x tiles x TILE^2 x D``.
        offset_logits: ``B x tiles x TILE^2 x W^2``.
        k: ``B x tiles x region^2 x D``.
        v: ``B x tiles x region^2 x E``.
        hidden: ``tiles x TILE^2 x region^2`` bool, as ``_hidden_in_tiles`` computes it.
        offset_values: as in ``window_attention``.

    Returns:
        ``B x tiles x TILE^2 x E``.
    """
    offsets, _ = _offsets(TILE, TILE, MAX_DISTANCE, q.device)
    logits = q @ k.transpose(2, 3) + offset_logits.gather(3, offsets.expand(*q.shape[:2], -1, -1))
    # Queries in the padding below and right of the map may see no key: a finite mask value prevents NaN.
    weights = torch.softmax(logits.masked_fill_(hidden, torch.finfo(logits.dtype).min), dim=3)
    if offset_values is None:
        return weights @ v
    table = _key_table(TILE, TILE, MAX_DISTANCE, q.device)
    return weights @ v + _by_offset(weights, *table) @ offset_values[:, None]


def _by_offset(weights: Tensor, keys: Tensor, exist: Tensor) -> Tensor:
    """Rearranges weights ``... x queries x keys`` by offset: ``... x queries x W^2``. See ``_key_table``."""
    return weights.gather(weights.ndim - 1, keys.expand(*weights.shape[:-2], -1, -1)) * exist


def _padded(x: Tensor, border: int) -> Tensor:
    """Pads a ``B x C x h x w`` map with zeros to ``B x . x . x C``.

    The padding is a border, and below and right what completes the last tiles. Maps of tokens have their
    channels last in memory, so whole pixels are copied.
    """
    height, width = x.shape[2:]
    sides = (0, 0, border, border + -width % TILE, border, border + -height % TILE)
    return F.pad(x.permute(0, 2, 3, 1), sides)


def _tiles(padded: Tensor, border: int, first: tuple[int, int], count: tuple[int, int]) -> Tensor:
    """Cuts a ``_padded`` map into tiles, each with its border: ``B x tiles x side^2 x C``.

    ``first``: row and column of the first tile; ``count``: rows and columns of tiles, fewer at the map's end.
    """
    side = TILE + 2 * border
    rows, columns = (
        slice(start * TILE, (start + number) * TILE + 2 * border)
        for start, number in zip(first, count, strict=True)
    )
    x = padded[:, rows, columns]
    x = x.unfold(1, side, TILE).unfold(2, side, TILE)  # B x rows x columns x C x side x side
    return x.permute(0, 1, 2, 4, 5, 3).flatten(3, 4).flatten(1, 2)


def _untile(x: Tensor, height: int, width: int) -> Tensor:
    """Assembles ``B x tiles x TILE^2 x C`` into ``B x C x height x width``, channels last in memory."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    x = x.unflatten(1, (rows, columns)).unflatten(3, (TILE, TILE))  # B x rows x columns x TILE x TILE x C
    x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # B x rows*TILE x columns*TILE x C
    return x[:, :height, :width].contiguous().permute(0, 3, 1, 2)


@cached_table
def _hidden_in_tiles(height: int, width: int, device: torch.device) -> Tensor:
    """Returns which keys of its region a query does not see: those outside its window or outside the map.

    The result is ``rows x columns x TILE^2 x region^2`` bool, for the rows and columns of tiles.
    """
    _, too_far = _offsets(TILE, TILE, MAX_DISTANCE, device)
    count = -(-height // TILE), -(-width // TILE)
    inside = _padded(torch.ones(1, 1, height, width, device=device), MAX_DISTANCE)
    outside = _tiles(inside, MAX_DISTANCE, (0, 0), count)[0].transpose(1, 2) == 0  # tiles x 1 x region^2
    return (too_far | outside).unflatten(0, count)


@cached_table
def _offsets(height: int, width: int, border: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the index of the offset of each query and key, and whether the offset is too large.

    Queries are the positions of ``height x width``; keys have a ``border`` around them as well.
    """
    dy, dx = (
        torch.arange(-border, side + border, device=device) - _positions(side, device) + MAX_DISTANCE
        for side in (height, width)
    )  # queries x keys along one side
    dy, dx = dy[:, None, :, None], dx[None, :, None, :]
    reachable = (dy >= 0) & (dy < WINDOW) & (dx >= 0) & (dx < WINDOW)
    index = (dy * WINDOW + dx) * reachable  # query rows x columns x key rows x columns
    return index.flatten(2).flatten(0, 1), ~reachable.flatten(2).flatten(0, 1)


@cached_table
def _key_table(height: int, width: int, border: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the index of the key at each offset from each query, and whether it exists.

    Queries and keys are those of ``_offsets``.
    """
    rows, columns = height + 2 * border, width + 2 * border  # of keys
    offsets = torch.arange(WINDOW, device=device) - MAX_DISTANCE + border
    row = (_positions(height, device) + offsets)[:, None, :, None]
    column = (_positions(width, device) + offsets)[None, :, None, :]
    exist = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    index = (row * columns + column) * exist  # query rows x columns x W x W
    return index.flatten(2).flatten(0, 1), exist.flatten(2).flatten(0, 1)


def _positions(side: int, device: torch.device) -> Tensor:
    """Returns the queries' positions along one side: ``side x 1`` int64."""
    return torch.arange(side, device=device)[:, None]
