"""Measures speed and memory and writes ``docs/performance.md``.

python -m benchmarks.performance [--only ITEM ...] [--threads 2] [--out docs/performance.md]
    [--work results/performance] [--device cuda]

Every item is a benchmark in a process of its own; its JSON line is kept in the work folder, and an item
that is there with the same command is not measured again. ``--only`` measures some of them, alone without
names none; the page then shows what is there. Nothing else should run on the machine meanwhile.
"""

import argparse
import json
import logging
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.errors import VOSError
from benchmarks.performance_page import DTYPES, MODELS, Measured, render_page
from benchmarks.report import Record
from evaluation.files import replacing
from evaluation.home import home

FORMAT = 1  # of the kept records; raised when a benchmark's record changes, so that old ones are made anew

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """One benchmark with its flags; ``quick`` are flags in their place to try it out."""

    name: str
    module: str
    flags: tuple[str, ...]
    quick: tuple[str, ...]


def items() -> list[Item]:
    """Everything that the page shows."""
    small = ("--size", "97x129")

    def scenario(name: str, *quick: str) -> Item:
        return Item(name, "inference", ("--scenario", name), ("--scenario", name, *quick))

    clip = ("--model", "r50_aotl", "--frames", "15", "--batch", "1", "--steps", "2")
    short_clip = ("--model", "aot_mini", "--frames", "3", "--batch", "1", "--steps", "1", "--crop", "97x97")
    recompute = ("--checkpoint_activations",)
    found = []
    for model in MODELS:
        for dtype in DTYPES:
            flags = ("--model", model, "--dtype", dtype)
            found.append(
                Item(f"frame-{model}-{dtype}", "inference", flags, (*flags, *small, "--frames", "5"))
            )
    return [
        *found,
        scenario("growth", "--frames", "2500"),
        scenario("objects", *small, "--frames", "5"),
        scenario("unbounded", *small, "--frames", "10"),
        scenario("agreement", "--frames", "10"),
        scenario("pipeline"),
        Item("metric", "metric", (), ("--frames", "30", "--sequences", "2", "--runs", "2")),
        Item("training", "training", (*clip, "--crop", "241x241"), short_clip),
        Item(
            "training-recompute",
            "training",
            (*clip, "--crop", "241x241", *recompute),
            (*short_clip, *recompute),
        ),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, measures what is missing, writes the page. Gives the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parse(arguments)
    command = shlex.join(["python", "-m", "benchmarks.performance", *arguments])
    return run_tool(lambda: _measure(args, command))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.performance", description="Measures speed and memory; writes the page."
    )
    names = [item.name for item in items()]
    add = parser.add_argument
    add("--only", nargs="*", choices=names, metavar="ITEM", help=f"of: {', '.join(names)} (default: all)")
    add("--quick", action="store_true", help="small sizes, to try the command: the figures say nothing")
    add("--device", help="of PyTorch: auto, cpu, cuda or cuda:<number> (default: auto)")
    add("--threads", type=whole_number(1), help="of PyTorch (default: its choice)")
    add("--video", type=Path, help="a real video for the agreement of number formats")
    add("--mask", type=Path, help="the mask of its first frame")
    add("--out", type=Path, default=home() / "docs/performance.md", help="page (%(default)s)")
    add("--work", type=Path, default=home() / "results/performance", help="folder (%(default)s)")
    args = parser.parse_args(argv)
    if (args.video is None) != (args.mask is None):
        parser.error("--video and --mask belong together")
    return args


def _measure(args: argparse.Namespace, command: str) -> int:
    work = args.work.joinpath(*["quick"] * args.quick, args.device or "")
    commands = {item.name: _command(item, args) for item in items()}
    wanted = [name for name in commands if args.only is None or name in args.only]
    failures = []
    with logging_redirect_tqdm(), tqdm(wanted, unit="item") as bar:
        for name in bar:
            bar.set_description(name)
            path = work / f"{name}.json"
            if read_measured(path, commands[name]) is None:
                try:
                    run_item(commands[name], path)
                except VOSError as error:
                    failures.append(f"{name}: {error}")
                    _log.error("%s", failures[-1])
    found = {name: read_measured(work / f"{name}.json", one) for name, one in commands.items()}
    measured = {name: one for name, one in found.items() if one is not None}
    missing = {
        name: f"python {shlex.join(one[1:])}" for name, one in commands.items() if name not in measured
    }
    with replacing(args.out) as temporary:
        temporary.write_text(render_page(measured, missing, command, quick=args.quick), encoding="utf-8")
    print(f"Wrote {args.out}")
    if failures:
        raise VOSError(f"{len(failures)} of {len(wanted)} items failed:\n" + "\n".join(failures))
    return 0


def _command(item: Item, args: argparse.Namespace) -> list[str]:
    """An item's command line."""
    command = [sys.executable, "-m", f"benchmarks.{item.module}", *(item.quick if args.quick else item.flags)]
    if item.module != "metric":
        command += ["--device", args.device] if args.device is not None else []
        command += ["--threads", str(args.threads)] if args.threads is not None else []
    if item.name == "agreement" and args.video is not None:
        command += ["--video", _from_root(args.video), "--mask", _from_root(args.mask)]
    return command


def _from_root(path: Path) -> str:
    """A path as it is from the repository's root, where items run; one elsewhere from the file system's."""
    path = path.resolve()
    return str(path.relative_to(home()) if path.is_relative_to(home()) else path)


def run_item(command: Sequence[str], path: Path) -> None:
    """Runs a benchmark and keeps its command and JSON line at ``path``; what it says goes to a log beside.

    Raises ``VOSError`` if it fails; then nothing is kept.
    """
    log = path.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as messages:
        output, exit_code = _run(command, messages)
        messages.write(output)
    if exit_code != 0:
        raise VOSError(f"ended with exit code {exit_code}; {log} says why")
    try:
        record: Record = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise VOSError(f"its last line is no JSON ({error}); see {log}") from error
    with replacing(path) as temporary:
        content = {"format": FORMAT, "command": command, "record": record}
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _run(command: Sequence[str], messages: TextIO) -> tuple[str, int]:
    """Runs a command, its stderr to ``messages``: its stdout and exit code. If interrupted, it is ended."""
    with subprocess.Popen(command, cwd=home(), stdout=subprocess.PIPE, stderr=messages, text=True) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            process.terminate()  # not killed: it may have a process of its own to end
            process.wait()
            raise
    return output, process.returncode


def read_measured(path: Path, command: Sequence[str]) -> Measured | None:
    """A kept result of this command; None where there is none, or one of another command or format."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        flags, record = content["command"][1:], content["record"]
        current = content["format"] == FORMAT and flags == list(command[1:])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if not current:
        return None
    return Measured(f"python {shlex.join(flags)}", record)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the item's process is ended first
    sys.exit(main())
