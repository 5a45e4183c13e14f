"""The options that make a training step faster on a GPU do not change what is learned."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aot_plus.dataloaders.clips import Batch
from aot_plus.dataloaders.train_datasets import build_train_loader
from aot_plus.networks.engines.training import Clips, TrainingEngine, TrainOutput
from aot_plus.networks.managers import learner as learner_module
from aot_plus.networks.managers.learner import Learner, StepResult
from aot_plus.networks.managers.processes import ProcessPlace
from aot_plus.networks.models import AOT, Features, build_model, prepare
from aot_plus.utils.config import get_config
from tests.tape import TapeRecorder
from tests.tiny_training import TINY, tiny_config
from tests.train_videos import write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "VOST"
    write_dataset(root, sequences=2)
    return root


def _learner(dataset: Path, **values: Any) -> tuple[Learner, Batch]:
    cfg = tiny_config(dataset, TRAIN_LSTT_DROPPATH=0.0, DATA_SEQ_LEN=2, TRAIN_BATCH_SIZE=1, **values)
    torch.manual_seed(0)
    learner = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=ProcessPlace())
    return learner, next(iter(build_train_loader(cfg)))


def test_losses_stay_the_same(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(prepare, "COMPILE_BACKEND", backend)
    losses = []
    for values in ({}, {"TRAIN_CHANNELS_LAST": True}, {"TRAIN_COMPILE": True}):
        learner, batch = _learner(dataset, **values)
        losses.append(learner.train_step(batch, 0).loss)
        assert bool(graphs) == ("TRAIN_COMPILE" in values)
        convolution = learner.model.decoder.conv_16x.conv.weight
        layout = torch.channels_last if "TRAIN_CHANNELS_LAST" in values else torch.contiguous_format
        assert convolution.is_contiguous(memory_format=layout)
        assert learner.model.decoder.channels_last == ("TRAIN_CHANNELS_LAST" in values)
        assert not any(name.startswith("_orig_mod") for name in learner.state()["state_dict"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[2] == pytest.approx(losses[0], rel=1e-3)


def test_tf32_is_set_for_a_step_and_no_longer(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner, batch = _learner(dataset, TRAIN_TF32=True)
    before, seen = torch.backends.cuda.matmul.allow_tf32, []

    def stop(*_: object, **__: object) -> None:
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        raise InterruptedError

    monkeypatch.setattr(learner.model.encoder, "forward", stop)
    with pytest.raises(InterruptedError):
        learner.train_step(batch, 0)
    assert seen == [True]
    assert torch.backends.cuda.matmul.allow_tf32 == before


class _CopiesDoNotWait(TorchDispatchMode):
    """Refuses copies between two devices for which the host waits."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket in (torch.ops.aten.copy_, torch.ops.aten._to_copy):
            tensors = [value for value in tree_leaves((args, result)) if isinstance(value, Tensor)]
            waits = not ((kwargs or {}).get("non_blocking") or args[2:3] == (True,))
            if waits and len({tensor.device for tensor in tensors}) > 1:
                raise AssertionError(f"the host waits for {function}")
        return result


