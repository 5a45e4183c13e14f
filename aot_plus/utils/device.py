"""Which device to compute on."""

import torch

from aot_plus.utils.errors import ConfigError


def resolve_device(name: str, key: str = "TEST_DEVICE") -> torch.device:
    """``auto`` (CUDA when there is one) or any name PyTorch knows, the value of the config's ``key``.

    Raises ``ConfigError`` for one that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{key}: {name!r} cannot be used here ({reason})") from error
    return device
