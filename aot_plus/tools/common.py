"""Adds flags that several tools share; turns errors into exit codes. No torch here: ``--help`` is quick."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from aot_plus.configs import Config
from aot_plus.utils.catalogue import DEFAULT_MODEL, default_stage
from aot_plus.utils.cores import choose_wait_policy
from aot_plus.utils.errors import ConfigError, VOSError
from aot_plus.utils.logs import start_logging
from aot_plus.utils.paths import leads_out
from evaluation.arguments import whole_number
from evaluation.files import require_writable
from evaluation.home import home
from evaluation.signals import exit_code, signals_raised


def add_config_arguments(parser: argparse.ArgumentParser, *, stage: str | None = None) -> None:
    """Adds ``--stage``, ``--model`` and ``--overrides``.

    stage: the default; None where it is the one that the model is evaluated with. The model is the stage's.
    """
    add = parser.add_argument
    own = "or package.module:ClassName of your own"
    default = stage or f"the model's; {default_stage(DEFAULT_MODEL)} of {DEFAULT_MODEL}"
    add("--stage", default=stage, help=f"a file of aot_plus/configs, {own} (default: {default})")
    add("--model", help=f"a file of aot_plus/configs/models, {own} (default: the stage's, TRAIN_MODEL)")
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    values = "config values, for example --overrides LATTER_MEM_LEN=4 TEST_FLIP=True"
    add("--overrides", **several, metavar="NAME=VALUE", help=values)
    add("--set", dest="overrides", **several, help=argparse.SUPPRESS)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--exp_name`` and ``--data_root``, of tools that keep results of a dataset under ``results``."""
    parser.add_argument(
        "--exp_name",
        type=folder_name,
        default=Config.EXP_NAME,
        help="name of the experiment (default: %(default)s)",
    )
    add_data_argument(parser)


def config_of(args: argparse.Namespace, flags: Mapping[str, Any] | None = None) -> Config:
    """Returns the config that the flags choose.

    A flag that stands for a config value has that name as its ``dest``, in capitals, and wins over
    ``--overrides``, as do ``flags``, further values by name. None stands for not given.
    """
    from aot_plus.utils.config import get_config

    exp_name = getattr(args, "exp_name", Config.EXP_NAME)
    return get_config(args.stage, args.model, exp_name, overrides_of(args, flags))


def overrides_of(args: argparse.Namespace, flags: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the config values that the flags give, as in ``config_of``."""
    from aot_plus.utils.config import parse_assignments  # needs PyYAML; --help does not

    overrides: dict[str, Any] = dict(parse_assignments(args.overrides))
    given = {name: value for name, value in vars(args).items() if name.isupper()} | dict(flags or {})
    overrides |= {name: value for name, value in given.items() if value is not None}
    if getattr(args, "memory_gap", None) is not None:
        overrides |= {"TEST_MEM_GAP_BY_LENGTH": False, "TEST_LONG_TERM_MEM_GAP": args.memory_gap}
    if getattr(args, "capacity", None) is not None:
        overrides["LATTER_MEM_LEN"] = _later_frames(args, overrides)
    return overrides


def _later_frames(args: argparse.Namespace, overrides: Mapping[str, Any]) -> int:
    """Returns ``LATTER_MEM_LEN`` for a memory of ``--capacity`` frames."""
    from aot_plus.utils.config import get_config

    stage = args.stage or default_stage(args.model or DEFAULT_MODEL)
    cfg = get_config(stage, args.model, overrides=overrides)
    if cfg.MEM_POLICY == "unbounded":
        raise ConfigError(f"--capacity: the policy 'unbounded' has none, found {args.capacity}")
    first = cfg.FORMER_MEM_LEN
    if args.capacity <= first:
        raise ConfigError(f"--capacity: expected {first + 1} or more, found {args.capacity}")
    return int(args.capacity - first)


def add_data_argument(parser: argparse.ArgumentParser, default: str = Config.DIR_DATA) -> None:
    """Adds ``--data_root``; ``default``: the folder where none is named, in words."""
    parser.add_argument(
        "--data_root",
        dest="DIR_DATA",
        metavar="DIR",
        type=_data_folder,
        help=f"folder that holds VOST, MiniVOST, ... (default: {default})",
    )


def add_run_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--dataset``, ``--data_root`` and ``--split`` of finished runs, which their configs say."""
    parser.add_argument("--dataset", help="the name of a data set, or a folder (default: the runs' config)")
    add_data_argument(parser, "the runs' config")
    parser.add_argument("--split", help="such as val (default: the runs' config)")


def _data_folder(text: str) -> str:
    """Returns the absolute path of a folder, which may be made: the one above it must be there."""
    folder = Path(text).resolve()
    if not folder.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{folder} cannot be made: there is no folder {folder.parent}")
    return str(folder)


def folder_name(text: str) -> str:
    """Returns the name of a folder of results, in parts or not; ``ArgumentTypeError`` if it leads out."""
    if leads_out(text):
        raise argparse.ArgumentTypeError(f"expected a name, found {text!r}")
    return text


def add_download_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``--download``."""
    about = "first get VOST and published checkpoints that are missing (aot-plus download lists them)"
    parser.add_argument("--download", action="store_true", help=about)


def data_root(args: argparse.Namespace) -> Path:
    """Returns the folder that ``--data_root`` names, of tools without a config."""
    return home() / (args.DIR_DATA or Config.DIR_DATA)


def add_memory_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--policy``, ``--capacity`` and ``--memory_gap``."""
    add = parser.add_argument
    add(
        "--policy",
        dest="MEM_POLICY",
        metavar="POLICY",
        help="memory policy: unbounded, fifo, rmem, emfs, random, uniform, spread, lfu, readmem, or "
        "package.module:ClassName (default: the config's, emfs)",
    )
    capacity = "frames in the memory, the first one included (default: the config's, 9)"
    add("--capacity", type=whole_number(2), metavar="FRAMES", help=capacity)
    gap = "frames between two entries into the memory (default: the config's, for VOST by the video's length)"
    add("--memory_gap", type=whole_number(1), metavar="FRAMES", help=gap)


def add_earlier_results_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--overwrite`` and ``--resume``, which decide about results of an earlier run."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--overwrite", action="store_true", help="remove the results of these sequences first, do them again"
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="keep finished sequences although config, checkpoint, policy file or code have changed since",
    )


