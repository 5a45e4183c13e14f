"""The errors that a user can cause; ``evaluation`` raises the first two as well."""

import difflib
from collections.abc import Iterable

from evaluation.errors import DataError, VOSError

__all__ = ["CheckpointError", "ConfigError", "DataError", "VOSError", "nearest"]


class ConfigError(VOSError):
    """An unknown stage, model, policy or name, or a value of the wrong type."""


class CheckpointError(VOSError):
    """A checkpoint that is missing, damaged, or does not belong to the model."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Names the known names that are most like an unknown one, after a semicolon; empty if none is."""
    found = difflib.get_close_matches(name, list(known), n=5, cutoff=0.5)
    return f"; the nearest: {', '.join(found)}" if found else ""
