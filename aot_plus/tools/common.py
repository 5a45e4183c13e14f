"""Adds shared flags and turns errors into exit codes. Imports no torch, so that ``--help`` is quick."""

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
from aot_plus.utils.paths import leads_outside
from evaluation.arguments import whole_number
from evaluation.files import require_writable
from evaluation.home import home
from evaluation.signals import exit_code, signals_as_exceptions


def add_config_arguments(parser: argparse.ArgumentParser, *, stage: str | None = None) -> None:
    """Adds ``--stage``, ``--model`` and ``--overrides``.

    stage: the default; None for the stage that the model is evaluated with. The default model is the stage's.
    """
    add = parser.add_argument
    own = "or package.module:ClassName of your own"
    default = stage or f"the model's, {default_stage(DEFAULT_MODEL)} for {DEFAULT_MODEL}"
    add("--stage", default=stage, help=f"name of a file in aot_plus/configs, {own} (default: {default})")
    add(
        "--model",
        help=f"name of a file in aot_plus/configs/models, {own} (default: the stage's, TRAIN_MODEL)",
    )
    add_overrides_argument(parser)
    add("--set", dest="overrides", nargs="+", action="extend", help=argparse.SUPPRESS)


def add_overrides_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``--overrides``, whose value is a list of assignments for ``parse_assignments``."""
    parser.add_argument(
        "--overrides",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="config values to change, for example --overrides LATTER_MEM_LEN=4 TEST_FLIP=True",
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--exp_name`` and ``--data_root``, for tools that keep results of a dataset under ``results``."""
    parser.add_argument(
        "--exp_name",
        type=folder_name,
        default=Config.EXP_NAME,
        help="name of the experiment; its result folder's name begins with it (default: %(default)s)",
    )
    add_data_argument(parser)


def config_of(args: argparse.Namespace, flags: Mapping[str, Any] | None = None) -> Config:
    """Returns the config that the flags choose.

    A flag that sets a config value has the value's name, in capitals, as its ``dest``. Such flags, and
    further values by name in ``flags``, take precedence over ``--overrides``. None means not given.
    """
    from aot_plus.utils.config import get_config

    exp_name = getattr(args, "exp_name", Config.EXP_NAME)
    return get_config(args.stage, args.model, exp_name, overrides_of(args, flags))


def overrides_of(args: argparse.Namespace, flags: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the config values that the flags set, by the rules of ``config_of``."""
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
    """Adds ``--data_root``. ``default`` describes the default folder in the help."""
    parser.add_argument(
        "--data_root",
        dest="DIR_DATA",
        metavar="DIR",
        type=_data_folder,
        help=f"folder that holds VOST, MiniVOST, ... (default: {default})",
    )


def add_run_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--dataset``, ``--data_root`` and ``--split``, by default from the finished runs' configs."""
    parser.add_argument("--dataset", help="name of a dataset, or a folder (default: as in the runs' config)")
    add_data_argument(parser, "as in the runs' config")
    parser.add_argument("--split", help="split, for example val (default: as in the runs' config)")


def _data_folder(text: str) -> str:
    """Returns the absolute path of a folder, which may be missing; its parent must exist."""
    folder = Path(os.path.realpath(text))
    if not os.path.isdir(folder.parent):
        raise argparse.ArgumentTypeError(f"{folder} cannot be made: there is no folder {folder.parent}")
    return str(folder)


def folder_name(text: str) -> str:
    """Returns a result folder's name, perhaps in parts (a/b); ``ArgumentTypeError`` if it leads outside."""
    if leads_outside(text):
        raise argparse.ArgumentTypeError(f"expected a name, found {text!r}")
    return text


def add_download_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``--download``."""
    about = "first download VOST and published checkpoints if they are missing (aot-plus download lists them)"
    parser.add_argument("--download", action="store_true", help=about)


def data_root(args: argparse.Namespace) -> Path:
    """Returns the folder that ``--data_root`` names or its default, for tools without a config."""
    return home() / (args.DIR_DATA or Config.DIR_DATA)


def add_memory_arguments(parser: argparse.ArgumentParser, gap: str = "by the video's length") -> None:
    """Adds ``--policy``, ``--capacity`` and ``--memory_gap``. ``gap``: how the help describes its default."""
    add = parser.add_argument
    add(
        "--policy",
        dest="MEM_POLICY",
        metavar="POLICY",
        help="memory policy: unbounded, fifo, rmem, emfs, random, uniform, spread, lfu, readmem, or "
        "package.module:ClassName (default: the config's, emfs)",
    )
    capacity = "number of frames in the memory, including the first (default: the config's, 9)"
    add("--capacity", type=whole_number(2), metavar="FRAMES", help=capacity)
    about = f"store every n-th frame in the memory (default: the config's, {gap})"
    add("--memory_gap", type=whole_number(1), metavar="FRAMES", help=about)


def add_earlier_results_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--overwrite`` and ``--resume``, which decide about results of an earlier run."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--overwrite", action="store_true", help="remove earlier results of these sequences and redo them"
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="keep finished sequences even if the config, checkpoint, policy file or code have changed since",
    )


def add_device_arguments(parser: argparse.ArgumentParser, kind: str = "TEST") -> None:
    """Adds ``--device`` and ``--dtype``, which set ``<kind>_DEVICE`` and ``<kind>_DTYPE`` (TEST or TRAIN)."""
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
    """Adds ``--checkpoint`` and ``--random_weights``. ``default`` describes the default file in the help."""
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        "--checkpoint",
        metavar="FILE",
        help=f".pth or .safetensors file, also looked for in aot_plus/pretrain_models (default: {default})",
    )
    add("--ckpt_path", dest="checkpoint", help=argparse.SUPPRESS)
    add(
        "--random_weights",
        action="store_true",
        help="try the pipeline without a checkpoint; the masks will be meaningless",
    )


def with_environment(argv: Sequence[str] | None, *names: str) -> list[str]:
    """Returns the arguments, preceded by the flags that the environment sets: ``MODEL`` for ``--model``.

    ``names``: of these flags, without dashes. A separating ``--`` is left out.
    """
    given = [argument for argument in (sys.argv[1:] if argv is None else argv) if argument != "--"]
    values = {name: os.environ.get(name.upper()) for name in names}
    return [f"--{name}={value}" for name, value in values.items() if value] + given


def require_output(path: Path, *suffixes: str, flag: str = "--output") -> None:
    """Raises ``ConfigError`` for a name with another suffix, so that no file of another kind is replaced.

    Raises ``DataError`` if the file cannot be written.
    """
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"{flag}: expected a name that ends in {suffixes[0]}, found {path}")
    require_writable(path)


def run_tool(work: Callable[[], int]) -> int:
    """Runs a tool's work and returns its exit code.

    It is 1, with a message, after a user's error or if the system refuses a file, 130 after Ctrl-C, 143
    after SIGTERM.
    """
    start_logging()
    choose_wait_policy()
    try:
        with signals_as_exceptions():
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
    """Prints which file the system refused; without a name it is stdout, for example on a full disk."""
    if error.filename is not None:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return
    print(f"error: the output cannot be written ({error.strerror or error})", file=sys.stderr)
    with suppress(OSError, ValueError):  # stdout may not be a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries to write again