def test_a_step_waits_for_the_device_once(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A meta device has no values, so reading one there is an error."""
    read = []

    class Copy:
        def __init__(self, tensor: Tensor) -> None:
            read.append(tensor.device.type)
            self.wait = lambda: torch.ones(tensor.shape)

    learner, batch = _learner(dataset, TRAIN_ID_SHUFFLE=True)
    monkeypatch.setattr(Learner, "_autocast", lambda self: nullcontext())  # a meta device has none
    monkeypatch.setattr(learner_module, "HostCopy", Copy)
    learner = Learner(learner.model, learner.cfg, device=torch.device("meta"), place=ProcessPlace())
    with _CopiesDoNotWait():
        results = [learner.train_step(batch, step) for step in (0, 5)]
    assert [result.sequential for result in results] == [False, True]
    assert all(result.updated for result in results)
    assert read == ["meta", "meta"]


def test_a_loss_that_is_not_finite_leaves_the_scale_as_it_is(dataset: Path) -> None:
    """Gradients that are not finite under a finite loss lower it."""
    learner, batch = _learner(dataset, TRAIN_DTYPE="float16", DATA_RANDOMCROP=(33, 33))
    spoiled = replace(batch, images=batch.images * torch.nan)
    states, updated = [], []
    for step, each in enumerate((batch, spoiled, batch)):
        updated.append(learner.train_step(each, step).updated)
        states.append(learner.scaler.state_dict())
    assert updated == [True, False, True]
    assert states[0] == states[1]
    assert [state["_growth_tracker"] for state in states] == [1, 1, 2]


def _six_steps(dataset: Path, model: str, **values: Any) -> tuple[Learner, list[StepResult], list[set[str]]]:
    """Runs three steps that commit ground truth and three that commit predictions.

    Returns the learner, the results, and each step's names of the parameters with gradients.
    """
    same = {
        "DATASETS": (str(dataset),),
        "TRAIN_LSTT_DROPPATH": 0.0,
        "MODEL_FREEZE_BN": True,
        "TRAIN_SEQ_TRAINING_FREEZE_PARAMS": ("patch_wise_id_bank",),
    }
    cfg = get_config("mini_vost", model, overrides={**TINY, **same, **values})
    torch.manual_seed(0)
    learner = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=ProcessPlace())
    if cfg.TRAIN_DTYPE == "float16":  # a scale so large that the first steps overflow and are skipped
        learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**36, backoff_factor=2.0**-9)
    results, learned = [], []
    for step, batch in enumerate(build_train_loader(cfg)):
        results.append(learner.train_step(batch, step))
        named = learner.model.named_parameters()
        learned.append({name for name, weight in named if weight.grad is not None})
    return learner, results, learned


@pytest.fixture(scope="module")
def plain_steps(dataset: Path) -> list[StepResult]:
    """The results of eager steps."""
    return _six_steps(dataset, "aot_mini")[1]


CASES: dict[str, dict[str, Any]] = {
    "aot_mini": {},
    "deaot_mini": {"model": "deaot_mini"},
    "in two parts, with moving statistics and ids as they are": {
        "TRAIN_ACCUMULATION_STEPS": 2,
        "MODEL_FREEZE_BN": False,
        "TRAIN_ID_SHUFFLE": False,
    },
    "a full bank, temporal embedding": {
        "FORMER_MEM_LEN": 1,
        "LATTER_MEM_LEN": 1,
        "DATA_SEQ_LEN": 5,
        "TRAIN_BATCH_SIZE": 1,
        "USE_TEMPORAL_POSITIONAL_EMBEDDING": True,
    },
    "float16": {  # slow on a CPU
        "TRAIN_DTYPE": "float16",
        "TRAIN_BATCH_SIZE": 1,
        "DATA_RANDOMCROP": (33, 33),
        "DATA_SEQ_LEN": 2,
    },
}


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_training_learns_the_same(
    case: str, dataset: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"model": "aot_mini", **CASES[case]}
    plain, expected, reached = _six_steps(dataset, **values)
    tape = TapeRecorder()
    monkeypatch.setattr(learner_module, "step_recorder", lambda device, wanted: lambda: tape)
    recorded, found, found_reached = _six_steps(dataset, **values)
    assert tape.replays == 6 * values.get("TRAIN_ACCUMULATION_STEPS", 1) - 1
    assert tape.freed == 2  # before each of the two recordings
    assert not caplog.records
    assert [result.sequential for result in found] == [False] * 3 + [True] * 3
    assert reached == found_reached
    assert {"patch_wise_id_bank.weight", "patch_wise_id_bank.bias"} <= reached[0] - reached[-1]
    updated = [result.updated for result in expected]
    assert updated == [result.updated for result in found]
    assert set(updated) == ({False, True} if case == "float16" else {True})
    for one, other in zip(found, expected, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-2, nan_ok=True)
        assert one.mean_iou == pytest.approx(other.mean_iou, rel=1e-2, nan_ok=True)
        assert (one.predictions != other.predictions).float().mean() < 0.01
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(recorded.model.state_dict()[name], weight, rtol=1e-3, atol=1e-4)


def test_weights_that_a_later_recording_reaches_first_learn_from_all_parts(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This happens when a training resumes with a step that commits predictions."""
    ways = [lambda device, wanted: None, lambda device, wanted: TapeRecorder]
    gradients = []
    for way in ways:
        monkeypatch.setattr(learner_module, "step_recorder", way)
        cfg = tiny_config(
            dataset,
            TRAIN_ACCUMULATION_STEPS=2,
            TRAIN_LSTT_DROPPATH=0.0,
            MODEL_FREEZE_BN=True,
            TRAIN_SEQ_TRAINING_FREEZE_PARAMS=("patch_wise_id_bank",),
        )
        torch.manual_seed(0)
        learner = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=ProcessPlace())
        batch = next(iter(build_train_loader(cfg)))
        learner._accumulate(batch, 0, sequential=True)
        assert learner.model.patch_wise_id_bank.weight.grad is None
        learner.optimizer.zero_grad()
        learner._accumulate(batch, 0, sequential=False)
        gradients.append(learner.model.patch_wise_id_bank.weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-6)


