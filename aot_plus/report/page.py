"""The page: a template with the style, the script and the data put into it. One file, nothing is fetched."""

import json
from pathlib import Path
from typing import Any

from evaluation.files import replacing

__all__ = ["page", "write_page"]

_FOLDER = Path(__file__).parent / "page"
# The scripts share one scope, and are put together in this order.
_SCRIPTS = ("basics.js", "overview.js", "table.js", "plot.js", "memory.js", "moments.js", "main.js")


def page(data: dict[str, Any]) -> str:
    """The HTML text. ``data`` is what ``gather`` gives."""
    style = _part("report.css")
    script = "\n".join(map(_part, _SCRIPTS))
    # The data go in last: whatever a name in them looks like, it is not replaced.
    return (
        _part("template.html")
        .replace("{{style}}", style)
        .replace("{{script}}", script)
        .replace("{{data}}", _json(data))
    )


def write_page(path: Path, data: dict[str, Any]) -> int:
    """Writes the page; returns its size in bytes."""
    with replacing(path) as temporary:
        temporary.write_text(page(data), encoding="utf-8")
        return temporary.stat().st_size


def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _json(data: dict[str, Any]) -> str:
    """JSON for a script element: ``<`` is escaped, so that no name can end the element."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
