"""Plans a sequence: all its random values are drawn here, seeded with [seed, split, index] alone."""

import cv2
import numpy as np

from aot_plus.dataloaders.mini_vost.actors import Actor, Look, Piece, make_actor
from aot_plus.dataloaders.mini_vost.arrays import Array, Picture, Rng, composite
from aot_plus.dataloaders.mini_vost.events import NOUNS, Story, draw_cuts, draw_story
from aot_plus.dataloaders.mini_vost.motion import (
    HEIGHT,
    WIDTH,
    camera_path,
    ramp,
    rotations,
    translations,
    wander,
)
from aot_plus.dataloaders.mini_vost.paths import Trip, plan_reach, plan_trip
from aot_plus.dataloaders.mini_vost.render import render_ids
from aot_plus.dataloaders.mini_vost.scene import Scene
from aot_plus.dataloaders.mini_vost.shapes import canvas_side, draw_arm, draw_outline, make_sprite
from aot_plus.dataloaders.mini_vost.textures import (
    background_texture,
    fractal_noise,
    object_texture,
    random_colour,
)

GENERATOR_VERSION = 1
"""Must be raised by every change that changes a pixel for the same seed."""
SPLIT_NAMES = ("train", "val")
BACKGROUND_SIZE = (440, 560)
MIN_VISIBLE = 200
"""Least number of pixels of every tracked object in the first frame."""


def sequence_generator(seed: int, split: str, index: int) -> tuple[Rng, str]:
    """Draws a sequence's name, ``<number>_<verb>_<noun>``; returns its random generator and the name.

    Train sequences have even numbers, val sequences odd ones, so names never clash. Raises ``ValueError``.
    """
    if split not in SPLIT_NAMES:
        raise ValueError(f"split: expected one of {', '.join(SPLIT_NAMES)}, found {split!r}")
    if not 0 <= seed < 2**32 or not 0 <= index < 2**31:
        raise ValueError(
            f"seed and index must be whole numbers from 0 and fit in 32 bits, found {seed} and {index}"
        )
    rng = np.random.default_rng([seed, SPLIT_NAMES.index(split), index])
    verb = str(rng.choice(list(NOUNS)))
    noun = str(rng.choice(NOUNS[verb]))
    return rng, f"{2 * index + SPLIT_NAMES.index(split):04d}_{verb}_{noun}"


def plan_scene(seed: int, split: str, index: int) -> Scene:
    """Plans one sequence: 140 to 160 frames, 1 to 4 tracked objects. Equal arguments give equal scenes.

    Plans are drawn until every tracked object shows at least MIN_VISIBLE pixels in the first frame. Raises
    ``ValueError`` for an unknown split or numbers out of range, ``RuntimeError`` if 50 plans do not suffice.
    """
    rng, name = sequence_generator(seed, split, index)
    for _ in range(50):
        scene = _draw_scene(rng, name)
        visible = np.bincount(render_ids(scene, 0).ravel(), minlength=scene.num_objects + 1)
        if visible[1 : scene.num_objects + 1].min() >= MIN_VISIBLE:
            return scene
    raise RuntimeError(
        f"{name}: no plan shows every object in the first frame (seed {seed}, {split} {index})"
    )


def _draw_scene(rng: Rng, name: str) -> Scene:
    frames = int(rng.integers(140, 161))
    camera = camera_path(rng, frames)
    count = int(rng.choice([1, 2, 3, 4], p=[0.2, 0.35, 0.25, 0.2]))
    actors = _cast(rng, camera, count, verb=name.split("_")[1])
    drift = rng.uniform(-1, 1, 2) * float(rng.choice([0.0, 20.0]))
    travel = ramp(frames, 0, frames)[:, None] * drift
    tones = np.stack([wander(rng, frames, 0.03) for _ in range(3)], axis=1)
    noise = rng.normal(0.0, float(rng.uniform(1.5, 3.5)), (HEIGHT + 64, WIDTH + 64, 1))
    return Scene(
        name=name,
        num_frames=frames,
        num_objects=count,
        background=_cluttered(rng, background_texture(rng, *BACKGROUND_SIZE)),
        background_pose=translations(travel[:, 0], travel[:, 1]),
        camera=camera,
        actors=actors,
        light=_light(rng),
        gain=np.exp(wander(rng, frames, 0.1)[:, None] + tones).astype(np.float32),
        noise=noise.astype(np.float32),
        noise_offset=rng.integers(0, 64, (frames, 2)),
    )


