"""Parses JSON that may be damaged or malicious."""

import json
from typing import Any

__all__ = ["parse_json"]


def parse_json(text: str) -> Any:
    """Parses JSON. Raises ``ValueError`` for invalid or too deeply nested text."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
