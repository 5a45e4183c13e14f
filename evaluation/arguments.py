"""Defines types of command-line arguments."""

import argparse
from collections.abc import Callable


def whole_number(lowest: int) -> Callable[[str], int]:
    """Returns an argparse type for whole numbers of at least ``lowest`` that fit in 31 bits."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f"expected a whole number from {lowest}, found {text!r}")
        return int(text)

    return parse
