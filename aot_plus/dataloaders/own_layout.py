"""Guards users' own layouts: an error in a method, or an answer of another type, is named with the layout."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from inspect import isfunction
from pathlib import Path
from typing import Any

from aot_plus.utils.errors import ConfigError
from aot_plus.utils.own_classes import own_errors

__all__ = ["guard_methods"]


def guard_methods(cls: type, interface: type) -> None:
    """Wraps the methods and properties of ``cls`` that override those of ``interface``.

    They then raise ``ConfigError`` for any error but ``OSError`` and the project's own.
    """
    name = f"{cls.__module__}:{cls.__qualname__}"
    guard = own_errors("the layout", name, OSError)
    for method in vars(interface).keys() & vars(cls).keys():
        own = vars(cls)[method]
        if isfunction(own):
            setattr(cls, method, guard(_checked(own, f"the layout {name!r}: {method}()")))
        elif isinstance(own, property) and own.fget is not None:
            setattr(cls, method, property(guard(own.fget)))


def _checked(method: Callable[..., Any], place: str) -> Callable[..., Any]:
    """Returns a method that raises ``ConfigError`` if its answer has another type than in ``Dataset``."""
    if method.__name__ not in _ANSWERS:
        return method
    expected, fits = _ANSWERS[method.__name__]

    @wraps(method)
    def checked(*args: Any, **kwargs: Any) -> Any:
        answer = method(*args, **kwargs)
        if not fits(answer):
            raise ConfigError(f"{place}: expected {expected}, found {_described(answer)}")
        return answer

    return checked


def _described(value: object) -> str:
    """Returns a value in short, with its type and those of its items."""
    items = value.values() if isinstance(value, Mapping) else () if isinstance(value, str) else value
    kinds = sorted({type(item).__name__ for item in items}) if isinstance(items, Collection) else []
    of = f" of {' and '.join(kinds)}" if kinds else ""
    return f"{value!r:.100} ({type(value).__name__}{of})"


def _is_list_of(value: object, kind: type) -> bool:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return is_list and all(isinstance(item, kind) for item in value)  # type: ignore[attr-defined]


def _are_masks(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(frame, str) and files and _is_list_of(files, Path) for frame, files in value.items()
    )


_NAMES = ("a list of names", lambda value: _is_list_of(value, str))
_ANSWERS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "missing": ("a list of messages", lambda value: _is_list_of(value, str)),
    "sequences": _NAMES,
    "splits": _NAMES,
    "object_folders": _NAMES,
    "list_images": ("a tuple of paths", lambda value: _is_list_of(value, Path)),
    "list_masks": ("a dictionary from the names of frames to tuples of paths", _are_masks),
}
