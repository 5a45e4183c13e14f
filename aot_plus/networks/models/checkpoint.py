"""Loads a checkpoint's tensors into a model, and reports what happened to each."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from aot_plus.networks.encoders import Encoder
from aot_plus.networks.models.checkpoint_file import read_state_dict
from aot_plus.utils.errors import CheckpointError
from aot_plus.utils.words import format_list

_log = logging.getLogger(__name__)

_ID_BANK = "patch_wise_id_bank.weight"
# A file with less than this share of a model's tensors belongs to another model. Models of this family that
# differ in class and encoder still share 3% to 10%, mostly the decoder.
_MIN_SHARE = 0.15
_LISTED = 10
# In the published files and in the models, but unused.
_UNREAD = re.compile(r"\.linear_KMem\.|^LSTT\.mask_token$")
# Determined by the window's size: a file with other values belongs to another network.
_FIXED = "relative_position_index"


@dataclass(frozen=True)
class CheckpointFacts:
    """Holds what a file reveals about the model it was saved from; None if it reveals nothing."""

    has_temporal_embedding: bool
    temporal_slots: int | None  # rows of the memory's temporal embedding: 4 or 2
    linear_q: bool | None  # AOT+ only: MODEL_LINEAR_Q
    aot_class: Literal["aot", "official_aot"] | None  # MODEL_VOS: AOT+ ("aot") or the AOT benchmark's AOT


@dataclass(frozen=True)
class LoadReport:
    """Groups all tensors by what happened to them. The mappings are from names to shapes or findings."""

    source: str
    loaded: dict[str, str] = field(default_factory=dict)
    adapted: dict[str, str] = field(default_factory=dict)  # in both, shapes differ: made to fit
    missing: dict[str, str] = field(default_factory=dict)  # only in the model: left as they were
    unexpected: dict[str, str] = field(default_factory=dict)  # only in the file: left out
    misshapen: dict[str, str] = field(default_factory=dict)  # in both, shapes differ: left as they were

    def summary(self) -> str:
        """Lists the loaded tensors, folded into whole modules, then each other tensor on its own line."""
        own = [*self.loaded, *self.adapted, *self.misshapen, *self.missing]
        names = ", ".join(_folded(set(self.loaded), own))
        lines = [f"{self.source}: {len(self.loaded)} of {len(own)} tensors loaded: {names}"]
        groups = {
            "adapted": self.adapted,
            "left as they were, the file has another shape": self.misshapen,
            "left as they were, not in the file": self.missing,
            "left out, not in the model": self.unexpected,
        }
        for title, tensors in groups.items():
            if tensors:
                lines.append(f"  {len(tensors)} {title}:")
                lines.extend(f"    {name} ({what})" for name, what in tensors.items())
        return "\n".join(lines)


def inspect_checkpoint(tensors: Mapping[str, Tensor]) -> CheckpointFacts:
    """Returns what a file's tensors reveal about its model, to adapt a config before the model is built."""
    memory_embedding = tensors.get("mem_pos_emb")
    slots = len(memory_embedding) if memory_embedding is not None and memory_embedding.ndim else None
    # A file with only one of the two is incomplete, and must not be run as if it had neither.
    has_temporal = memory_embedding is not None or "cur_pos_emb" in tensors
    is_aot_plus = "LSTT.layers.0.linear_QMem.weight" in tensors
    is_official = "LSTT.layers.0.short_term_attn.relative_emb_v" in tensors
    return CheckpointFacts(
        has_temporal_embedding=has_temporal,
        temporal_slots=slots,
        linear_q="LSTT.layers.0.norm4.weight" not in tensors if is_aot_plus else None,
        aot_class="aot" if is_aot_plus else "official_aot" if is_official else None,
    )


def load_into(model: nn.Module, path: Path | str, *, strict: bool) -> LoadReport:
    """Reads a file (see ``read_state_dict``) and loads its tensors with ``load_tensors``."""
    return load_tensors(model, read_state_dict(path), str(path), strict=strict)


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: str, *, strict: bool) -> LoadReport:
    """Copies a file's tensors into the model in place, by name and shape, and logs a report on all of them.

    ``num_batches_tracked`` is ignored on both sides. If the file's identity bank lacks the channel for
    ignored pixels, the other channels are copied.

    Args:
        model: left untouched if an error is raised.
        tensors: the file's tensors by name.
        source: the file's name in messages.
        strict: True for evaluation: the file must have every tensor that the model computes with, in the same
            shape; a new channel of the identity bank is set to zero, so nothing random remains. False to
            start training: tensors that do not fit are left as they were.

    Raises:
        CheckpointError: the tensors belong to another model, have another type than the model's or values
            beyond its range, or (``strict``) some are missing.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if is_used(name)}
    tensors = {name: tensor for name, tensor in tensors.items() if is_used(name)}
    report = _compare(source, own, tensors)
    taken = [*report.loaded, *report.adapted]
    if len(taken) < max(1.0, _MIN_SHARE * len(own)):
        raise CheckpointError(
            f"{source}: belongs to another model: expected {len(own)} tensors, found {len(taken)} of "
            f"them; those of the file are {_listing(tensors)}"
        )
    if strict:
        _check_complete(report, own)
    for name in taken:
        _check_values(source, name, own[name], tensors[name])
    with torch.no_grad():
        for name in report.loaded:
            own[name].copy_(tensors[name])
        for name in report.adapted:
            own[name][:, :-1].copy_(tensors[name])
            if strict:
                own[name][:, -1].zero_()
    _log.info("%s", report.summary())
    return report


def load_encoder(encoder: nn.Module, path: Path | str) -> LoadReport:
    """Copies ImageNet weights into an encoder, without the classifier and stages that the encoder lacks.

    Raises ``CheckpointError`` if the file lacks a tensor of the encoder or belongs to a deeper network.
    """
    tensors = read_state_dict(path)
    if isinstance(encoder, Encoder):
        tensors = encoder.of_classifier(tensors)
    return load_tensors(encoder, tensors, str(path), strict=True)


def is_used(name: str) -> bool:
    """Returns whether a file's tensor is used: batch norms do not need their number of batches here."""
    return name.rpartition(".")[2] != "num_batches_tracked"


