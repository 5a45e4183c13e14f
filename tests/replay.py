"""Replays golden videos: ``python -m tests.replay FILE.npz ...`` prints one JSON line per file.

Each file holds a video, its masks, and what the published implementation computed for them with weights drawn
from the tensors' names. Model, policy, capacity and gap come from the file.
"""

import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from aot_plus.configs import Config
from aot_plus.networks.engines.frame_scores import merge_groups
from aot_plus.networks.engines.inference import InferenceEngine, VideoState
from aot_plus.networks.models import AOT, Features
from aot_plus.networks.models.prepare import prepare_for_inference
from aot_plus.utils.config import get_config
from aot_plus.utils.images import normalise
from tests.weights_by_name import build_by_name

CLOSE_CALL = 1e-4  # official files: labels count only where the two best golden logits differ by more


@dataclass
class Replay:
    """The differences between a replay and its golden file."""

    case: str
    teacher_forced: bool
    largest_logit_difference: float = 0.0
    largest_attention_difference: float = 0.0  # official files' layers, relative to their largest values
    label_agreement: float = 1.0  # fraction of all pixels of all frames
    banks_equal: bool = True
    largest_average_difference: float = 0.0
    label_counts: list[int] = field(default_factory=lambda: [0, 0], repr=False)  # equal, compared

    def count_labels(self, equal: NDArray[np.bool_]) -> None:
        """Adds a frame's pixels to the agreement."""
        self.label_counts[0] += int(equal.sum())
        self.label_counts[1] += equal.size
        self.label_agreement = self.label_counts[0] / max(self.label_counts[1], 1)

    def to_json(self) -> str:
        """Returns one line of JSON."""
        values = asdict(self)
        del values["label_counts"]
        return json.dumps(values)


def replay(path: Path) -> Replay:
    """Runs the video of a golden file and compares every number in the file."""
    with np.load(path) as file:
        golden = {name: file[name] for name in file.files}
    setup = json.loads(str(golden["setup"]))
    engine = InferenceEngine(*_network(setup))
    read, handles = _kept_attention(engine.model)
    result = Replay(path.stem, bool(setup["teacher_forced"]))
    masks = torch.from_numpy(golden["masks"].astype(np.int32))
    with torch.inference_mode():
        state = VideoState(setup["num_objects"], setup["memory_gap"])
        engine.start(_images(golden, 0), masks[0], state.num_objects)
        for frame in range(1, len(masks)):
            prediction = engine.predict(state, _images(golden, frame))
            full = F.interpolate(
                prediction.logits,
                size=tuple(masks.shape[1:]),
                mode="bilinear",
                align_corners=setup.get("align_corners", True),
            )
            merged = _merged_logits(full, setup["num_objects"])
            labels = merged.argmax(dim=0).int()
            _compare_logits(result, golden, frame, prediction.logits, merged)
            _compare_labels(result, golden, frame, labels)
            read |= {f"transformer_output:{i}": x for i, x in enumerate(prediction.propagations[0].outputs)}
            _compare_attention(result, golden, frame, read)
            offered = state.writes_next
            number = torch.tensor(frame) if offered else None
            engine.commit(prediction, masks[frame] if setup["teacher_forced"] else labels, number)
            state.move_on(offered=offered)
            _compare_memory(result, golden, frame, engine)
    for handle in handles:
        handle.remove()
    return result


def _network(setup: dict[str, Any]) -> tuple[AOT, Config]:
    memory: dict[str, object] = {
        "MEM_POLICY": setup["policy"],
        "FORMER_MEM_LEN": setup.get("former", 1),
        "LATTER_MEM_LEN": setup.get("latter") or 8,
    }
    cfg = _config(setup["model"], setup["temporal_pe"], setup.get("official_aot", False), memory)
    return _model(setup["model"], setup["temporal_pe"], setup.get("official_aot", False)), cfg


def _config(name: str, temporal: bool, official: bool, memory: dict[str, object]) -> Config:
    overrides = {"USE_TEMPORAL_POSITIONAL_EMBEDDING": temporal, "MODEL_IGNORE_TOKEN": not official}
    cfg = get_config("pre_vost_2", name, overrides=memory | overrides)
    if official and cfg.MODEL_VOS == "aot":
        cfg.MODEL_VOS = "official_aot"
    return cfg


@lru_cache(maxsize=1)  # consecutive files use the same network
def _model(name: str, temporal: bool, official: bool) -> AOT:
    """Returns the network; it encodes a frame that several files share only once."""
    model = prepare_for_inference(build_by_name(_config(name, temporal, official, {})))
    vars(model)["encode"] = _remembering(model.encode)
    return model


