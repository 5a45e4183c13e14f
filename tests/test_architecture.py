"""Imports go one way: tools, pipeline, report, managers, engines, models and memory, layers, never back."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

# The project's packages and modules ("rooms"), with those that each may import besides itself. A module
# belongs to the room with the longest matching name.
_BELOW_ENGINES = (
    "aot_plus.configs",
    "aot_plus.networks.layers",
    "aot_plus.networks.memory",
    "aot_plus.networks.models",
    "aot_plus.utils",
    "evaluation",
)
_BELOW_PIPELINE = (
    "aot_plus.configs",
    "aot_plus.dataloaders",
    "aot_plus.networks",
    "aot_plus.utils",
    "aot_plus.viz",
)
ALLOWED = {
    "aot_plus": ("aot_plus.networks.engines", "aot_plus.networks.models", "aot_plus.utils"),
    "aot_plus.__main__": ("aot_plus.tools",),
    "aot_plus.configs": (),
    "aot_plus.utils": ("aot_plus.configs", "evaluation"),
    "aot_plus.download": ("aot_plus.utils", "evaluation"),
    "aot_plus.dataloaders": ("aot_plus.configs", "aot_plus.utils", "evaluation"),
    "aot_plus.viz": (
        "aot_plus.configs",
        "aot_plus.dataloaders",
        "aot_plus.networks.memory",
        "aot_plus.utils",
        "evaluation",
    ),
    "aot_plus.networks.layers": ("aot_plus.utils", "evaluation"),
    "aot_plus.networks.encoders": ("aot_plus.networks.layers", "aot_plus.utils"),
    "aot_plus.networks.decoders": ("aot_plus.networks.layers", "aot_plus.utils"),
    "aot_plus.networks.memory": (
        "aot_plus.configs",
        "aot_plus.networks.layers",
        "aot_plus.utils",
        "evaluation",
    ),
    "aot_plus.networks.models": (
        "aot_plus.configs",
        "aot_plus.networks.encoders",
        "aot_plus.networks.decoders",
        "aot_plus.networks.layers",
        "aot_plus.utils",
        "evaluation",
    ),
    "aot_plus.networks.engines": _BELOW_ENGINES,
    "aot_plus.networks.managers": (*_BELOW_PIPELINE, "evaluation"),
    "aot_plus.pipeline": (*_BELOW_PIPELINE, "evaluation"),
    "aot_plus.report": (*_BELOW_PIPELINE, "evaluation"),
    "aot_plus.app": (*_BELOW_PIPELINE, "aot_plus.pipeline", "aot_plus.report", "evaluation"),
    "aot_plus.tools": ("aot_plus", "evaluation"),
    "evaluation": (),
}


def _room(module: str) -> str:
    return max((room for room in ALLOWED if _inside(module, room)), key=len)


def _inside(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def _modules() -> list[tuple[str, Path]]:
    paths = [path for package in ("aot_plus", "evaluation") for path in (REPOSITORY / package).rglob("*.py")]
    return [(".".join(path.relative_to(REPOSITORY).with_suffix("").parts), path) for path in sorted(paths)]


def _imports(path: Path) -> list[str]:
    """Returns the project's modules that a file imports, at any level."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.append(node.module or "")
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if _inside(name, "aot_plus") or _inside(name, "evaluation")]


@pytest.mark.parametrize(("module", "path"), _modules(), ids=[name for name, _ in _modules()])
def test_a_module_imports_only_what_its_room_may(module: str, path: Path) -> None:
    room = _room(module.removesuffix(".__init__"))
    for imported in _imports(path):
        allowed = _room(imported) == room or any(_inside(imported, other) for other in ALLOWED[room])
        assert allowed, f"{module} (in {room}) must not import {imported}"


def test_no_file_edits_the_module_path() -> None:
    assert [name for name, path in _modules() if "sys.path" in path.read_text(encoding="utf-8")] == []