def _check_values(source: str, name: str, own: Tensor, found: Tensor) -> None:
    """Raises ``CheckpointError`` if the model's tensor cannot take the file's values."""
    if own.is_floating_point() != found.is_floating_point():
        raise CheckpointError(f"{source}: {name}: expected {_type(own)}, found {_type(found)}")
    if name.rpartition(".")[2] == _FIXED and not torch.equal(own.cpu(), found.to(own.dtype)):
        raise CheckpointError(f"{source}: {name}: expected query minus key in a window, found other numbers")
    if not own.is_floating_point() or torch.finfo(found.dtype).max <= torch.finfo(own.dtype).max:
        return
    largest = float(found.abs().max()) if found.numel() else 0.0
    if largest > torch.finfo(own.dtype).max:
        raise CheckpointError(
            f"{source}: {name}: expected values that fit {_type(own)} "
            f"(up to {torch.finfo(own.dtype).max:g}), found {largest:g}"
        )


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "scalar"


def _compare(source: str, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> LoadReport:
    """Sorts the model's (``own``) and the file's tensors into the groups of a report."""
    report = LoadReport(source)
    for name, tensor in own.items():
        found = tensors.get(name)
        if found is None:
            report.missing[name] = _shape(tensor)
        elif found.shape == tensor.shape:
            report.loaded[name] = _shape(tensor)
        elif name == _ID_BANK and found.shape == tensor[:, :-1].shape:
            report.adapted[name] = f"{_shape(found)} into {_shape(tensor)}, no channel for ignored pixels"
        else:
            report.misshapen[name] = f"model {_shape(tensor)}, file {_shape(found)}"
    report.unexpected.update({name: _shape(tensor) for name, tensor in tensors.items() if name not in own})
    return report


def _check_complete(report: LoadReport, own: Mapping[str, Tensor]) -> None:
    """Raises ``CheckpointError`` unless the model computes the same as the file's model."""
    lacking = {name: shape for name, shape in report.missing.items() if not _UNREAD.search(name)}
    for problem, tensors in (("are missing", lacking), ("have another shape", report.misshapen)):
        if tensors:
            listing = _listing(f"{name} ({what})" for name, what in tensors.items())
            raise CheckpointError(
                f"{report.source}: does not fit the model: tensors that {problem}, {listing}"
            )
    deeper = {block for name in report.unexpected if (block := _extra_block(name, own))}
    if deeper:
        raise CheckpointError(
            f"{report.source}: belongs to a deeper model: blocks not in this one, {_listing(sorted(deeper))}"
        )


def _extra_block(name: str, own: Mapping[str, Tensor]) -> str | None:
    """Returns the block (``LSTT.layers.2``) of an unexpected tensor if the model has fewer such blocks."""
    for number in re.finditer(r"\.\d+(?=\.)", name):
        parent, block = name[: number.start()], name[: number.end()]
        has_first = any(other.startswith(f"{parent}.0.") for other in own)
        if has_first and not any(other.startswith(f"{block}.") for other in own):
            return block
    return None


def _folded(names: set[str], universe: list[str], prefix: str = "") -> Iterator[str]:
    """Yields ``names``; a module of ``universe`` that is complete is folded into ``module.* (count)``."""
    for child in dict.fromkeys(name[len(prefix) :].split(".")[0] for name in universe):
        path = prefix + child
        members = [name for name in universe if name == path or name.startswith(f"{path}.")]
        inside = names.intersection(members)
        if members == [path]:
            yield from inside
        elif len(inside) == len(members):
            yield f"{path}.* ({len(members)})"
        elif inside:
            yield from _folded(names, members, f"{path}.")


def _listing(tensors: Iterable[str]) -> str:
    """Returns the number of tensors and the first of their names."""
    names = list(tensors)
    return f"{len(names)}: {format_list(names, _LISTED)}"
