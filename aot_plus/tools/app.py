"""Serves a browser page to paint, track and correct objects: ``python -m aot_plus.tools.app --help``."""

import argparse
import importlib.util
import logging
import sys
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aot_plus.configs import Config
from aot_plus.tools.common import add_memory_arguments, run_tool, whole_number
from aot_plus.utils.errors import ConfigError
from evaluation.home import home

if TYPE_CHECKING:
    from aot_plus.app.settings import Settings

_PROJECTS = f"{Config.DIR_RESULT}/app"
_HIGHEST_PORT = 2**16 - 1


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.app") -> int:
    """Parses the flags and serves the page until Ctrl-C. Returns the exit code."""
    args = _parse(argv, prog)
    return run_tool(lambda: _serve(args))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Serves a browser page to paint objects in a video, track and correct them, and export "
        'the masks. Needs Gradio: run pip install ".[app]" in a checkout.',
    )
    add = parser.add_argument
    add(
        "--folder",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder whose videos the page may open in place; can be given several times "
        "(default: only uploads and the example)",
    )
    add("--projects", type=Path, metavar="DIR", help=f"folder for the page's projects (default: {_PROJECTS})")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    add("--port", type=_port, help="port (default: the first free one from 7860)")
    add("--open", action="store_true", help="open the page in the browser")
    add("--model", help="model for new projects (default: the small one that ships with the project)")
    add(
        "--checkpoint",
        default="",
        metavar="FILE",
        help="checkpoint for new projects (default: the model's own)",
    )
    add("--device", default="auto", help="auto, cpu, cuda or cuda:<number> (default: %(default)s)")
    add_memory_arguments(parser)
    return parser.parse_args(argv)


def _port(text: str) -> int:
    port = whole_number(1)(text)
    if port > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"expected a port up to {_HIGHEST_PORT}, found {text!r}")
    return port


def _serve(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError(
            'the page needs Gradio, which is not installed: in a checkout, run pip install ".[app]" '
            "or pip install -r requirements-app.txt"
        )
    from aot_plus.app.places import Places
    from aot_plus.app.server import LOCAL, LOCAL_NAMES, serving
    from aot_plus.app.session import Session
    from aot_plus.networks.managers.processes import ProcessPlace, share_cores

    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio sends requests to itself
    share_cores(ProcessPlace())
    session = Session(args.projects or home() / _PROJECTS, Places(args.folder), _settings(args), args.device)
    host = args.host or LOCAL  # which is also what Gradio makes of an empty host
    with serving(session, host, args.port) as address:
        if host not in LOCAL_NAMES:
            print("Anyone who can reach this address can use the page and open the files in its folders.")
        print(f"The page: {address}\nProjects: {session.projects}\nCtrl-C ends it; all is saved.", flush=True)
        if args.open:
            webbrowser.open(address)
        while True:
            time.sleep(3600)


def _settings(args: argparse.Namespace) -> "Settings":
    """Returns the settings of new projects. Raises ``ConfigError`` or ``CheckpointError``."""
    from aot_plus.app.settings import Settings
    from aot_plus.networks.memory.policies import build_policy
    from aot_plus.utils.device import resolve_device

    given = {
        "model": args.model,
        "checkpoint": args.checkpoint,
        "policy": args.MEM_POLICY,
        "capacity": args.capacity,
        "gap": args.memory_gap,
    }
    settings = Settings().changed(**{name: value for name, value in given.items() if value is not None})
    build_policy(settings.config(args.device))  # imports a policy of the user's own, which may fail
    resolve_device(args.device, "--device")
    if args.checkpoint:
        settings.checkpoint_path()
    return settings


if __name__ == "__main__":
    sys.exit(main())
