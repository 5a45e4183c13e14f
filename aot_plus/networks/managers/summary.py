"""Summarises an evaluation: counts, speed and memory, of one process or of all."""

import dataclasses
import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from aot_plus.utils.errors import DataError
from aot_plus.utils.json_text import parse_json
from aot_plus.utils.words import format_count
from evaluation.files import replace_text, require_regular

_MIB = 2**20
_OF_THIS_RUN = ("skipped", "failed")  # this run's, even if it computed nothing


@dataclass
class EvaluationSummary:
    """Holds sequences by outcome (``failed``: name -> reason), frames of this run, times and peak memory.

    ``seconds`` is the time from the first sequence to the last. ``compute_seconds`` is the part spent in the
    segmenter: launching each frame's work and, on CUDA, waiting for it; reading, resizing and writing run in
    parallel. For several processes, it is their sum. Memory is in MiB: the peak resident memory of the
    largest process, and the peak that CUDA allocated (None without CUDA).
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    frames: int = 0
    seconds: float = 0.0
    compute_seconds: float = 0.0
    processes: int = 1
    peak_memory: float = 0.0
    peak_cuda_memory: float | None = None

    @property
    def frames_per_second(self) -> float | None:
        """Returns the frames of all processes per second of the slowest one; None without frames."""
        return self.frames / self.seconds if self.frames else None

    @property
    def frames_per_second_compute(self) -> float | None:
        """Returns the frames per second that the processes would reach if they did nothing but compute."""
        return self.frames * self.processes / self.compute_seconds if self.frames else None

    def measure_memory(self, device: torch.device) -> None:
        """Records this process's peak memory."""
        unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, else kilobytes
        self.peak_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB
        if device.type == "cuda":
            self.peak_cuda_memory = torch.cuda.max_memory_allocated(device) / _MIB

    @classmethod
    def merge(cls, parts: Sequence["EvaluationSummary"]) -> "EvaluationSummary":
        """Merges the summaries of processes that worked in parallel."""
        cuda = [part.peak_cuda_memory for part in parts if part.peak_cuda_memory is not None]
        return cls(
            done=sorted(name for part in parts for name in part.done),
            skipped=sorted(name for part in parts for name in part.skipped),
            failed={name: part.failed[name] for part in parts for name in sorted(part.failed)},
            frames=sum(part.frames for part in parts),
            seconds=max(part.seconds for part in parts),
            compute_seconds=sum(part.compute_seconds for part in parts),
            processes=len(parts),
            peak_memory=max(part.peak_memory for part in parts),
            peak_cuda_memory=max(cuda, default=None),
        )

    def save(self, path: Path) -> None:
        """Writes all values as JSON; if nothing was computed, the previous run's speed and memory stay."""
        values = dataclasses.asdict(self)
        values["frames_per_second"] = self.frames_per_second
        values["frames_per_second_compute"] = self.frames_per_second_compute
        if not self.frames:
            before = _read(path)
            values |= {name: before[name] for name in values if name in before and name not in _OF_THIS_RUN}
        replace_text(path, json.dumps(values, indent=2) + "\n")

    def describe(self) -> str:
        """Describes the evaluation in a few lines for a terminal."""
        counts = (
            f"{len(self.done)} done, {len(self.skipped)} skipped (already there), {len(self.failed)} failed"
        )
        lines = [f"Sequences: {counts}."]
        if self.frames:
            processes = format_count(self.processes, "process", "processes")
            lines.append(
                f"Frames: {self.frames} in {self.seconds:.1f} s: "
                f"{self.frames_per_second:.2f} frames per second, "
                f"{self.frames_per_second_compute:.2f} computing alone, {processes}."
            )
        cuda = "" if self.peak_cuda_memory is None else f", {self.peak_cuda_memory:.0f} MiB of GPU memory"
        lines.append(f"Peak memory of a process: {self.peak_memory:.0f} MiB{cuda}.")
        lines += [f"Failed: {name}: {reason}" for name, reason in self.failed.items()]
        return "\n".join(lines)


def _read(path: Path) -> dict[str, Any]:
    """Reads a summary; empty if the file is missing or damaged."""
    try:
        require_regular(path)
        return dict(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, DataError):
        return {}
