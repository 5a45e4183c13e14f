"""What the tools share: flags that choose a config, and errors turned into exit codes."""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from aot_plus.utils.config import REPOSITORY
from aot_plus.utils.errors import AOTPlusError


def add_config_arguments(parser: argparse.ArgumentParser, *, stage: str, model: str) -> None:
    """Adds ``--stage``, ``--model``, ``--exp_name`` and ``--set``, with the given defaults."""
    parser.add_argument("--stage", default=stage, help="config of the stage (default: %(default)s)")
    parser.add_argument("--model", default=model, help="config of the model (default: %(default)s)")
    parser.add_argument("--exp_name", default="default", help="name of the experiment (default: %(default)s)")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="config values to override, for example --set LATTER_MEM_LEN=4 TEST_FLIP=True",
    )


def from_repository(path: str) -> Path:
    """A config's path: relative ones start at the repository's root, wherever the tool was started."""
    return REPOSITORY / path


def run_tool(work: Callable[[], int]) -> int:
    """Runs a tool's work and gives its exit code: 1 and a message for a user's error, 130 after Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        return work()
    except AOTPlusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or 'Interrupted.'}", file=sys.stderr)
        return 130
