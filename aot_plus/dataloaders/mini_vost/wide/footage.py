"""Films a wide scene: moving shade, exposure, colours, blur, noise, loss of resolution, compression."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.mini_vost.arrays import Array, Picture, Rng, repeat_channels
from aot_plus.dataloaders.mini_vost.motion import HEIGHT, WIDTH, apply, wander
from aot_plus.dataloaders.mini_vost.textures import fractal_noise
from aot_plus.utils.images import Image

ROOM = 128
"""How many pixels larger than a frame the fields of shade and noise are: each frame uses another part."""
_MIDDLE_GREY = 115.0
_LONGEST_STREAK = 13  # pixels of motion blur


@dataclass(frozen=True)
class Footage:
    """Holds the properties of the camera and the light over T frames."""

    shade: Picture  # (HEIGHT + ROOM) x (WIDTH + ROOM), brightness
    shade_corner: NDArray[np.int64]  # T x 2, 0..ROOM, row and column
    colours: Picture  # T x 3 x 4, multiplied with (red, green, blue, 1)
    gamma: Array  # T
    defocus: Array  # T, sigma in pixels
    streak: Array  # T x 2, motion (x, y) in pixels while the shutter is open
    detail: float  # share of the resolution that is kept, at most 1
    noise: Picture  # (HEIGHT + ROOM) x (WIDTH + ROOM) x 3, grey levels
    noise_corner: NDArray[np.int64]  # T x 2
    jpeg: int  # quality, 0 for none

    def film(self, picture: Image, frame: int) -> Image:
        """Returns frame ``frame`` as the camera records it; both are H x W x 3 RGB."""
        lit = cv2.transform(picture.astype(np.float32), self.colours[frame])
        shaded = lit * repeat_channels(_part(self.shade, self.shade_corner[frame]))
        blurred = self._blur(np.asarray(shaded, np.float32), frame)
        blurred += _part(self.noise, self.noise_corner[frame])
        seen = cv2.LUT(np.clip(blurred, 0, 255).astype(np.uint8), _curve(float(self.gamma[frame])))
        return _compressed(np.asarray(seen, np.uint8), self.jpeg) if self.jpeg else np.asarray(seen, np.uint8)

    def _blur(self, picture: Picture, frame: int) -> Picture:
        if self.detail < 1:
            small = cv2.resize(picture, None, fx=self.detail, fy=self.detail, interpolation=cv2.INTER_AREA)
            picture = np.asarray(
                cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR), np.float32
            )
        if self.defocus[frame] > 0.3:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), float(self.defocus[frame])), np.float32)
        if np.abs(self.streak[frame]).max() >= 1:
            picture = np.asarray(cv2.filter2D(picture, -1, _streak_kernel(self.streak[frame])), np.float32)
        return picture


def draw_footage(rng: Rng, camera: Array, level: float, hardness: float) -> Footage:
    """Draws how a scene is filmed.

    ``camera``: T x 3 x 3. ``level``: the scene's mean brightness, 0..255. ``hardness``: from 0,
    nearly clean, to 1.
    """
    frames = len(camera)
    noise = float(rng.uniform(0.5, 14.0)) * hardness if rng.random() < 0.8 else 0.0
    defocus = float(rng.uniform(0.3, 2.0)) * hardness if rng.random() < 0.5 else 0.0
    exposure = float(rng.uniform(0.1, 0.9)) if rng.random() < 0.5 else 0.0
    return Footage(
        shade=_draw_shade(rng, hardness),
        shade_corner=_wandering_corner(rng, frames),
        colours=_draw_colours(rng, frames, level, hardness),
        gamma=np.exp(float(rng.uniform(-0.4, 0.4)) * hardness + wander(rng, frames, 0.2 * hardness)),
        defocus=np.abs(defocus + wander(rng, frames, defocus)),
        streak=exposure * _speed(camera),
        detail=float(rng.uniform(0.4, 0.9)) if rng.random() < 0.3 * hardness else 1.0,
        noise=_draw_noise(rng, noise),
        noise_corner=rng.integers(0, ROOM, (frames, 2)),
        jpeg=int(rng.integers(15, 90)) if rng.random() < 0.6 else 0,
    )


def _draw_shade(rng: Rng, hardness: float) -> Picture:
    """Draws soft or sharp patches of shade; some scenes have none."""
    size = (HEIGHT + ROOM, WIDTH + ROOM)
    depth = float(rng.uniform(0.1, 0.6)) * hardness if rng.random() < 0.7 else 0.0
    patches = fractal_noise(rng, *size, float(rng.uniform(40.0, 160.0)), 2)
    edge = float(rng.choice([1.5, 4.0, 15.0]))
    return np.asarray(1.0 - depth * np.clip(0.5 + edge * (patches - 0.5), 0, 1), np.float32)


def _draw_colours(rng: Rng, frames: int, level: float, hardness: float) -> Picture:
    """Returns T x 3 x 4: exposure and colour of the light, which vary over time, saturation, and haze."""
    light = wander(rng, frames, 0.35 * hardness, (15, 50))
    light += 0.6 * np.log(_MIDDLE_GREY / max(level, 20.0))  # cameras raise the exposure in the dark
    if rng.random() < 0.15:
        light += np.where(np.arange(frames) > rng.integers(frames), float(rng.uniform(-0.5, 0.4)), 0.0)
    if rng.random() < 0.1:
        light += rng.normal(0.0, 0.06, frames)  # a flickering lamp
    tones = np.stack([wander(rng, frames, 0.12 * hardness) for _ in range(3)], axis=1)
    gains = np.exp(light[:, None] + tones + rng.uniform(-0.15, 0.15, 3))
    saturation = float(rng.uniform(0.5, 1.3)) if rng.random() > 0.08 else 0.0
    mixing = saturation * np.eye(3) + (1 - saturation) / 3
    haze = float(rng.uniform(0.1, 0.4)) * hardness if rng.random() < 0.2 else 0.0
    matrix = np.zeros((frames, 3, 4))
    matrix[:, :, :3] = (1 - haze) * gains[:, :, None] * mixing
    matrix[:, :, 3] = haze * float(rng.uniform(80, 230))
    return matrix.astype(np.float32)


def _draw_noise(rng: Rng, strength: float) -> Picture:
    """Draws noise, grey or independent per colour channel, fine or slightly coarse."""
    size = (HEIGHT + ROOM, WIDTH + ROOM)
    colours = 1 if rng.random() < 0.6 else 3
    noise = np.float32(strength) * rng.standard_normal((*size, colours), dtype=np.float32)
    if colours == 1:
        noise = np.asarray(cv2.merge([noise] * 3), np.float32)
    if rng.random() < 0.3:
        noise = np.asarray(1.7 * cv2.GaussianBlur(noise, (3, 3), 0), np.float32)
    return noise


def _wandering_corner(rng: Rng, frames: int) -> NDArray[np.int64]:
    """Returns T x 2: corners that stand still or wander within 0..ROOM."""
    reach = ROOM / 2 * float(rng.choice([0.0, 0.4, 1.0]))
    path = np.stack([wander(rng, frames, reach), wander(rng, frames, reach)], axis=1)
    return np.asarray(np.rint(path + ROOM / 2), np.int64)


def _speed(camera: Array) -> Array:
    """Returns T x 2: how far the middle of the picture moves (x, y) by the next frame, in pixels."""
    middle = np.array([[WIDTH / 2, HEIGHT / 2]])
    back = np.linalg.inv(camera)
    moved = [
        apply(camera[min(t + 1, len(camera) - 1)], apply(back[t], middle))[0] - middle[0]
        for t in range(len(camera))
    ]
    return np.stack(moved)


def _part(field: Picture, corner: NDArray[np.int64]) -> Picture:
    top, left = corner
    return field[top : top + HEIGHT, left : left + WIDTH]


def _curve(gamma: float) -> NDArray[np.uint8]:
    return np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)


def _compressed(picture: Image, quality: int) -> Image:
    """Returns a picture after JPEG compression. OpenCV takes red for blue both times, which cancels out."""
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def _streak_kernel(motion: Array) -> Picture:
    """Returns a kernel that blurs a picture along ``motion`` (x, y), at most ``_LONGEST_STREAK`` pixels."""
    length = float(np.linalg.norm(motion))
    x, y = motion / length * min(length, _LONGEST_STREAK - 2) / 2
    middle = _LONGEST_STREAK // 2
    kernel = np.zeros((_LONGEST_STREAK, _LONGEST_STREAK), np.float32)
    start, end = ((round(16 * (middle + side * x)), round(16 * (middle + side * y))) for side in (-1, 1))
    cv2.line(kernel, start, end, 1.0, shift=4)  # coordinates are in sixteenths of a pixel
    return np.asarray(kernel / kernel.sum(), np.float32)
