"""Sets up logging in the tools and the processes that they start."""

import logging

__all__ = ["start_logging"]


def start_logging() -> None:
    """Shows this process's messages of level INFO and above on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
