"""Runs the ``aot-plus TOOL ...`` command; without installation, ``python -m aot_plus TOOL ...``."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from aot_plus import __version__
from aot_plus.utils.errors import nearest

# Name: module with a function ``main``, and a short description. Only the chosen tool's module is imported.
TOOLS = {
    "eval": ("aot_plus.tools.eval", "segment the videos of a dataset and compute the metric"),
    "train": ("aot_plus.tools.train", "train a model"),
    "demo": ("aot_plus.tools.demo", "segment your own video"),
    "app": ("aot_plus.tools.app", "paint, track and correct objects on a browser page"),
    "report": ("aot_plus.tools.report", "write an HTML page that compares runs"),
    "reproduce": ("aot_plus.tools.reproduce", "measure the paper's table, beside the published figures"),
    "download": ("aot_plus.tools.download", "download VOST and the published checkpoints"),
    "metric": ("evaluation.command", "compute J and J_tr, or J&F, of a result folder"),
    "check": ("aot_plus.tools.check_dataset", "find problems in a dataset before a run"),
    "export": ("aot_plus.tools.export", "write the weights of a checkpoint to a small file"),
    "make-mini-vost": ("aot_plus.tools.make_mini_vost", "make MiniVOST, synthetic videos in VOST's layout"),
    "show-batch": ("aot_plus.tools.show_batch", "draw a training batch"),
    "show-decision": ("aot_plus.tools.show_decision", "draw one decision of a memory policy"),
}


def main(argv: Sequence[str] | None = None, prog: str = "aot-plus") -> int:
    """Runs the tool that the first argument names with the other arguments. Returns the exit code.

    Names a package that is not installed, since a newcomer may not have activated the environment.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(prog)
    tool = parser.parse_args(arguments[:1]).tool
    if tool not in TOOLS:
        parser.error(f"unknown tool {tool!r}{nearest(tool, TOOLS) or '; there are: ' + ', '.join(TOOLS)}")
    try:
        work = import_module(TOOLS[tool][0]).main
        return int(work(arguments[1:], prog=f"{prog} {tool}"))
    except ModuleNotFoundError as error:
        if (error.name or "aot_plus").partition(".")[0] in ("aot_plus", "evaluation"):
            raise
        print(
            f"error: {sys.executable} has no package {error.name}: activate the project's environment "
            "(source .venv/bin/activate, if the scripts made it), or pip install -r requirements.txt",
            file=sys.stderr,
        )
        return 1


def _parser(prog: str) -> argparse.ArgumentParser:
    lines = "\n".join(f"  {name:16}{about}" for name, (_, about) in TOOLS.items())
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} TOOL ...",
        description="Video object segmentation with AOT+, DeAOT and the EMFS memory bank.",
        epilog=f"tools:\n{lines}\n\n{prog} TOOL --help lists the flags of a tool.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tool", metavar="TOOL", help="one of the tools below")
    parser.add_argument("--version", action="version", version=f"aot-plus {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main(prog="python -m aot_plus.tools.cli"))
