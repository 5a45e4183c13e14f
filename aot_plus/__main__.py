"""Runs ``python -m aot_plus TOOL ...`` as the command ``aot-plus TOOL ...``."""

import sys

from aot_plus.tools.cli import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m aot_plus"))
