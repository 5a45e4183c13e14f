"""Checkpoint files with errors that plain loading would miss, or would notice only once memory is used up."""

import io
import pickle
import resource
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from aot_plus.networks.models.checkpoint import inspect_checkpoint, load_into
from aot_plus.networks.models.checkpoint_file import read_state_dict
from aot_plus.utils.errors import CheckpointError


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


def weights(**changed: object) -> dict[str, object]:
    """Returns the model's weights, with ``first`` in place of its first tensor."""
    tensors: dict[str, object] = {name: tensor.clone() for name, tensor in model().state_dict().items()}
    if "first" in changed:
        tensors["0.weight"] = changed["first"]
    return tensors


class Subclass(Tensor):
    pass


TENSORS: dict[str, tuple[Callable[[], object], str]] = {
    "quantised": (lambda: torch.quantize_per_tensor(torch.ones(4, 4), 0.1, 0, torch.qint8), "qint8"),
    "meta": (lambda: torch.ones(4, 4, device="meta"), "without values"),
    "sparse": (lambda: torch.eye(4).to_sparse(), "sparse"),
    "rows": (lambda: torch.eye(4).to_sparse_csr(), "sparse"),
    "float8": (lambda: torch.ones(4, 4).to(torch.float8_e4m3fn), "float8"),
    "complex": (lambda: torch.ones(4, 4, dtype=torch.complex64), "complex64"),
    "expanded": (lambda: torch.ones(1).expand(10**6, 10**6), " 4000000000000 bytes.* 4$"),
    "overlapping": (lambda: torch.ones(9).as_strided((4, 4), (1, 1)), " 64 bytes.* 36"),
    "number": (lambda: 3, "int"),
    "bool": (lambda: torch.ones(4, 4, dtype=torch.bool), "expected float32, found bool"),
    "int8": (lambda: torch.ones(4, 4, dtype=torch.int8), "expected float32, found int8"),
    "double": (lambda: torch.full((4, 4), 1e300, dtype=torch.float64), "fit float32.*found 1e\\+300"),
    "scalar": (lambda: torch.tensor(1.0), "file scalar"),
    "empty": (lambda: torch.zeros(0, 4), "file 0x4"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", TENSORS)
def test_an_unsuitable_tensor_is_named(tmp_path: Path, kind: str) -> None:
    make, message = TENSORS[kind]
    path = tmp_path / "model.pth"
    torch.save(weights(first=make()), path)
    network = model()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"model.pth: .*0.weight.*{message}"):
        load_into(network, path, strict=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.filterwarnings("ignore")
def test_a_nested_tensor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(weights(first=torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])), path)
    with pytest.raises(CheckpointError, match=r"model\.pth: .*nested"):  # PyTorch 2.15 does not even read it
        load_into(model(), path, strict=True)


@pytest.mark.parametrize("kind", ["float8", "complex", "bool", "int8", "double", "scalar", "empty"])
def test_a_bad_tensor_in_a_safetensors_file_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "complex":
        pytest.importorskip("safetensors", "0.7")  # the first that writes them
    make, message = TENSORS[kind]
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(weights(first=make()), path)
    with pytest.raises(CheckpointError, match=message):
        load_into(model(), path, strict=True)


def test_a_subclass_of_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(weights(first=torch.ones(4, 4).as_subclass(Subclass)), path)
    with pytest.raises(CheckpointError, match=r"model\.pth: .*Subclass"):
        read_state_dict(path)


@pytest.mark.parametrize("side", [0, 1, 2, 3])
def test_facts_of_tensors_with_too_few_dimensions(side: int) -> None:
    tensor = torch.zeros((0,) * side)
    names = ("mem_pos_emb", "cur_pos_emb", "patch_wise_id_bank.weight", "decoder.conv_out.weight")
    facts = inspect_checkpoint(dict.fromkeys(names, tensor))
    assert facts.has_temporal_embedding


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    size = 64 * 2**20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x/data/0", "w") as entry:
        for _ in range(size // 2**20):
            entry.write(bytes(2**20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=rf"bomb\.pth: .* {size} bytes"):
        read_state_dict(path)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024  # KiB


@pytest.mark.parametrize("position", [0.3, 0.5, 0.7])
def test_a_changed_byte_is_found_by_its_checksum(tmp_path: Path, position: float) -> None:
    path = tmp_path / "model.pth"
    torch.save({"0.weight": torch.ones(400, 4)}, path)
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.pth: .*(/data/0|CRC)"):
        read_state_dict(path)


def test_an_old_file_that_promises_terabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"weight": torch.ones(77777)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(
        path.read_bytes().replace((77777).to_bytes(4, "little"), (2**31 - 1).to_bytes(4, "little"))
    )
    with pytest.raises(CheckpointError, match=r"old\.pth"):
        read_state_dict(path)


class _Code:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("place", ["value", "key", "state_dict", "bare"])
def test_no_code_runs_from_a_file(tmp_path: Path, place: str) -> None:
    marker, path = tmp_path / "ran", tmp_path / "model.pth"
    code = _Code(marker)
    content = {
        "value": {"weight": code},
        "key": {code: torch.ones(1)},
        "state_dict": {"state_dict": {"weight": torch.ones(1)}, "optimizer": code},
        "bare": code,
    }[place]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"model\.pth"):
        read_state_dict(path)
    buffer = io.BytesIO()
    pickle.dump(content, buffer, protocol=2)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match=r"model\.pth"):
        read_state_dict(path)
    assert not marker.exists()
