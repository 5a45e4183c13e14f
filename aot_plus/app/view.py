"""Describes as JSON what the page shows: pictures, the memory bank, areas over time."""

import base64
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aot_plus.app.memory_log import reason
from aot_plus.app.opened import Opened
from aot_plus.app.project import Project
from aot_plus.app.project_file import Chain
from aot_plus.app.run import Progress
from aot_plus.networks.memory.trace import TraceEntry
from aot_plus.utils.images import Image
from aot_plus.viz.overlay import OBJECT_COLOURS, draw_objects, object_layer

__all__ = ["areas_view", "layer_view", "memory_view", "overview", "picture_view", "thumbnails_view"]

_LONGEST_EDGE = 1600  # pixels of a picture: more would not be visible on a page
_QUALITY = 90  # of JPEGs
_THUMBNAIL = 160  # pixels of the longer side
_BINS = 400  # points of a curve


def overview(opened: Opened, progress: Progress, frame: int) -> dict[str, Any]:
    """Describes everything but pictures: the video, objects, the run, the number of changes to undo.

    ``progress``: the run's. ``frame``: the frame that is shown.
    """
    project, frames = opened.project, opened.frames
    height, width = project.size
    return {
        "project": project.folder.name,
        "title": project.title,
        "width": width,
        "height": height,
        "frames": frames.count,
        "fps": frames.fps,
        "frame": frame,
        "name": frames.name(frame),
        "given": project.given_frames(),
        "hasMask": frame in project.masks,
        "objects": [asdict(item) | {"colour": _css_colour(item.id)} for item in project.objects],
        "undo": len(opened.history),
        "run": asdict(progress) | {"running": progress.is_running},
    }


def picture_view(opened: Opened, frame: int) -> str:
    """Returns a frame as the data URL of a JPEG."""
    return _jpeg(_scaled(opened.frames.image(frame), _LONGEST_EDGE, cv2.INTER_AREA))


def layer_view(opened: Opened, frame: int) -> str:
    """Returns the visible objects of a frame as the data URL of a PNG; "" if there is no mask."""
    mask = opened.project.mask(frame)
    if mask is None:
        return ""
    return _png(object_layer(_scaled(opened.project.visible(mask), _LONGEST_EDGE, cv2.INTER_NEAREST)))


def thumbnails_view(opened: Opened, numbers: Sequence[int]) -> dict[str, str]:
    """Returns small pictures of frames with their objects, by frame number."""
    pictures = {}
    for number in numbers:
        image = _scaled(opened.frames.image(number), _THUMBNAIL, cv2.INTER_AREA)
        mask = opened.project.mask(number)
        if mask is not None:
            small = _scaled(opened.project.visible(mask), _THUMBNAIL, cv2.INTER_NEAREST)
            image = draw_objects(image, small, numbered=False)
        pictures[str(number)] = _jpeg(image)
    return pictures


def memory_view(opened: Opened, frame: int) -> dict[str, Any] | None:
    """Describes what the memory bank held after a frame, and the decision behind it.

    Returns None for a frame that no run reached. If several did, the latest run counts.
    """
    chain = opened.chain_at(frame)
    if chain is None:
        return None
    log, settings = opened.logs[chain.step], chain.settings
    entry = log.at(chain, frame)
    bounded = settings.policy != "unbounded"
    return {
        "direction": chain.name,
        "policy": settings.policy,
        "capacity": settings.capacity if bounded else None,
        "groups": log.groups(),
        "frame": entry.frame,
        "dropped": entry.dropped,
        "declined": entry.declined,
        "reason": "" if entry.dropped is None else reason(settings.policy),
        "held": _held(opened.project, chain, entry),
    }


def _held(project: Project, chain: Chain, entry: TraceEntry) -> list[dict[str, Any]]:
    """Describes every frame of a decision: the stored frames, oldest first, then the new one."""
    given = set(project.given_frames())
    held = []
    for position, frame in enumerate([*entry.bank, entry.frame]):
        scores = {
            name: values[position]
            for name, values in entry.scores.items()
            if position < len(values) and math.isfinite(values[position])
        }
        mark = "new" if position == len(entry.bank) and entry.bank else ""
        if frame == entry.dropped:
            mark = "dropped"
        elif frame == entry.frame and entry.declined:
            mark = "declined"
        elif frame == chain.first or frame in given:
            mark = "reference"
        held.append({"frame": frame, "mark": mark, "scores": scores})
    return held


def areas_view(opened: Opened) -> dict[str, Any]:
    """Returns each object's share of the frame over time, in percent, at ``_BINS`` moments at most.

    A moment stands for ``every`` frames and shows the last one that has a mask; None if none has.
    """
    project = opened.project
    every = max(1, math.ceil(opened.frames.count / _BINS))
    pixels = project.size[0] * project.size[1]
    moments: list[dict[int, int] | None] = [None] * math.ceil(opened.frames.count / every)
    for frame, areas in project.masks.areas().items():
        if frame < opened.frames.count:
            moments[frame // every] = areas
    return {
        "every": every,
        "objects": [
            {
                "id": item.id,
                "shares": [
                    None if areas is None else round(100 * areas.get(item.id, 0) / pixels, 3)
                    for areas in moments
                ],
            }
            for item in project.objects
        ],
    }


def _scaled(image: NDArray[np.uint8], edge: int, method: int) -> Image:
    """Scales an image (H x W or H x W x 3) down to ``edge`` pixels on its longer side, if it is larger."""
    scale = edge / max(image.shape[:2])
    if scale >= 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def _jpeg(image: Image) -> str:
    """Encodes an image as a data URL."""
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return _address("jpeg", data.tobytes())


def _png(layer: NDArray[np.uint8]) -> str:
    """Encodes an image with opacity, H x W x 4 RGBA, as a data URL; fast rather than small."""
    bgra = cv2.cvtColor(layer, cv2.COLOR_RGBA2BGRA)
    _, data = cv2.imencode(".png", bgra, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return _address("png", data.tobytes())


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _css_colour(object_id: int) -> str:
    red, green, blue = OBJECT_COLOURS[object_id].tolist()
    return f"rgb({red} {green} {blue})"
