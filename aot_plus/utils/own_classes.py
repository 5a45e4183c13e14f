"""Imports classes of a user's own, which configs and flags name as ``package.module:ClassName``."""

import importlib
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

from aot_plus.utils.errors import ConfigError

__all__ = ["import_class"]


def import_class(path: str, key: str) -> type:
    """Imports the class at ``package.module:ClassName``, also from the working folder.

    Raises ``ConfigError`` that begins with ``key``, the name of the config or flag.
    """
    module_name, _, class_name = path.partition(":")
    try:
        found = getattr(_import(module_name), class_name)
    except (ImportError, AttributeError, TypeError, ValueError, NameError, SyntaxError) as error:
        where = f"; modules are looked for in {Path.cwd()} as well"
        hint = where if isinstance(error, ModuleNotFoundError) else ""
        raise ConfigError(f"{key}: cannot import {path!r} ({error}){hint}") from error
    if not isinstance(found, type):
        raise ConfigError(f"{key}: expected a class, found {path!r}, which is {found!r}")
    return found


def _import(name: str) -> ModuleType:
    """Imports a module, from the working folder as well, where an installed command does not look."""
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
