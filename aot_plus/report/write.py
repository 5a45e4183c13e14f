"""Writes the page: a template with style, scripts and data put into it. One file, nothing is fetched."""

import json
from pathlib import Path
from typing import Any

from evaluation.files import replacing

__all__ = ["page_part", "page_text", "write_page"]

_FOLDER = Path(__file__).parent / "page"
# The scripts share one scope, and are put together in this order.
_SCRIPTS = ("dom.js", "basics.js", "overview.js", "table.js", "plot.js", "memory.js", "moments.js", "main.js")


def page_text(data: dict[str, Any]) -> str:
    """Returns the HTML text; ``data`` comes from ``gather``."""
    # In JSON for a script element ``<`` is escaped, so that no name can end the element.
    values = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    # The data go in last: whatever a name in them looks like, it is not replaced.
    return (
        page_part("template.html")
        .replace("{{style}}", page_part("colours.css") + page_part("report.css"))
        .replace("{{script}}", "\n".join(map(page_part, _SCRIPTS)))
        .replace("{{data}}", values)
    )


def write_page(path: Path, data: dict[str, Any]) -> int:
    """Writes the page; returns its size in bytes."""
    with replacing(path) as temporary:
        return temporary.write_bytes(page_text(data).encode())


def page_part(name: str) -> str:
    """Reads a file of the page. The app's page shares ``colours.css`` and ``dom.js``."""
    return (_FOLDER / name).read_text(encoding="utf-8")