def _remembering(encode: Callable[[Tensor], Features]) -> Callable[[Tensor], Features]:
    known: dict[bytes, Features] = {}

    def encode_once(images: Tensor) -> Features:
        content = images.numpy().tobytes()
        if content not in known:
            known[content] = encode(images)
        return known[content]

    return encode_once


def _images(golden: dict[str, NDArray[Any]], frame: int) -> Tensor:
    return torch.from_numpy(normalise(golden["frames"][frame]))[None]


def _kept_attention(model: AOT) -> tuple[dict[str, Tensor], list[RemovableHandle]]:
    """Hooks the memory attentions. Returns a mapping with their latest outputs, and the hooks' handles."""
    kept: dict[str, Tensor] = {}
    handles = []
    for index, layer in enumerate(model.LSTT.layers):
        for kind in ("long", "short"):
            name = f"{kind}_attention:{index}"
            attention = layer.get_submodule(f"{kind}_term_attn")
            handles.append(
                attention.register_forward_hook(
                    lambda module, args, output, name=name: kept.update({name: output})
                )
            )
    return kept, handles


def _merged_logits(full: Tensor, num_objects: int) -> Tensor:
    """Merges the groups' logits at the input's size into the logits of all objects."""
    per_group = full.shape[1] - 1
    counts = [min(per_group, num_objects - group * per_group) for group in range(len(full))]
    return merge_groups([group[: count + 1] for group, count in zip(full, counts, strict=True)])


def _compare_logits(
    result: Replay, golden: dict[str, NDArray[Any]], frame: int, logits: Tensor, merged: Tensor
) -> None:
    (found,) = np.nonzero(golden["logit_steps"] == frame)
    if len(found) == 0:
        return
    mine, name = (merged, "full_logits") if "full_logits" in golden else (logits, "logits")
    difference = np.abs(mine.numpy() - golden[name][found[0]].astype(np.float32)).max()
    result.largest_logit_difference = max(result.largest_logit_difference, float(difference))


def _compare_labels(result: Replay, golden: dict[str, NDArray[Any]], frame: int, labels: Tensor) -> None:
    equal = labels.numpy() == golden["pred"][frame]
    (found,) = np.nonzero(golden["logit_steps"] == frame)
    if "full_logits" in golden and len(found):
        second, best = np.sort(golden["full_logits"][found[0]].astype(np.float32), axis=0)[-2:]
        equal = equal[best - second > CLOSE_CALL]
    result.count_labels(equal)


def _compare_attention(
    result: Replay, golden: dict[str, NDArray[Any]], frame: int, read: dict[str, Tensor]
) -> None:
    for name, mine in read.items():
        kind, layer = name.split(":")
        expected = golden.get(f"{kind}_frame_{frame}_layer{layer}")  # N x every 16th channel
        if expected is not None:
            difference = np.abs(mine[0, :, ::16].numpy() - expected).max() / np.abs(expected).max()
            result.largest_attention_difference = max(result.largest_attention_difference, float(difference))


def _compare_memory(
    result: Replay, golden: dict[str, NDArray[Any]], frame: int, engine: InferenceEngine
) -> None:
    if "banks" in golden:
        result.banks_equal &= engine.banks == json.loads(str(golden["banks"]))[frame]
        averages = {str(frame): value for frame, value in engine.batches[0].policies[0].averages.items()}
        expected = json.loads(str(golden["relevance"]))[frame - 1]
        result.banks_equal &= averages.keys() == expected.keys()
        differences = [abs(averages[key] - expected[key]) for key in averages.keys() & expected.keys()]
        result.largest_average_difference = max(result.largest_average_difference, *differences, 0.0)
    else:  # the official files say how many tokens the memory holds
        height, width = golden["masks"].shape[1:]
        tokens = len(engine.batches[0].memory.bank) * -(-height // 16) * -(-width // 16)
        result.banks_equal &= tokens == int(golden["mem_tokens"][frame])


def main(arguments: list[str]) -> int:
    """Replays each file; returns exit code 1 when one cannot be read."""
    if not arguments:
        print("usage: python -m tests.replay FILE.npz ...", file=sys.stderr)
        return 2
    code = 0
    for name in arguments:
        try:
            print(replay(Path(name)).to_json(), flush=True)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            print(f"{name}: cannot be replayed ({error})", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
