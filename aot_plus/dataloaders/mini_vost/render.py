"""Draws a frame of a scene: the picture, and the id at each pixel."""

import cv2
import numpy as np

from aot_plus.dataloaders.mini_vost.actors import Actor, FreshCut, Piece
from aot_plus.dataloaders.mini_vost.arrays import Array, Picture, composite, per_colour, repeat_channels
from aot_plus.dataloaders.mini_vost.motion import HEIGHT, WIDTH, apply
from aot_plus.dataloaders.mini_vost.scene import Scene
from aot_plus.dataloaders.mini_vost.shapes import Sprite
from aot_plus.utils.images import Image
from evaluation.masks import IGNORE_ID, Mask

IGNORED_WIDTH = 3
"""Thickness of the ignored border along a fresh cut, pixels."""


def render_frame(scene: Scene, frame: int) -> tuple[Image, Mask]:
    """Draws frame number ``frame`` (0-based): RGB, H x W x 3 uint8, and ids, H x W uint8.

    Ids are exact: a pixel has the id of the topmost actor that covers at least half of it (0 for actors that
    are not tracked), and 255 along fresh cuts of tracked objects.
    """
    picture = _background(scene, frame)
    ids = _draw_actors(scene, frame, picture)
    top, left = scene.noise_offset[frame]
    picture *= per_colour(scene.light[..., 0], scene.gain[frame])
    picture += repeat_channels(scene.noise[top : top + HEIGHT, left : left + WIDTH, 0])
    image = np.clip(picture, 0, 255).astype(np.uint8)
    return image if scene.film is None else scene.film(image, frame), ids


def render_ids(scene: Scene, frame: int) -> Mask:
    """Draws the ids of a frame without the picture, equal to those of ``render_frame``."""
    return _draw_actors(scene, frame, None)


def _draw_actors(scene: Scene, frame: int, picture: Picture | None) -> Mask:
    """Draws all actors over the picture, if there is one, and returns their ids."""
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for actor in scene.actors:
        to_screen = scene.camera[frame] @ actor.pose[frame]
        for piece in actor.pieces:
            if piece.first <= frame < piece.end:
                _draw_piece(picture, ids, actor, piece, to_screen @ piece.pose[frame], frame)
    return ids


def _background(scene: Scene, frame: int) -> Picture:
    height, width = scene.background.shape[:2]
    to_middle = np.array([[1.0, 0.0, -width / 2], [0.0, 1.0, -height / 2], [0.0, 0.0, 1.0]])
    matrix = scene.camera[frame] @ scene.background_pose[frame] @ to_middle
    warped = cv2.warpAffine(
        scene.background,
        matrix[:2],
        (WIDTH, HEIGHT),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(warped, dtype=np.float32)


def _draw_piece(
    picture: Picture | None, ids: Mask, actor: Actor, piece: Piece, matrix: Array, frame: int
) -> None:
    """Draws a piece over the picture, if there is one, and its ids. ``matrix``: 3 x 3, piece to screen."""
    box = _box_on_screen(piece.sprite, matrix)
    if box is None:
        return
    left, top, right, bottom = box
    corner_x, corner_y = piece.sprite.corner
    from_sprite = matrix @ np.array([[1.0, 0.0, corner_x], [0.0, 1.0, corner_y], [0.0, 0.0, 1.0]])
    from_sprite[:2, 2] -= (left, top)
    size = (right - left, bottom - top)
    if picture is not None:
        pixels = cv2.warpAffine(piece.sprite.pixels, from_sprite[:2], size, flags=cv2.INTER_LINEAR)
        if actor.colour is not None:
            pixels = np.clip(cv2.transform(pixels, actor.colour[frame]), 0, 255)
        composite(picture[top:bottom, left:right], np.asarray(pixels, np.float32))
    body = np.asarray(
        cv2.warpAffine(piece.sprite.body, from_sprite[:2], size, flags=cv2.INTER_LINEAR), np.float32
    )
    ids_region = ids[top:bottom, left:right]
    ids_region[body >= 0.5] = actor.object_id
    if actor.object_id:
        fresh = [cut for cut in piece.cuts if cut.first <= frame < cut.end]
        _ignore_fresh_cuts(ids_region, body, actor.object_id, fresh, matrix, (left, top))


def _ignore_fresh_cuts(
    ids: Mask, body: Picture, object_id: int, cuts: list[FreshCut], matrix: Array, corner: tuple[int, int]
) -> None:
    """Marks pixels along the cuts as ignored: on the object itself, and on the background just beside it."""
    if not cuts:
        return
    near = np.zeros_like(ids)
    for cut in cuts:
        points = np.rint(apply(matrix, cut.line) - corner).astype(np.int32)
        cv2.polylines(near, [points], False, 1, thickness=IGNORED_WIDTH)
    beside = cv2.dilate(body, np.ones((3, 3), dtype=np.uint8)) >= 0.5
    ids[(near > 0) & beside & ((ids == object_id) | (ids == 0))] = IGNORE_ID


def _box_on_screen(sprite: Sprite, matrix: Array) -> tuple[int, int, int, int] | None:
    """Returns left, top, right, bottom (exclusive) of a sprite, clipped to the frame; None if outside."""
    height, width = sprite.body.shape
    x, y = sprite.corner
    corners = np.array([[x - 1, y - 1], [x + width, y - 1], [x - 1, y + height], [x + width, y + height]])
    reach = apply(matrix, corners)
    left, top = np.maximum(np.floor(reach.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(reach.max(axis=0)).astype(int) + 1, (WIDTH, HEIGHT))
    if left >= right or top >= bottom:
        return None
    return int(left), int(top), int(right), int(bottom)
