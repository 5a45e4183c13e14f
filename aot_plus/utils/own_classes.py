"""Imports user-defined classes by ``package.module:ClassName``, and reports where they fail."""

import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

from aot_plus.utils.errors import ConfigError, VOSError

__all__ = ["import_class", "own_errors"]


def import_class(path: str, key: str) -> type:
    """Imports the class at ``package.module:ClassName``; the working folder is searched too.

    Raises ``ConfigError`` that begins with ``key``, the name of the config value or flag.
    """
    module_name, _, class_name = path.partition(":")
    try:
        found = getattr(_import(module_name), class_name)
    except Exception as error:  # any kind: the module's code runs
        where = f"; modules are looked for in {Path.cwd()} as well"
        hint = where if isinstance(error, ModuleNotFoundError) else ""
        raise ConfigError(f"{key}: cannot import {path!r} ({_described(error)}){hint}") from error
    if not isinstance(found, type):
        raise ConfigError(f"{key}: expected a class, found {path!r}, which is {found!r}")
    return found


def _import(name: str) -> ModuleType:
    """Imports a module, also from the working folder, where an installed command does not look by itself."""
    top = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        spec = PathFinder.find_spec(top, [str(Path.cwd())])
        if error.name != top or spec is None or spec.loader is None:
            raise
    sys.modules[top] = module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[top])
    except BaseException:
        del sys.modules[top]
        raise
    return importlib.import_module(name)


@contextmanager
def own_errors(key: str, name: str, *unchanged: type[Exception], task: str = "") -> Iterator[None]:
    """Turns an error in a user's class, or timm's, into a ``ConfigError`` that says where it was raised.

    The original error is the cause of the new one. Errors in this project's classes, whose ``name`` has no
    colon, and ``VOSError``s pass unchanged.

    Args:
        key: the config value that names the class.
        name: the name of the class.
        unchanged: other kinds of errors that pass unchanged.
        task: what the class was asked for, where the error alone does not tell.
    """
    try:
        yield
    except Exception as error:
        if ":" not in name or isinstance(error, (VOSError, *unchanged)):
            raise
        asked = f": {task}" if task else ""
        raise ConfigError(f"{key} {name!r}{asked}: {_described(error, _place(error, name))}") from error


def _described(error: Exception, place: str = "") -> str:
    """Returns the type, place and message of an error in one line."""
    return f"{type(error).__name__}{place}: {' '.join(str(error).split())}"


def _place(error: Exception, name: str) -> str:
    """Returns the last line in the class's file that led to the error; empty if there is none."""
    file = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
    lines = [entry for entry in traceback.extract_tb(error.__traceback__) if entry.filename == file]
    return f" in {lines[-1].name}(), {file}, line {lines[-1].lineno}" if lines else ""
