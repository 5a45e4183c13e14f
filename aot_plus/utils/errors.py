"""Defines the errors that a user can cause; ``evaluation`` raises the first two as well."""

import difflib
from collections.abc import Iterable

from evaluation.errors import DataError, VOSError

__all__ = ["CheckpointError", "ConfigError", "DataError", "ProcessError", "VOSError", "first_line", "nearest"]


class ConfigError(VOSError):
    """Reports an unknown stage, model, policy or name, or a value of the wrong type."""


class CheckpointError(VOSError):
    """Reports a checkpoint that is missing, damaged, or does not belong to the model."""


class ProcessError(VOSError):
    """Reports that another process of the job stopped early; only that process knows why."""


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message, or its type if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ``; the nearest: ...`` with the known names most like ``name``, case aside; or empty text."""
    texts = {text.lower(): text for text in known}
    found = [texts[key] for key in difflib.get_close_matches(name.lower(), texts, n=5, cutoff=0.5)]
    return f"; the nearest: {', '.join(found)}" if found else ""
