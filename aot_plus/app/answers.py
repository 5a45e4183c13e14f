"""Answers the requests of the page's script: takes an action and its values, returns JSON."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from aot_plus.app.painting import Stroke
from aot_plus.app.session import Session
from aot_plus.app.view import areas_view, layer_view, memory_view, overview, picture_view, thumbnails_view
from aot_plus.dataloaders.box_masks import Box
from aot_plus.utils.errors import DataError, VOSError

__all__ = ["Answers"]

_log = logging.getLogger(__name__)

Values = Mapping[str, Any]
_MOST_POINTS = 20_000  # per stroke
_LARGEST = 1e5  # pixels: no frame is this large
_MOST_THUMBNAILS = 64


class Answers:
    """Answers the requests of the page.

    An answer holds ``state`` (everything but pictures) and, for the frame shown, the ``layer`` of the
    objects, the ``memory``, and the ``picture`` unless the page ``has`` it. A request with ``follow`` first
    goes to the frame that the run has reached. A request that names a ``project`` changes no other project.
    Nothing is raised: ``error`` is a message that says what went wrong. A picture that cannot be made is
    empty.
    """

    def __init__(self, session: Session, uploads: Path) -> None:
        """``uploads``: the folder for files uploaded from the browser."""
        self._session = session
        self._uploads = uploads.resolve()
        self._actions: dict[str, Callable[[Values], object]] = {
            "show": lambda values: session.show(_whole(values, "frame")),
            "look": lambda values: None,
            "paint": self._paint,
            "box": self._box,
            "load": self._load,
            "undo": lambda values: session.undo(),
            "add": lambda values: session.add_object(),
            "rename": lambda values: session.rename_object(_whole(values, "id"), str(values["name"])),
            "hide": lambda values: session.hide_object(_whole(values, "id"), values["hidden"] is True),
            "remove": lambda values: session.remove_object(_whole(values, "id")),
            "segment": lambda values: session.segment(_whole(values, "frame"), _whole(values, "step")),
            "stop": lambda values: session.stop(),
        }

    def answer(self, action: str, values: Values) -> dict[str, Any]:
        """Performs an action. The answers to ``areas`` and ``thumbnails`` hold nothing else."""
        try:
            if action == "areas":
                return {"areas": areas_view(self._session.opened)}
            if action == "thumbnails":
                return {"thumbnails": self._thumbnails(values)}
            return self._do(action, values)
        except VOSError as error:
            return {"error": str(error)}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            return {"error": f"the page sent an invalid request {action!r:.40} ({error!r:.80})"}
        except (OSError, RuntimeError, MemoryError, cv2.error) as error:
            _log.exception("%s failed", action)
            return {"error": f"{action}: {type(error).__name__}: {error}"}

    def _do(self, action: str, values: Values) -> dict[str, Any]:
        errors: list[str] = []
        name = self._session.opened.project.folder.name
        is_shown = values.get("project", name) == name
        with _noted(errors):
            if not is_shown:
                raise DataError("another project was opened in another tab: reload this page")
            self._actions[action](values)
        opened = self._session.opened
        progress = opened.progress  # read once: an answer that says the run ended must show its last frame
        if values.get("follow") is True and progress.done:
            self._session.show(progress.frame)
        frame = opened.project.frame  # read once too: another tab may go to another frame
        answer: dict[str, Any] = {
            "state": overview(opened, progress, frame),
            "memory": memory_view(opened, frame),
        }
        has_picture = is_shown and values.get("has") == frame
        pictures = {"layer": layer_view} | ({} if has_picture else {"picture": picture_view})
        for name, view in pictures.items():
            answer[name] = ""
            with _noted(errors):
                answer[name] = view(opened, frame)
        return answer | ({"error": errors[0]} if errors else {})

    def _paint(self, values: Values) -> None:
        points = [(_number(x), _number(y)) for x, y in values["points"][:_MOST_POINTS]]
        if not points:
            raise DataError("a stroke has no points")
        diameter = min(max(_number(values["diameter"]), 1.0), 2000.0)
        self._session.stroke(_whole(values, "frame"), Stroke(_whole(values, "id"), points, diameter))

    def _box(self, values: Values) -> None:
        x, y, width, height = (round(_number(value)) for value in values["box"])
        self._session.box(_whole(values, "frame"), Box(x, y, width, height), _whole(values, "id"))

    def _load(self, values: Values) -> None:
        path = Path(str(values["path"])).resolve()
        if not path.is_relative_to(self._uploads):
            raise DataError("a mask can only be loaded from an upload")
        self._session.load_mask(_whole(values, "frame"), path)

    def _thumbnails(self, values: Values) -> dict[str, str]:
        numbers = [int(number) for number in values["frames"][:_MOST_THUMBNAILS]]
        return thumbnails_view(self._session.opened, numbers)


@contextmanager
def _noted(errors: list[str]) -> Iterator[None]:
    """Collects an error of the block in ``errors``, so that the page can still show everything else."""
    try:
        yield
    except VOSError as error:
        errors.append(str(error))


def _whole(values: Values, name: str) -> int:
    value = values[name]
    if type(value) is not int or abs(value) > _LARGEST * _LARGEST:
        raise ValueError(f"{name}: {value!r:.40}")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > _LARGEST:
        raise ValueError(f"{value!r:.40} is not a position or length in a frame")
    return float(value)
