"""Plans a wide scene: all its random values are drawn here, from [seed, index] alone."""

from dataclasses import dataclass

import numpy as np

from aot_plus.dataloaders.mini_vost.actors import Actor, Look, make_actor
from aot_plus.dataloaders.mini_vost.arrays import Array, Picture, Rng, composite
from aot_plus.dataloaders.mini_vost.events import NOUNS, Story, draw_story
from aot_plus.dataloaders.mini_vost.motion import (
    HEIGHT,
    WIDTH,
    camera_path,
    ramp,
    scalings,
    translations,
    wander,
)
from aot_plus.dataloaders.mini_vost.paths import MovementStyle, Trip, plan_trip
from aot_plus.dataloaders.mini_vost.planning import BACKGROUND_SIZE, SPLIT_NAMES, reaching_arm
from aot_plus.dataloaders.mini_vost.scene import Scene
from aot_plus.dataloaders.mini_vost.shapes import Finish, make_sprite
from aot_plus.dataloaders.mini_vost.wide.bodies import draw_body, draw_limbs
from aot_plus.dataloaders.mini_vost.wide.footage import draw_footage
from aot_plus.dataloaders.mini_vost.wide.textures import any_colour, camouflage_texture, draw_texture

_STREAM = len(SPLIT_NAMES)  # number of the random stream, after those of the splits
SMALLEST, LARGEST = 0.006, 0.6
"""Share of the frame that an object covers at rest, before camera and pose change it."""
_FINISHES = (
    Finish(),
    Finish(1.0, 0.0, 0.0),
    Finish(0.9, 0.1, 0.3),
    Finish(0.3, 0.8, 0.6),
    Finish(0.7, 0.3, 0.0),
)


def plan_wide_scene(seed: int, index: int) -> Scene:
    """Plans one sequence: 140 to 160 frames, 1 to 6 tracked objects. Equal arguments give equal scenes.

    An object may be hidden or out of view in any frame, including the first.
    """
    rng = np.random.default_rng([seed, _STREAM, index])
    verb = str(rng.choice(list(NOUNS)))
    frames, hardness = int(rng.integers(140, 161)), float(rng.uniform(0.0, 1.0))
    camera = _draw_camera(rng, frames, hardness)
    background = draw_texture(rng, *BACKGROUND_SIZE)
    count = int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.28, 0.3, 0.2, 0.12, 0.06, 0.04]))
    looks = [_draw_look(rng, count, background) for _ in range(count)]
    _add_clutter(rng, background, looks, hardness)
    drift = rng.uniform(-1, 1, 2) * float(rng.choice([0.0, 20.0]))
    travel = ramp(frames, 0, frames)[:, None] * drift
    return Scene(
        name=f"{2 * index:04d}_wide_{verb}_{rng.choice(NOUNS[verb])}",
        num_frames=frames,
        num_objects=count,
        background=background,
        background_pose=translations(travel[:, 0], travel[:, 1]),
        camera=camera,
        actors=_cast(rng, camera, looks, verb, hardness),
        light=np.ones((HEIGHT, WIDTH, 1), np.float32),
        gain=np.ones((frames, 3), np.float32),
        noise=np.zeros((HEIGHT + 64, WIDTH + 64, 1), np.float32),
        noise_offset=np.zeros((frames, 2), np.int64),
        film=draw_footage(rng, camera, float(background.mean()), hardness).film,
    )


@dataclass(frozen=True)
class _Role:
    """Describes an actor's appearance: its look, and the length of its limbs (0 for no limbs)."""

    look: Look
    limbs: float


def _draw_camera(rng: Rng, frames: int, hardness: float) -> Array:
    """Draws a camera on a tripod, or one that pans, zooms, rolls and shakes, more in harder scenes."""
    if rng.random() < 0.2:
        return camera_path(rng, frames, pan=0.0, zoom=0.0, roll=0.0, shake=(0.0, 0.1))
    strength = float(rng.uniform(0.2, 1.2)) + hardness
    return camera_path(
        rng, frames, pan=45.0 * strength, zoom=0.16 * strength, roll=0.12 * strength, shake=(0.0, strength)
    )


def _draw_look(rng: Rng, count: int, background: Picture) -> _Role:
    """Draws the look of one of ``count`` objects; the more objects, the smaller the largest area."""
    # Uniform in the fourth root of the area: a compromise between uniform in area, which gives mostly large
    # objects, and uniform over orders of magnitude.
    low, high = SMALLEST**0.25, (LARGEST / count) ** 0.25
    radius = float(np.sqrt(rng.uniform(low, high) ** 4 * HEIGHT * WIDTH / np.pi))
    limbs = radius * float(rng.uniform(0.4, 1.0)) if rng.random() < 0.2 and radius < 60 else 0.0
    outline, radius = draw_body(rng, np.pi * radius**2, limbs)
    side = outline.shape[0] // 2
    hidden = rng.random() < 0.1
    texture = camouflage_texture(rng, background, side, side) if hidden else draw_texture(rng, side, side)
    finish = _FINISHES[int(rng.integers(len(_FINISHES)))]
    return _Role(Look(outline, texture, any_colour(rng), radius, finish), limbs)


