"""The device that a benchmark runs on: its name, and the memory that was taken."""

import torch

from benchmarks.report import MIB, Record, peak_memory


def device_name(device: torch.device) -> str:
    """``cpu``, or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peaks(device: torch.device) -> Record:
    """Peak memory so far, in MiB: resident, and what CUDA allocated (None without it)."""
    cuda = torch.cuda.max_memory_allocated(device) / MIB if device.type == "cuda" else None
    return {"peak_memory": peak_memory(), "peak_cuda_memory": cuda}
