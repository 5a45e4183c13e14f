"""Feeds damaged files and odd values to readers and tools: ``python -m tests.hostile.fuzz --cases 1000``.

A case passes if the code works, or if it fails with one of the project's errors (``VOSError``, or a tool's
exit code 1 or 2) and leaves nothing behind that could pass for a result.
"""

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image

from aot_plus.dataloaders.coloured_masks import MaskReader
from aot_plus.networks.managers.train_log import lines_up_to
from aot_plus.networks.memory.trace import read_trace
from aot_plus.networks.models.checkpoint import load_into
from aot_plus.report.result_folder import read_folders
from aot_plus.report.timeline import read_timelines
from aot_plus.tools.cli import main as aot_plus
from aot_plus.utils.config import config_to_dict, get_config, read_saved_config, save_config
from aot_plus.utils.errors import VOSError
from aot_plus.utils.masks import read_image
from evaluation.masks import read_mask
from evaluation.per_frame import read_per_frame
from evaluation.results import read_results
from evaluation.vost import read_split
from tests.hostile.damage import VALUES, damaged, odd_image, odd_tensor
from tests.hostile.workshop import NAMES, Workshop, network

_LIMIT = 60  # seconds; a case that takes longer fails


class Failure(AssertionError):
    """A case that did not end as required."""


def image_case(rng: random.Random, shop: Workshop) -> None:
    """Reads an odd image as a frame, as an id mask and as a coloured mask."""
    path = shop.root / f"odd{rng.choice(('.png', '.jpg'))}"
    path.write_bytes(odd_image(rng))
    for read in (read_image, read_mask, MaskReader().read):
        with contextlib.suppress(VOSError):
            array = read(path)
            _require(array.dtype == "uint8" and array.ndim in (2, 3), f"{read} gave {array.dtype}")


def checkpoint_case(rng: random.Random, shop: Workshop) -> None:
    """Loads a checkpoint that is damaged or has an odd tensor."""
    path = shop.checkpoint
    if rng.random() < 0.5:
        weights: dict[str, object] = dict(network().state_dict())
        weights[rng.choice(list(weights))] = odd_tensor(rng)
        torch.save(weights, path, _use_new_zipfile_serialization=rng.random() < 0.8)
    else:
        path.write_bytes(damaged(rng, path.read_bytes()))
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        load_into(model, path, strict=rng.random() < 0.5)
    except VOSError:
        after = model.state_dict()
        _require(all(torch.equal(after[name], before[name]) for name in before), "the model was changed")
    _require(all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()), "not finite")


def config_case(rng: random.Random, shop: Workshop) -> None:
    """Sets any config names to odd values; a config that accepts them can be saved and read back."""
    names = list(config_to_dict(get_config("pre_vost", "aott")))
    values = {rng.choice(names): rng.choice(VALUES) for _ in range(rng.randint(1, 2))}
    try:
        cfg = get_config("pre_vost", rng.choice(("aott", "r50_deaotl")), overrides=values)
    except VOSError as error:
        _require(any(name in str(error) for name in values), f"{error} names none of {values}")
        return
    path = shop.root / "saved.yaml"
    save_config(cfg, path)
    _require(read_saved_config(path) == config_to_dict(cfg), "the saved config is another one")


def reader_case(rng: random.Random, shop: Workshop) -> None:
    """Reads a damaged text file of a result folder or dataset."""
    readers: dict[Path, Callable[[Path], object]] = {
        shop.run / "traces" / f"{NAMES[0]}.jsonl": lambda path: (read_trace(path), read_timelines(path)),
        shop.run / "config.yaml": read_saved_config,
        shop.run / "summary.json": lambda path: [run.facts() for run in read_folders([path.parent])],
        shop.run / "train.jsonl": lambda path: lines_up_to(path, 4),
        shop.run / "global_results-val.csv": lambda path: read_results(path.parent, "val"),
        shop.run / "per-sequence_results-val.csv": lambda path: read_results(path.parent, "val"),
        shop.run / "per-frame_results-val.csv": lambda path: read_per_frame(path.parent, "val"),
        shop.dataset / "ImageSets" / "val.txt": lambda path: read_split(path.parents[1], "val"),
    }
    path, read = rng.choice(list(readers.items()))
    path.write_bytes(damaged(rng, path.read_bytes()))
    with contextlib.suppress(VOSError):
        read(path)


def flags_case(rng: random.Random, shop: Workshop) -> None:
    """Runs a tool with one or two odd values among its flags."""
    command = rng.choice(commands(shop))
    places = [place for place, word in enumerate(command) if place and not word.startswith("--")]
    for place in rng.sample(places, rng.randint(1, min(2, len(places)))):
        name, equals, _ = command[place].partition("=")
        # An empty dataset would mean the default, and generate MiniVOST.
        command[place] = (f"{name}=" if equals else "") + (rng.choice(VALUES) or "0")
    run_command(command, shop)


