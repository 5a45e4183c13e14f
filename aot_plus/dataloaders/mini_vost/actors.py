"""Makes the actors that move in a scene: tracked objects, look-alikes and arms, each made of pieces."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.mini_vost.arrays import Array, Picture, Rng, Silhouette
from aot_plus.dataloaders.mini_vost.events import Cut, Story, colour_matrices, squash_matrices
from aot_plus.dataloaders.mini_vost.motion import rotations, settle, translations
from aot_plus.dataloaders.mini_vost.shapes import (
    ROUNDED,
    Finish,
    Sprite,
    centroid,
    cut_line,
    make_sprite,
    split,
)

FRESH_FRAMES = 14
"""Number of frames for which a cut's border is annotated as ignored, about 1.4 seconds."""


@dataclass(frozen=True)
class FreshCut:
    """Holds a cut's line, which is ignored in the annotations of frames ``first`` to ``end`` (exclusive)."""

    line: Array  # n x 2, object coordinates
    first: int
    end: int


@dataclass
class Piece:
    """Holds a part of an actor that is visible from frame ``first`` to ``end`` (exclusive)."""

    mask: Silhouette
    sprite: Sprite
    pose: Array  # T x 3 x 3, piece to actor
    first: int
    end: int
    cuts: list[FreshCut] = field(default_factory=list)


@dataclass
class Actor:
    """Holds an actor of a scene; ``object_id`` is 0 if it is not tracked. Pieces are drawn in list order."""

    object_id: int
    pieces: list[Piece]
    pose: Array  # T x 3 x 3, actor to world
    colour: NDArray[np.float32] | None = None  # T x 4 x 4, applied to premultiplied RGBA


@dataclass(frozen=True)
class Look:
    """Describes the appearance of an actor; look-alikes share it."""

    outline: Silhouette
    texture: Picture  # side x side x 3
    flesh: Picture  # RGB of the cut faces
    radius: float
    finish: Finish = ROUNDED


def make_actor(rng: Rng, object_id: int, look: Look, story: Story, path: Array, turn: Array) -> Actor:
    """Makes an actor that plays ``story``. ``path``: T x 2, in the world. ``turn``: T, in radians."""
    frames = len(path)
    pose = translations(path[:, 0], path[:, 1]) @ rotations(turn)
    if story.squash is not None:
        pose = pose @ squash_matrices(story.squash, frames)
    colour = None if story.recolour is None else colour_matrices(story.recolour, frames)
    return Actor(object_id, _cut_up(rng, look, story.cuts, frames), pose, colour)


def _cut_up(rng: Rng, look: Look, cuts: tuple[Cut, ...], frames: int) -> list[Piece]:
    """Cuts an object into pieces over the whole video; each cut splits the largest piece at that time."""
    still = np.tile(np.eye(3), (frames, 1, 1))
    whole = Piece(
        look.outline, make_sprite(look.outline, look.texture, look.flesh, [], look.finish), still, 0, frames
    )
    pieces = [whole]
    for cut in cuts:
        living = [piece for piece in pieces if piece.end == frames]
        largest = max(living, key=lambda piece: int(piece.mask.sum()))
        line = cut_line(rng, largest.mask, cut.angle, cut.jagged)
        halves = split(largest.mask, line)
        largest.end = cut.frame
        fresh = [*largest.cuts, FreshCut(line, cut.frame, min(cut.frame + FRESH_FRAMES, frames))]
        for half, direction in zip(halves, (1.0, -1.0), strict=True):
            sprite = make_sprite(half, look.texture, look.flesh, [known.line for known in fresh], look.finish)
            pose = largest.pose @ _drift(rng, cut, half, direction, look.radius, frames)
            pieces.append(Piece(half, sprite, pose, cut.frame, frames, list(fresh)))
    return pieces


def _drift(rng: Rng, cut: Cut, half: Silhouette, direction: float, radius: float, frames: int) -> Array:
    """Returns how a half moves away from the other and turns about its own centre, T x 3 x 3."""
    amount = settle(frames, cut.frame, cut.pace)
    heading = cut.angle + direction * np.pi / 2 + float(rng.uniform(-0.4, 0.4))
    reach = amount * cut.drift * radius * float(rng.uniform(0.7, 1.2))
    middle = centroid(half)
    turn = rotations(amount * cut.turn * float(rng.choice([-1.0, 1.0])))
    there = translations(middle[0] + reach * np.cos(heading), middle[1] + reach * np.sin(heading))
    back = translations(np.full(frames, -middle[0]), np.full(frames, -middle[1]))
    return there @ turn @ back
