"""Fake CUDA tensors, with which tests show what would happen on a GPU."""

import pytest
import torch

__all__ = ["needs_fake_cuda"]

# PyTorch 2.9 built for CUDA asks the driver for the current device even if the tensor is fake.
needs_fake_cuda = pytest.mark.skipif(
    torch.version.cuda is not None
    and not torch.cuda.is_available()
    and not hasattr(torch._C, "_ensureCUDADeviceGuardSet"),
    reason="fake CUDA tensors need a GPU, PyTorch for CPUs or a newer PyTorch",
)
