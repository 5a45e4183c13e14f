"""Shows log messages, in the tools and the processes that they start."""

import logging

__all__ = ["start_logging"]


def start_logging() -> None:
    """Shows messages of this process on stderr, from INFO on."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
