"""Reads checkpoint files without running code in them or using more memory than their size."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from aot_plus.utils.errors import CheckpointError, first_line
from aot_plus.utils.sources import PAGE_STARTS, how_to_get

__all__ = ["NETWORK", "check_tensor", "read_checkpoint", "read_file", "read_state_dict"]

NETWORK = "MODEL_VOS"  # the key under which a training's files name their network
SUFFIXES = (".pth", ".pt", ".safetensors")
_ARCHIVE = b"PK\x03\x04"  # start of PyTorch's archives; old files are bare pickles
_POINTER = b"version https://git-lfs"  # start of what Git leaves where it has not fetched a large file
_GZIP = b"\x1f\x8b"  # start of a gzip file
_TAR, _TAR_AT = b"ustar", 257  # what a tar archive holds, and at which offset
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+|(?<=\.)_orig_mod\.")  # parts of names that wrappers add
_TYPES = (
    *(torch.float64, torch.float32, torch.bfloat16, torch.float16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Reads the tensors of a ``.pth``, ``.pt`` or ``.safetensors`` file to the CPU; no code in it is run.

    The file holds a mapping of names to tensors, at the top level or under ``state_dict`` or ``model``. What
    wrappers add to names is removed: ``module.`` at the beginning (data-parallel training), and
    ``_orig_mod.`` anywhere (``torch.compile``). Raises ``CheckpointError`` for a file that is missing,
    damaged or of another kind, for tensors that ``check_tensor`` rejects, and for values that are not finite.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path | str) -> tuple[dict[str, Tensor], str]:
    """Reads like ``read_state_dict``, and also returns the ``MODEL_VOS`` that the file states.

    It is empty unless a training wrote the file: published and exported ones do not state it.
    """
    path = Path(path)
    content = read_file(path)
    tensors = _unwrapped(path, content)
    network = content.get(NETWORK)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: {name}: expected finite values, found NaN or infinite ones")
    return tensors, network if isinstance(network, str) else ""


def read_file(path: Path) -> Any:
    """Reads the whole content of a checkpoint file, tensors to the CPU. Raises ``CheckpointError``.

    An archive is checked before it is loaded: it must not unpack to more than its own size (PyTorch does not
    compress), and every checksum must be right, which PyTorch does not check.
    """
    try:
        _check_name(path)
    except OSError as error:  # for example, the name is too long
        raise CheckpointError(f"{path}: cannot be opened ({error.strerror or error})") from error
    # For a damaged file, the libraries can raise nearly any exception.
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        _check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        found = _what_it_is(path, error)
        raise CheckpointError(f"{path}: expected a checkpoint of tensors, found {found}") from error


def check_tensor(path: Path, name: object, value: Any) -> None:
    """Raises ``CheckpointError`` unless ``value`` is a dense tensor of a common type, stored in full.

    Four stored bytes can claim to be a tensor expanded to terabytes, which a copy would allocate.
    """
    if type(value) not in (Tensor, nn.Parameter):
        found = type(value).__name__
    elif value.is_nested:
        found = "a nested one"
    elif value.layout != torch.strided:
        found = f"a sparse one ({value.layout})"
    elif value.device.type != "cpu":
        found = f"one without values (device {value.device})"
    elif value.dtype not in _TYPES:
        found = f"one of {value.dtype}"
    elif value.numel() * value.element_size() > value.untyped_storage().nbytes():
        stored = value.untyped_storage().nbytes()
        found = f"{value.numel() * value.element_size()} bytes, of which the file has {stored}"
    else:
        return
    raise CheckpointError(f"{path}: {name}: expected a dense tensor, found {found}")


def _check_name(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError(f"{path}: expected a checkpoint file, found a folder")
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint file; {how_to_get(path.name)}")
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: expected a checkpoint, found an empty file")


def _check_archive(path: Path) -> None:
    """Raises ``BadZipFile`` for an archive that is cut off, unpacks to more than its size, or is damaged."""
    with path.open("rb") as file:
        if file.read(len(_ARCHIVE)) != _ARCHIVE:
            return
        if not zipfile.is_zipfile(file):
            raise zipfile.BadZipFile("its end is missing: get the file again")
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if size > path.stat().st_size or any(entry.compress_type for entry in entries):
                raise zipfile.BadZipFile(f"compressed: it unpacks to {size} bytes, PyTorch does not compress")
            damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"damaged: the checksum of {damaged} is wrong")


def _what_it_is(path: Path, error: Exception) -> str:
    """Describes what a file is instead of a checkpoint.

    PyTorch's own message is left out: it explains how to load the file in a way that runs its code.
    """
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if refused:
        return f"an object of {refused[1]}, which is not loaded because it could run code"
    with path.open("rb") as file:
        head = file.read(_TAR_AT + len(_TAR))
    if head.lower().startswith(PAGE_STARTS):
        return "a web page: get the file again"
    if head.startswith(_POINTER):
        return "a Git LFS pointer to the file: get the file itself (git lfs pull)"
    if head.startswith(_GZIP):
        return "a gzip archive: unpack it"
    if head[_TAR_AT:] == _TAR:
        return "a tar archive: unpack it"
    if packed := _packed_checkpoints(path):
        return f"an archive of {', '.join(packed)}: unpack it"
    known = isinstance(error, zipfile.BadZipFile | safetensors.SafetensorError | OSError)
    reason = f" ({first_line(error)})" if known else ""
    return f"{path.stat().st_size} bytes that cannot be read as one{reason}"


def _packed_checkpoints(path: Path) -> list[str]:
    """Returns the names of the checkpoint files in a zip archive; empty for a file of another kind."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name for name in archive.namelist() if name.endswith(SUFFIXES)]
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return []


def _unwrapped(path: Path, content: Any) -> dict[str, Tensor]:
    """Returns the names and tensors in a file's content, with what wrappers add to names removed."""
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: expected names and tensors, found {type(content).__name__}")
    tensors: dict[str, Tensor] = {}
    for key, value in content.items():
        check_tensor(path, key, value)
        name = _WRAPPERS.sub("", str(key))
        if name in tensors:
            raise CheckpointError(f"{path}: {name}: expected once, found twice, the second time as {key}")
        tensors[name] = value.detach()
    if not tensors:
        raise CheckpointError(f"{path}: expected names and tensors, found none")
    return tensors
