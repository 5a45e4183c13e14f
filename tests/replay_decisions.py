"""Replays single EMFS decisions and compares them with published ones.

``python -m tests.replay_decisions FILE.npz`` prints one JSON line and exits with 1 if a number is outside the
tolerance or another frame is dropped. The file holds, for every decision i, ``attention_i`` (N x T),
``keys_i`` (T x N x D) and ``foreground_i`` (N), and ``cases``, a JSON list with the preset, the frame
numbers, the averages before the decision, and its published results.
"""

import argparse
import json
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aot_plus.configs import Config
from aot_plus.networks.memory.policies import Append, EmfsPolicy, ReadStatistics
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import DataError, VOSError

TOLERANCE = 1e-4
QUANTITIES = {"relevance": "relevance", "redundancy": "redundancy", "novelty": "penalty", "score": "score"}
"""Names of the scores, and their names in the published code."""
PRESET_MODELS = {"aot": "r50_aotl", "deaot": "r50_deaotl"}
"""Models whose configs contain the presets."""


def replay_decisions(path: Path) -> dict[str, Any]:
    """Replays all decisions of a file.

    Returns:
        ``cases`` (their number), the largest difference of each of ``QUANTITIES``, ``dropped_agree`` (the
        number of cases that drop the same frame) and ``passed``.

    Raises:
        DataError: the file cannot be read or has other content.
    """
    arrays, cases = _read(path)
    configs = {preset: get_config("pre_vost_2", model) for preset, model in PRESET_MODELS.items()}
    differences = {name: 0.0 for name in QUANTITIES}
    agree = 0
    for index, case in enumerate(cases):
        try:
            found, dropped = _decide(arrays, index, case, configs[case["preset"]])
            for name, published in QUANTITIES.items():
                difference = np.abs(np.subtract(found[name], case[published])).max()
                differences[name] = float(np.maximum(differences[name], difference))  # a NaN stays NaN
            agree += dropped == case["dropped"]
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
            raise DataError(
                f"{path}: decision {index} does not have the expected form ({error!r})"
            ) from error
    passed = agree == len(cases) and all(difference <= TOLERANCE for difference in differences.values())
    return {"file": str(path), "cases": len(cases), **differences, "dropped_agree": agree, "passed": passed}


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], list[dict[str, Any]]]:
    """Reads the arrays and the cases of a file of decisions. Raises ``DataError``."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: expected an .npz archive, found another or a truncated file")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        cases = json.loads(str(arrays["cases"]))
    except KeyError:
        raise DataError(f"{path}: there is no array `cases`, so this is no file of decisions") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as a file of decisions ({error})") from error
    if not isinstance(cases, list) or not cases:
        raise DataError(f"{path}: `cases` must be a list of at least one decision")
    return arrays, cases


def _decide(
    arrays: dict[str, NDArray[Any]], index: int, case: dict[str, Any], cfg: Config
) -> tuple[dict[str, list[float]], int]:
    """Returns the scores of one decision, by name, and the number of the frame that it drops."""
    frames = case["frame_ids"]
    attention, keys, foreground = (
        torch.from_numpy(arrays[f"{name}_{index}"]) for name in ("attention", "keys", "foreground")
    )
    statistics = ReadStatistics(attention, keys, foreground)
    append = Append(
        numbers=torch.tensor(frames),
        new_number=torch.tensor(case["new_frame_id"]),
        may_drop=torch.arange(len(frames)) > 0,
        overflows=True,
        read_statistics=lambda: statistics,
    )
    policy = EmfsPolicy(cfg)
    policy.running_relevance.numbers = torch.tensor([int(frame) for frame in case["previous_averages"]])
    policy.running_relevance.values = torch.tensor(list(case["previous_averages"].values()))
    policy.observe(append)
    dropped = frames[policy.drop(append)]
    return policy.explain(), dropped


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Replay EMFS decisions and compare them with published ones."
    )
    parser.add_argument(
        "file", type=Path, help="an .npz file of decisions, such as tests/golden/emfs_decisions.npz"
    )
    path = parser.parse_args(arguments).file
    try:
        result = replay_decisions(path)
    except VOSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
