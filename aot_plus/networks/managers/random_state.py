"""Seeds, saves and restores the random generators of this process: Python's, NumPy's, torch's, CUDA's."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["get_random_state", "seed_generators", "set_random_state"]


def seed_generators(*numbers: int) -> None:
    """Seeds the random generators; each gets a seed of its own, drawn from all ``numbers``."""
    seeds = np.random.SeedSequence(numbers).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(int(seeds[1]))
    torch.manual_seed(int(seeds[2]))


def get_random_state() -> dict[str, Any]:
    """Returns the state of the random generators; CUDA's only in a process that uses CUDA.

    Arrays of numbers are stored as tensors, since ``torch.load`` with ``weights_only`` rejects NumPy arrays.
    """
    version, numbers, gauss = random.getstate()
    numpy_state: dict[str, Any] = dict(np.random.get_state(legacy=False))
    key, position = numpy_state["state"]["key"], numpy_state["state"]["pos"]
    state: dict[str, Any] = {
        "python": {"version": version, "state": torch.tensor(numbers), "gauss": gauss},
        "numpy": {
            **numpy_state,
            "state": {"key": torch.from_numpy(key.astype(np.int64)), "pos": int(position)},
        },
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():  # training on the CPU must not initialise CUDA
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restores a state from ``get_random_state``; the CUDA part only in a process that uses CUDA."""
    python, numpy_state = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["state"].tolist()), python["gauss"]))
    key = numpy_state["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy_state, "state": {"key": key, "pos": numpy_state["state"]["pos"]}})
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"])