def _cast(rng: Rng, camera: Array, count: int, verb: str) -> list[Actor]:
    """Draws the tracked objects, look-alikes, and often an arm on top; returns them in drawing order."""
    frames = len(camera)
    trips: list[Trip] = []
    actors: list[Actor] = []
    radius = float(rng.uniform(27, 37)) * {1: 1.1, 2: 1.0, 3: 0.92, 4: 0.85}[count]
    looks = [_draw_look(rng, radius * float(rng.uniform(0.85, 1.1))) for _ in range(count)]
    for number, look in enumerate(looks):
        story = draw_story(rng, frames, verb if number == 0 else str(rng.choice(list(NOUNS))))
        actors.append(_enter(rng, number + 1, look, story, camera, trips))
    for _ in range(int(rng.choice([0, 1, 2], p=[0.3, 0.45, 0.25]))):
        twin = _look_alike(rng, looks[int(rng.integers(count))])
        story = Story(cuts=draw_cuts(rng, frames, jagged=False)) if rng.random() < 0.35 else Story()
        actors.append(_enter(rng, 0, twin, story, camera, trips))
    order = rng.permutation(len(actors))
    ordered = [actors[place] for place in order]
    if rng.random() < 0.6:
        meeting = int(frames * rng.uniform(0.35, 0.65))
        ordered.append(reaching_arm(rng, camera, trips[0].screen[meeting], meeting))
    return ordered


def _enter(rng: Rng, object_id: int, look: Look, story: Story, camera: Array, trips: list[Trip]) -> Actor:
    """Plans an actor's trip, which avoids the earlier ``trips`` and is added to them, then its pieces."""
    trip = plan_trip(rng, camera, trips, look.radius, story.absence)
    trips.append(trip)
    turn = float(rng.uniform(0, 2 * np.pi)) + wander(rng, len(camera), 0.9)
    return make_actor(rng, object_id, look, story, trip.world, turn)


def _draw_look(rng: Rng, radius: float) -> Look:
    texture = object_texture(rng, canvas_side(radius))
    return Look(draw_outline(rng, radius), texture, random_colour(rng, (0.15, 0.5), (0.75, 0.98)), radius)


def _look_alike(rng: Rng, look: Look) -> Look:
    """Returns a look with the same texture, in the same outline or in another one of the same size."""
    outline = look.outline if rng.random() < 0.5 else draw_outline(rng, look.radius)
    return Look(outline, look.texture, look.flesh, look.radius)


def reaching_arm(rng: Rng, camera: Array, target: Array, meeting: int) -> Actor:
    """Returns a hand on a sleeved arm that passes over a place on the screen; it is not tracked."""
    frames, length, width = len(camera), 170.0, float(rng.uniform(20, 28))
    path, direction = plan_reach(rng, frames, target, meeting)
    mask = draw_arm(length, width)
    side = canvas_side(length)
    skin = np.array([225.0, 172.0, 138.0]) * float(rng.uniform(0.45, 1.05))
    texture = np.tile(skin.astype(np.float32), (side, side, 1))
    cuff = side // 2 + int(1.2 * width)
    texture[:, cuff:] = object_texture(rng, side)[:, cuff:] * np.float32(0.8)
    sprite = make_sprite(mask, np.clip(texture, 0, 255), texture[0, 0], [])
    still = np.tile(np.eye(3), (frames, 1, 1))
    sway = direction + wander(rng, frames, 0.12, (12, 20))
    pose = np.linalg.inv(camera) @ translations(path[:, 0], path[:, 1]) @ rotations(sway)
    return Actor(0, [Piece(mask, sprite, still, 0, frames)], pose)


def _cluttered(rng: Rng, background: Picture) -> Picture:
    """Draws a few objects that never move onto the background, in place."""
    for _ in range(int(rng.integers(4, 12))):
        radius = float(rng.uniform(10, 34))
        texture = object_texture(rng, canvas_side(radius))
        grey = np.tile(np.float32(0.4) * texture.mean(axis=(0, 1)), texture.shape[1])  # for a row of pixels
        dull = ((np.float32(0.6) * texture).reshape(len(texture), -1) + grey).reshape(texture.shape)
        sprite = make_sprite(draw_outline(rng, radius), dull, dull[0, 0], [])
        high, wide = sprite.body.shape
        top, left = (
            int(rng.integers(0, whole - part))
            for whole, part in zip(BACKGROUND_SIZE, (high, wide), strict=True)
        )
        composite(background[top : top + high, left : left + wide], sprite.pixels, 0.85)
    return background


def _light(rng: Rng) -> Picture:
    """Draws the brightness over the frame: light from one side, and soft patches of shade."""
    patches = cv2.GaussianBlur(fractal_noise(rng, HEIGHT, WIDTH, 110.0, 1), (0, 0), 12.0)
    slope = float(rng.uniform(-0.12, 0.12)) * np.linspace(-1, 1, WIDTH, dtype=np.float32)
    fall = float(rng.uniform(-0.12, 0.12)) * np.linspace(-1, 1, HEIGHT, dtype=np.float32)
    return (0.84 + 0.22 * patches + slope + fall[:, None]).astype(np.float32)[..., None]