def add_device_arguments(parser: argparse.ArgumentParser, kind: str = "TEST") -> None:
    """Adds ``--device`` and ``--dtype``, which stand for ``TEST_DEVICE`` or ``TRAIN_DEVICE`` and so on."""
    add = parser.add_argument
    add(
        "--device",
        dest=f"{kind}_DEVICE",
        metavar="DEVICE",
        help="auto, cpu, cuda or cuda:<number> (default: the config's, auto)",
    )
    add(
        "--dtype",
        dest=f"{kind}_DTYPE",
        metavar="DTYPE",
        help="float32, bfloat16 or float16 (default: the config's)",
    )


def add_checkpoint_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds ``--checkpoint`` and ``--random_weights``; ``default``: the file where none is named, in words."""
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        "--checkpoint",
        metavar="FILE",
        help=f".pth or .safetensors, also looked for in aot_plus/pretrain_models (default: {default})",
    )
    add("--ckpt_path", dest="checkpoint", help=argparse.SUPPRESS)
    add("--random_weights", action="store_true", help="no checkpoint: to try the pipeline, for no result")


def with_environment(argv: Sequence[str] | None, flags: Sequence[str]) -> list[str]:
    """Returns the arguments, preceded by ``flags`` that the environment sets: ``MODEL`` for ``--model``.

    A ``--``, which sets further flags apart, is left out.
    """
    given = [argument for argument in (sys.argv[1:] if argv is None else argv) if argument != "--"]
    values = {flag: os.environ.get(flag.removeprefix("--").upper()) for flag in flags}
    return [f"{flag}={value}" for flag, value in values.items() if value] + given


def require_output(path: Path, *suffixes: str, flag: str = "--output") -> None:
    """Raises ``ConfigError`` for the name of another kind of file, which may be there: it is not replaced.

    Raises ``DataError`` where nothing can be written.
    """
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"{flag}: expected a name that ends in {suffixes[0]}, found {path}")
    require_writable(path)


def run_tool(work: Callable[[], int]) -> int:
    """Runs a tool's work and returns its exit code.

    It is 1, with a message, for a user's error and for a file that the system refuses, 130 after Ctrl-C, 143
    after SIGTERM.
    """
    start_logging()
    choose_wait_policy()
    try:
        with signals_raised():
            code = work()
            sys.stdout.flush()
        return code
    except VOSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        _say_refused(error)
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or 'Interrupted.'}", file=sys.stderr)
        return exit_code(interrupt)


def _say_refused(error: OSError) -> None:
    """Names the file that the system refused; without a name it is what was printed, as on a full disk."""
    if error.filename is not None:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return
    print(f"error: the output cannot be written ({error.strerror or error})", file=sys.stderr)
    with suppress(OSError, ValueError):  # stdout may be no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would write again, in vain
