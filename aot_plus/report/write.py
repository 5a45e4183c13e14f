"""Writes the page: a template filled with style, scripts and data. It is one file and fetches nothing."""

import json
from pathlib import Path
from typing import Any

from evaluation.files import replacing

__all__ = ["page_part", "page_text", "write_page"]

_FOLDER = Path(__file__).parent / "page"
# The scripts share one scope and are concatenated in this order.
_SCRIPTS = ("dom.js", "basics.js", "overview.js", "table.js", "plot.js", "memory.js", "moments.js", "main.js")


def page_text(data: dict[str, Any]) -> str:
    """Returns the HTML text; ``data`` comes from ``gather``."""
    # ``<`` is escaped in the JSON, so that no name can end the script element.
    values = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    # The data go in last: a name in them that looks like a placeholder must not be replaced.
    return (
        page_part("template.html")
        .replace("{{style}}", page_part("colours.css") + page_part("report.css"))
        .replace("{{script}}", "\n".join(map(page_part, _SCRIPTS)))
        .replace("{{data}}", values)
    )


def write_page(path: Path, data: dict[str, Any]) -> int:
    """Writes the page. Returns its size in bytes."""
    with replacing(path) as temporary:
        return temporary.write_bytes(page_text(data).encode())


def page_part(name: str) -> str:
    """Reads a file of the page. The app's page shares ``colours.css`` and ``dom.js``."""
    return (_FOLDER / name).read_text(encoding="utf-8")
