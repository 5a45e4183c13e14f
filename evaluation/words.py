"""Formats words in messages."""

from collections.abc import Sequence

__all__ = ["format_list"]


def format_list(items: Sequence[str], most: int) -> str:
    """Joins the first ``most`` items and counts the others: a, b and 3 more. Empty if there are no items."""
    more = f" and {len(items) - most} more" * (len(items) > most)
    return ", ".join(items[:most]) + more