def files_case(rng: random.Random, shop: Workshop) -> None:
    """Runs a tool on files of which one is damaged."""
    path = rng.choice(shop.files())
    odd = path.suffix in (".jpg", ".png") and rng.random() < 0.7
    path.write_bytes(odd_image(rng) if odd else damaged(rng, path.read_bytes()))
    run_command(rng.choice(commands(shop)), shop)


def commands(shop: Workshop) -> list[list[str]]:
    """Returns a command for each tool that reads the good files and writes to ``out`` in their folder."""
    model = ["--model", "aot_mini", "--random_weights", "--device", "cpu", "--policy", "emfs"]
    frames, masks = (shop.dataset / part / NAMES[0] for part in ("JPEGImages_10fps", "Annotations"))
    demo = ["--input", str(frames), "--mask", str(masks / "00000.png"), "--output", "out", "--end", "3"]
    data = ["--dataset", str(shop.dataset), "--split", "val"]
    results = ["--results_path", str(shop.run), "--dataset_path", str(shop.dataset), "--set", "val"]
    decision = ["--result_dir", str(shop.run), "--dataset", str(shop.dataset), "--sequence", NAMES[0]]
    small = ["--set", "TEST_MAX_LONG_EDGE=32", "LATTER_MEM_LEN=1", "TEST_WRITERS=1"]
    return [
        ["demo", *demo, *model, "--max_resolution", "32", "--memory_gap", "1", "--capacity", "2"],
        ["eval", *data, *model, "--sequences", NAMES[0], "--result_dir", "out", "--ms", "1.0", *small],
        ["report", str(shop.run), *data, "--output", "out/page.html", "--pictures", "1", "--workers", "1"],
        ["metric", *results, "--re", "--workers", "1"],
        ["export", "--input", str(shop.checkpoint), "--output", "out/w.safetensors", "--dtype", "float16"],
        ["show-decision", *decision, "--output", "out/decision.png", "--group", "0", "--frame", "2"],
        ["check", str(shop.dataset), "--split", "val", "--workers", "1"],
    ]


def run_command(command: list[str], shop: Workshop) -> int:
    """Runs a tool in the folder and returns its exit code.

    After an error, nothing in ``out`` may pass for a result.
    """
    out = shop.root / "out"
    with _working_in(shop.root), _silence() as said:
        try:
            code = aot_plus(command)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 2
    _require(code in (0, 1, 2), f"exit code {code} of {command}")
    _require(code == 0 or bool(said.getvalue().strip()), f"no message about the error of {command}")
    left = [path for path in out.rglob("*") if path.is_file()] if out.is_dir() else []
    _require(not any(path.name.startswith(".") and path.suffix for path in left), f"unfinished files: {left}")
    if code:
        whole = [path for path in left if path.name in ("page.html", "w.safetensors", "decision.png")]
        _require(not whole, f"results after an error: {whole}")
    for path in left:
        if path.suffix == ".png":
            Image.open(path).load()
    return code


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Changes the working directory, as ``contextlib.chdir`` does from Python 3.11 on."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _silence() -> Iterator[io.StringIO]:
    """Captures what is printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said


def _require(fact: bool, message: str) -> None:
    if not fact:
        raise Failure(message)


# Relative frequency of each kind; those that run tools take the longest.
_KINDS = {image_case: 25, checkpoint_case: 20, config_case: 20, reader_case: 20, flags_case: 9, files_case: 6}


def run_case(seed: int, number: int, shop: Workshop) -> str:
    """Runs a case in a copy of the good files and returns its kind. Raises whatever error it ends with."""
    rng = random.Random(f"{seed} {number}")
    (kind,) = rng.choices(list(_KINDS), list(_KINDS.values()))
    folder = shop.root.parent / "work" / "deep" / str(number)
    previous = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(_LIMIT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind(rng, shop.copy(folder))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
        shutil.rmtree(folder, ignore_errors=True)
    return kind.__name__


def _too_long(*_: object) -> None:
    raise Failure(f"longer than {_LIMIT} s")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs cases, prints the failures and the counts, and returns 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100, help="number of cases (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case, for a rerun")
    args = parser.parse_args(argv)
    counts: Counter[str] = Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as folder, _silence():
        shop = Workshop.build(Path(folder) / "good")
        os.environ["AOT_PLUS_HOME"] = folder
        for number in range(args.first, args.first + args.cases):
            try:
                counts[run_case(args.seed, number, shop)] += 1
            except Exception:  # noqa: BLE001 (any exception is a finding)
                failed += 1
                print(f"case {number} failed\n{traceback.format_exc()}", file=sys.__stdout__, flush=True)
    print(f"{args.cases} cases of seed {args.seed}: {failed} failed; passed: {dict(counts)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