def _add_clutter(rng: Rng, background: Picture, roles: list[_Role], hardness: float) -> None:
    """Draws things that never move onto the background, in place, some with the texture of an object."""
    for _ in range(int(rng.integers(0, 6 + int(18 * hardness)))):
        area = float(np.exp(rng.uniform(np.log(100.0), np.log(6000.0))))
        outline, _ = draw_body(rng, area)
        side = outline.shape[0] // 2
        texture = draw_texture(rng, side, side)
        if rng.random() < 0.35 * hardness:
            owner = roles[int(rng.integers(len(roles)))].look.texture
            texture = owner[:side, :side] if len(owner) >= side else np.resize(owner, texture.shape)
        sprite = make_sprite(
            outline, texture, texture[0, 0], [], _FINISHES[int(rng.integers(len(_FINISHES)))]
        )
        high, wide = sprite.body.shape
        if high < background.shape[0] and wide < background.shape[1]:
            top = int(rng.integers(background.shape[0] - high))
            left = int(rng.integers(background.shape[1] - wide))
            composite(background[top : top + high, left : left + wide], sprite.pixels)


def _cast(rng: Rng, camera: Array, roles: list[_Role], verb: str, hardness: float) -> list[Actor]:
    """Draws the tracked objects, look-alikes, and what passes in front; returns them in drawing order."""
    frames = len(camera)
    trips: list[Trip] = []
    placed: list[tuple[float, Actor]] = []  # with a sort key: large actors are mostly drawn first
    for number, role in enumerate(roles):
        story = draw_story(rng, frames, verb if number == 0 else str(rng.choice(list(NOUNS))))
        actor = _enter(rng, number + 1, role, story, camera, trips)
        placed.append((role.look.radius * float(np.exp(rng.normal(0.0, 0.4))), actor))
    for _ in range(int(rng.integers(0, 2 + round(3 * hardness)))):
        twin = _resembling(rng, roles[int(rng.integers(len(roles)))])
        actor = _enter(rng, 0, twin, draw_story(rng, frames, str(rng.choice(list(NOUNS)))), camera, trips)
        placed.append((twin.look.radius * float(np.exp(rng.normal(0.0, 0.4))), actor))
    actors = [actor for _, actor in sorted(placed, key=lambda known: -known[0])]
    meeting = int(frames * rng.uniform(0.2, 0.8))
    if rng.random() < 0.25:
        actors.append(reaching_arm(rng, camera, trips[0].screen[meeting], meeting))
    if rng.random() < 0.2 + 0.3 * hardness:
        cover = _draw_look(rng, 8, draw_texture(rng, *BACKGROUND_SIZE))
        actors.append(_enter(rng, 0, cover, Story(), camera, trips))
    return actors


def _resembling(rng: Rng, role: _Role) -> _Role:
    """Returns the same role, or its outline with another texture, or its texture in another outline."""
    look = role.look
    choice = rng.random()
    if choice < 0.35:
        return role
    if choice < 0.6:
        texture = draw_texture(rng, *look.texture.shape[:2])
        return _Role(Look(look.outline, texture, look.flesh, look.radius, look.finish), role.limbs)
    while True:
        outline, radius = draw_body(rng, float(rng.uniform(0.4, 1.0)) * float(look.outline.sum()) / 4)
        side = outline.shape[0] // 2
        if side <= len(look.texture):
            return _Role(Look(outline, look.texture[:side, :side], look.flesh, radius, look.finish), 0.0)


def _enter(rng: Rng, object_id: int, role: _Role, story: Story, camera: Array, trips: list[Trip]) -> Actor:
    """Plans an actor's trip (added to ``trips``), its pieces, and how its size and shape change."""
    look, frames = role.look, len(camera)
    style = MovementStyle(
        interval=((12, 26), (24, 46), (40, 80))[int(rng.integers(3))],
        stride=float(rng.choice([15.0, 45.0, 90.0])),
        border=float(rng.uniform(5, 45)),
        distance=float(rng.choice([0.0, 1.0, 2.0])),
    )
    trip = plan_trip(rng, camera, trips, look.radius, story.absence, style)
    trips.append(trip)
    turn = float(rng.uniform(0, 2 * np.pi)) + wander(rng, frames, float(rng.choice([0.1, 0.9, 2.5])))
    actor = make_actor(rng, object_id, look, story, trip.world, turn)
    if role.limbs and not story.cuts:
        actor.pieces = draw_limbs(rng, look, role.limbs, frames) + actor.pieces
    nearness = wander(rng, frames, float(rng.choice([0.05, 0.2, 0.5])), (30, 70))
    stretch = wander(rng, frames, float(rng.choice([0.0, 0.1, 0.3])), (12, 40))
    actor.pose = actor.pose @ scalings(np.exp(nearness + stretch), np.exp(nearness - stretch))
    return actor
