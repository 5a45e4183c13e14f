"""Formats words in messages."""

from evaluation.words import format_list

__all__ = ["format_count", "format_list"]


def format_count(number: int, noun: str, plural: str = "") -> str:
    """Returns a number with its noun: 1 frame, 2 frames. ``plural``: if it is not the noun plus s."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
