"""Resolves the names of a stage and a model to a ``Config``, and saves and reads it as a file."""

import ast
import importlib
import importlib.metadata
import pkgutil
import platform
import subprocess
import types
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

import aot_plus.configs as stages
import aot_plus.configs.models as models
from aot_plus.configs import Config, DefaultStage
from aot_plus.configs.datasets import DATASETS
from aot_plus.utils.config_ranges import check_relations, check_value
from aot_plus.utils.errors import ConfigError, nearest
from aot_plus.utils.own_classes import import_class
from evaluation.files import replace_text, require_regular
from evaluation.home import checkout

_LIBRARIES = ("aot-plus", "torch", "torchvision", "timm", "numpy", "opencv-python", "scipy", "pillow")
_REMOVED = {"MODEL_ENCODER_DIM": "an encoder defines its own channels; remove it"}
_LONGEST = 100  # most characters of a value in a message
_BOOLEANS = {"true": True, "false": False}

CONFIG_FILE = "config.yaml"  # the saved config in a run's folder
SUMMARY_FILE = "summary.json"  # an evaluation's counts and speed, in the same folder


def get_config(
    stage: str,
    model: str | None = None,
    exp_name: str = "default",
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """Resolves a stage and a model, by default the stage's ``TRAIN_MODEL``, to a config.

    Each is the name of a file in ``aot_plus/configs``, or ``package.module:ClassName`` of a user's class.
    Values come from the model, ``DefaultStage``, the dataset (``configs/datasets.py``), the stage and
    ``overrides``; later ones win. An override given as text is parsed as the type of its name. Raises
    ``ConfigError`` for an unknown stage, model or name, for a value outside its name's type or range, and for
    values that do not fit each other.
    """
    of_stage = _values_of(_find("stage", stage, stage_names(), stages.__name__, "StageConfig"))
    defaults = _values_of(DefaultStage, besides=object)
    chosen = {**defaults, **of_stage, **(overrides or {})}
    if model is None:
        model = str(chosen["TRAIN_MODEL"])
    of_model = _values_of(_find("model", model, model_names(), models.__name__, "ModelConfig"))
    of_dataset = _values_of(DATASETS.get(str(chosen["TEST_LAYOUT"] or chosen["TEST_DATASET"]), object))
    values = of_model | defaults | of_dataset | of_stage
    values |= {"STAGE_NAME": stage, "MODEL_NAME": model, "EXP_NAME": exp_name}
    config = Config()
    for name, value in [*values.items(), *(overrides or {}).items()]:
        setattr(config, name, _checked(name, value))
    check_relations(config)
    return config


def stage_names() -> list[str]:
    """Lists the stages: each file in ``aot_plus/configs`` except ``datasets``."""
    names = [module.name for module in pkgutil.iter_modules(stages.__path__) if not module.ispkg]
    return [name for name in names if name != "datasets"]


def model_names() -> list[str]:
    """Lists the models: each file in ``aot_plus/configs/models`` except ``default...``."""
    names = [module.name for module in pkgutil.iter_modules(models.__path__) if not module.ispkg]
    return [name for name in names if not name.startswith("default")]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns the message for an unknown stage or model, with the known ones."""
    there_are = f"there are: {', '.join(known)}, or package.module:ClassName for one of your own"
    return f"unknown {kind} {name!r}{nearest(name, known)}; {there_are}"


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Parses ``["NAME=VALUE", ...]`` for ``get_config``. Raises ``ConfigError`` for any other form."""
    overrides = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--overrides {assignment!r}: expected NAME=VALUE")
        overrides[name.strip()] = value.strip()
    return overrides


def config_to_dict(config: Config, ignored: Collection[str] = ()) -> dict[str, Any]:
    """Returns names and values in alphabetical order, as JSON and YAML types (tuples become lists).

    ``ignored``: names to leave out; an entry that ends in ``_`` is a prefix.
    """
    beginnings = tuple(name for name in ignored if name.endswith("_"))
    names = [name for name in sorted(_annotations()) if name not in ignored]
    values = {name: getattr(config, name) for name in names if not name.startswith(beginnings)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def save_config(config: Config, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Writes a YAML file with the repository's git commit (or null), the libraries' versions and the values.

    ``facts``: more entries of the file, which may replace ``commit`` and ``versions``.
    """
    content = {"commit": git_commit(), "versions": library_versions(), **(facts or {})}
    content["config"] = config_to_dict(config)
    replace_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def read_saved_config(path: Path) -> dict[str, Any]:
    """Reads the values that ``save_config`` wrote, with lists for tuples. Raises ``ConfigError``."""
    return dict(read_saved_content(path)["config"])


def read_saved_content(path: Path) -> dict[str, Any]:
    """Reads the whole file that ``save_config`` wrote, including ``config``. Raises ``ConfigError``."""
    require_regular(path)
    try:
        content = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        values = dict(content["config"])
        strange = [name for name, value in values.items() if not _is_saved(name, value)]
        if strange:
            raise ValueError(f"{strange[0]!r:.40} has a value that no config has")
        return content | {"config": values}
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; expected a saved config") from None
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path}: cannot be read as a saved config ({reason})") from error


def _is_saved(name: object, value: object) -> bool:
    """Returns whether ``save_config`` could have written a value: a number, text, None or a list of these."""
    items = value if isinstance(value, list) else [value]
    return isinstance(name, str) and all(isinstance(item, str | int | float | None) for item in items)


def config_differences(old: Mapping[str, Any], config: Config, ignored: Collection[str]) -> list[str]:
    """Lists the differences from the ``old`` values of a saved config, for names that both have.

    ``ignored``: as in ``config_to_dict``.
    """
    new = config_to_dict(config, ignored)
    return [
        f"{name} was {old[name]!r}, is {value!r}"
        for name, value in new.items()
        if name in old and old[name] != value
    ]


def git_commit() -> str | None:
    """Returns the repository's commit; None without git or a repository."""
    root = checkout()
    if root is None:  # an installed package, which may lie inside another repository
        return None
    command = ["git", "-C", str(root), "rev-parse", "--verify", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _find(kind: str, name: str, known: list[str], package: str, class_name: str) -> type:
    """Finds the config class of a stage or model."""
    if ":" in name:
        return import_class(name, f"--{kind}")
    if name not in known:
        raise ConfigError(unknown_name(kind, name, known))
    found = getattr(importlib.import_module(f"{package}.{name}"), class_name, None)
    if not isinstance(found, type):
        raise ConfigError(f"{package}.{name}: expected a class {class_name}, found none")
    return found


def _values_of(cls: type, besides: type = DefaultStage) -> dict[str, object]:
    """Returns the names and values of a config class and its bases, except the base ``besides``."""
    bases = [base for base in reversed(cls.__mro__) if base is not besides]
    return {name: value for base in bases for name, value in vars(base).items() if name[0] != "_"}


@cache
def _annotations() -> dict[str, Any]:
    return get_type_hints(Config)


def _checked(name: str, value: object) -> object:
    """Parses text, converts the value to its name's type and checks its range. Raises ``ConfigError``."""
    annotations = _annotations()
    if name in _REMOVED:
        raise ConfigError(f"{name} is no longer a name of the config: {_REMOVED[name]}")
    if name not in annotations:
        raise ConfigError(f"unknown config name {name!r}{nearest(name, annotations)}")
    expected = annotations[name]
    try:
        converted = _converted(_parsed(value, expected) if isinstance(value, str) else value, expected)
    except (ValueError, OverflowError):
        raise ConfigError(f"{name}: {_expectation(expected, value)}") from None
    check_value(name, converted)
    return converted


def _expectation(expected: Any, value: object) -> str:
    """Describes the expected type and the value found; for a choice of words, also the nearest word."""
    if get_origin(expected) is Literal:
        words = [str(word) for word in get_args(expected)]
        near = nearest(value, words) if isinstance(value, str) else ""
        return f"expected one of {', '.join(words)}, found {_shown(value)}{near}"
    text = str(expected) if get_origin(expected) else expected.__name__
    return f"expected {text.replace('typing.', '')}, found {_shown(value)}"


def _shown(value: object) -> str:
    """Formats a value of any type, shortened if it is long."""
    try:
        return repr(value) if len(repr(value)) <= _LONGEST else f"{repr(value)[:_LONGEST]}..."
    except ValueError:  # Python does not format an integer of thousands of digits
        return f"a {type(value).__name__} that is too large"


def _parsed(text: str, expected: Any) -> object:
    """Parses text for an expected type if possible; text for a string or a ``Literal`` stays as it is."""
    options = _options(expected)
    if types.NoneType in options and text == "None":
        return None
    if str in options or get_origin(expected) is Literal:
        return text
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        is_names = get_origin(expected) is tuple and get_args(expected)[0] is str
        return tuple(part for part in map(str.strip, text.split(",")) if part) if is_names else text


def _converted(value: object, expected: Any) -> object:
    """Converts to the expected type (int to float, list to tuple). Raises ``ValueError``."""
    origin = get_origin(expected)
    if origin is Literal:
        if value in get_args(expected):
            return value
    elif origin is tuple:
        return _converted_items(value, get_args(expected))
    elif expected is float and type(value) is int:
        return float(value)
    elif type(value) in _options(expected):
        return value
    raise ValueError


def _converted_items(value: object, kinds: tuple[Any, ...]) -> tuple[object, ...]:
    """Converts the items of a list or tuple to ``kinds``; ``(kind, ...)`` allows any number of items."""
    if not isinstance(value, list | tuple):
        raise ValueError
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    return tuple(_converted(item, kind) for item, kind in zip(value, kinds, strict=True))


def _options(expected: Any) -> tuple[Any, ...]:
    """Returns the members of a union; for any other type, the type itself."""
    return get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)


def library_versions() -> dict[str, str]:
    """Returns the versions of Python, this package and the installed libraries that results depend on."""
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