def test_a_training_that_cannot_be_recorded_runs_eagerly(
    dataset: Path,
    plain_steps: list[StepResult],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """This happens with a custom encoder that reads a number from the GPU."""
    encode = AOT.encode

    def asks(self: AOT, images: Tensor) -> Features:
        assert images.abs().max().item() < 100
        return encode(self, images)

    monkeypatch.setattr(AOT, "encode", asks)
    monkeypatch.setattr(learner_module, "step_recorder", lambda device, wanted: TapeRecorder)
    _, found, _ = _six_steps(dataset, "aot_mini")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    for one, other in zip(found, plain_steps, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-2)


def test_a_second_kind_of_step_that_cannot_be_recorded_makes_all_steps_eager(
    dataset: Path,
    plain_steps: list[StepResult],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is tried twice; until then, the first kind is recorded again, and after that all steps are eager."""
    run, tape = TrainingEngine.__call__, TapeRecorder()

    def asks(self: TrainingEngine, clips: Clips, *, commit_predictions: bool) -> TrainOutput:
        assert not commit_predictions or clips.labels.max().item() <= 255
        return run(self, clips, commit_predictions=commit_predictions)

    monkeypatch.setattr(TrainingEngine, "__call__", asks)
    monkeypatch.setattr(learner_module, "step_recorder", lambda device, wanted: lambda: tape)
    learner, found, _ = _six_steps(dataset, "aot_mini")
    assert tape.replays == 2
    assert tape.freed == 3 + 2  # before each recording, and after the two that failed
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert not learner.is_recorded
    for one, other in zip(found, plain_steps, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-2)


@pytest.mark.parametrize(
    ("values", "processes", "recorded"),
    [
        ({}, 1, True),
        ({"TRAIN_CUDA_GRAPH": False}, 1, False),
        ({"TRAIN_CHECKPOINT_ACTIVATIONS": True}, 1, False),
        ({"TRAIN_COMPILE": True}, 1, False),
        ({}, 2, True),
        ({"TRAIN_SYNC_BN": True}, 1, True),
    ],
)
def test_what_is_recorded(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], processes: int, recorded: bool
) -> None:
    monkeypatch.setattr(
        learner_module, "step_recorder", lambda device, wanted: TapeRecorder if wanted else None
    )
    monkeypatch.setattr(learner_module, "broadcast_from_first", lambda *_: None)
    monkeypatch.setattr(learner_module, "compile_parts", lambda *_: None)
    cfg = tiny_config(dataset, **values)
    place = ProcessPlace(0, processes)
    learner = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=place)
    assert learner.is_recorded == recorded
