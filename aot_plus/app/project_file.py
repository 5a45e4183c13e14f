"""Reads and writes a project's file: what is known about a video, apart from its masks."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aot_plus.app.frames import FrameList
from aot_plus.app.settings import Settings
from aot_plus.utils.errors import DataError
from aot_plus.utils.json_text import parse_json
from evaluation.files import replace_text, require_regular
from evaluation.masks import IGNORE_ID

__all__ = [
    "LONGEST_NAME",
    "PROJECT_FILE",
    "Chain",
    "ProjectData",
    "TrackedObject",
    "chain_name",
    "clean_name",
    "read_project",
    "write_project",
]

PROJECT_FILE = "project.json"
LONGEST_NAME = 60  # characters of an object's name, and of a folder's
_VERSION = 1


@dataclass(frozen=True)
class TrackedObject:
    """Holds an object of the video. A hidden object is tracked, but neither drawn nor changed by a brush."""

    id: int
    name: str
    hidden: bool = False


@dataclass(frozen=True)
class Chain:
    """Describes a run through the video, which can be continued at any of its frames.

    Attributes:
        first: the frame at which its memory began.
        last: the last frame that was segmented.
        step: 1 forward, -1 backward.
        settings: the settings of the run.
        weights: SHA-256 of its checkpoint; empty in older projects.
    """

    first: int
    last: int
    step: int
    settings: Settings
    weights: str

    def position(self, frame: int) -> int:
        """Returns how many steps a frame comes after the first; negative if it comes before."""
        return (frame - self.first) * self.step

    def reached(self, frame: int) -> bool:
        return 0 <= self.position(frame) <= self.position(self.last)

    def frame(self, position: int) -> int:
        return self.first + position * self.step

    @property
    def name(self) -> str:
        return chain_name(self.step)


def chain_name(step: int) -> str:
    """Returns the name of a direction's run, which its files also have."""
    return "forward" if step > 0 else "backward"


@dataclass
class ProjectData:
    """Holds the content of ``project.json``."""

    title: str
    source: str  # path of the video or folder of images
    size: tuple[int, int]  # H, W of the frames
    frames: FrameList | None = None  # None in older projects
    settings: Settings = field(default_factory=Settings)
    objects: list[TrackedObject] = field(default_factory=list)
    next_id: int = 1
    # Frames whose mask was given by hand -> ids that a run had found there. Ids that the given mask no
    # longer shows were erased by hand.
    given: dict[int, list[int]] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    frame: int = 0  # the frame that is shown


def read_project(folder: Path) -> ProjectData:
    """Reads the file in a project's folder. Raises ``DataError`` if it is missing or damaged."""
    path = folder / PROJECT_FILE
    require_regular(path)
    try:
        return _parsed(parse_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such project") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read as a project ({error!r})") from error


def write_project(folder: Path, data: ProjectData) -> None:
    """Writes the file in a project's folder. Raises ``DataError``."""
    content = asdict(data) | {"version": _VERSION}
    replace_text(folder / PROJECT_FILE, json.dumps(content, indent=1, ensure_ascii=False))


def clean_name(name: str) -> str:
    """Returns the part of a name that can be shown on one line."""
    return "".join(char for char in name if char.isprintable()).strip()[:LONGEST_NAME]


def _parsed(content: Mapping[str, Any]) -> ProjectData:
    """Parses what ``write_project`` wrote. Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    if content["version"] != _VERSION:
        raise ValueError(f"version {_VERSION} was expected, found {content['version']!r}")
    height, width = content["size"]
    frames = content.get("frames")
    return ProjectData(
        title=str(content["title"]),
        source=str(content["source"]),
        size=(int(height), int(width)),
        frames=None if frames is None else _frame_list(frames),
        settings=Settings.parsed(content["settings"]),
        objects=[_object(item) for item in content["objects"]],
        next_id=int(content["next_id"]),
        given={int(frame): [int(value) for value in ids] for frame, ids in content["given"].items()},
        chains={name: _chain(item) for name, item in content["chains"].items()},
        frame=int(content["frame"]),
    )


def _frame_list(item: Mapping[str, Any]) -> FrameList:
    return FrameList(int(item["count"]), str(item["names"]), tuple(map(str, item.get("parts", ()))))


def _object(item: Mapping[str, Any]) -> TrackedObject:
    if not 0 < int(item["id"]) < IGNORE_ID:
        raise ValueError(f"object {item['id']!r}")
    return TrackedObject(int(item["id"]), clean_name(str(item["name"])), bool(item["hidden"]))


def _chain(item: Mapping[str, Any]) -> Chain:
    if item["step"] not in (1, -1):
        raise ValueError(f"step {item['step']!r}")
    settings, weights = Settings.parsed(item["settings"]), str(item.get("weights", ""))
    return Chain(int(item["first"]), int(item["last"]), item["step"], settings, weights)
