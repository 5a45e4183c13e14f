"""What a worker process of the metric does. It imports little, since every worker waits for that."""

import multiprocessing
import os
import threading
from itertools import takewhile
from multiprocessing.synchronize import Event
from pathlib import Path

import cv2
import numpy as np

from evaluation.errors import DataError
from evaluation.metrics import FloatArray, score_frames
from evaluation.vost import Sequence, mask_pairs, read_num_objects

# What becomes of a sequence: its IoUs (K x frames), or the problem it has.
Outcome = FloatArray | DataError

# Far above a mask's size; the memory is never touched.
_LARGE_BLOCK = 16 * 2**20  # bytes

# In a worker: set when the run was given up. None in the first process.
_stop: Event | None = None


def score_files(sequence: Sequence, results: Path) -> Outcome:
    """Reads a sequence's masks and scores them. ``results``: the folder of the predictions."""
    _keep_freed_memory()
    try:
        num_objects = read_num_objects(sequence)
        pairs = takewhile(lambda _: _stop is None or not _stop.is_set(), mask_pairs(sequence, results))
        return score_frames(pairs, num_objects)
    except DataError as error:
        return error


def _keep_freed_memory() -> None:
    """Has the C library keep what is freed for the next mask, where it would give it back to the system.

    glibc takes the size of the first large block that is freed as the one from which on memory goes back.
    Mapping the memory of every mask anew takes a fifth of the time of scoring it.
    """
    np.empty(_LARGE_BLOCK, dtype=np.uint8)


def start_worker(stop: Event) -> None:
    """Prepares a process for scoring. ``stop``: set when the run is given up; what is under way then ends."""
    global _stop
    _stop = stop
    cv2.setNumThreads(1)  # the other processors have workers of their own
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends a worker whose first process was killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
