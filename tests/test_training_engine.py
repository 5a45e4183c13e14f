"""The training engine: id shuffling, bounded memory, recomputed activations, predictions and figures."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aot_plus.configs import Config
from aot_plus.networks.engines import training
from aot_plus.networks.engines.training import (
    Clips,
    IdShuffle,
    LossSchedule,
    TrainingEngine,
    TrainOutput,
    mean_object_iou,
)
from aot_plus.networks.layers.memory_types import KeyValue
from aot_plus.networks.memory.bank import DifferentiableBank
from aot_plus.networks.models import AOT, build_model
from aot_plus.utils.config import get_config
from tests.tiny_training import TINY

FRAMES, BATCH, SIDE = 4, 2, 49


def config(model: str = "aot_mini", **values: Any) -> Config:
    return get_config("mini_vost", model, overrides=TINY | values)


def seeded_model(cfg: Config) -> AOT:
    torch.manual_seed(0)
    model = build_model(cfg)
    with torch.no_grad():
        model.patch_wise_id_bank.weight *= 200  # makes masks matter as much as in a trained model
    return model


def clips(cfg: Config, count: int = FRAMES, permutations: Tensor | None = None) -> Clips:
    generator = torch.Generator().manual_seed(1)
    frames = torch.randn(count, BATCH, 3, SIDE, SIDE, generator=generator)
    labels = torch.randint(0, 3, (count, BATCH, 7, 7), generator=generator, dtype=torch.uint8)
    labels = labels.repeat_interleave(7, dim=2).repeat_interleave(7, dim=3)
    labels[2, :, :10] = 255
    schedule = LossSchedule.at(0, cfg, labels)
    return Clips(frames, labels, torch.tensor([2, 3]), permutations, schedule)


def run(
    model: AOT, cfg: Config, *, predictions: bool = False, permutations: Tensor | None = None
) -> TrainOutput:
    engine = TrainingEngine(model, cfg)
    output: TrainOutput = engine(clips(cfg, permutations=permutations), commit_predictions=predictions)
    return output


def test_shuffled_ids_read_as_the_ids_of_another_bank() -> None:
    """A network with the same permutation in its identity bank and its output gives the same results."""
    cfg = config(MODEL_FREEZE_BN=True)
    model, permuted = seeded_model(cfg).eval(), seeded_model(cfg).eval()
    order = torch.tensor([0, 4, 9, 1, 2, 3, 10, 8, 5, 6, 7])
    with torch.no_grad():
        bank = model.patch_wise_id_bank.weight
        permuted.patch_wise_id_bank.weight[:, : len(order)] = bank[:, order]
        for name in ("weight", "bias"):
            getattr(permuted.decoder.conv_out, name).copy_(getattr(model.decoder.conv_out, name)[order])
        shuffled = run(model, cfg, predictions=True, permutations=order.repeat(BATCH, 1))
        expected = run(permuted, cfg, predictions=True)
        plain = run(model, cfg, predictions=True)
    torch.testing.assert_close(shuffled.frame_losses, expected.frame_losses)
    assert torch.equal(shuffled.predictions, expected.predictions)
    assert not torch.allclose(shuffled.frame_losses, plain.frame_losses, rtol=1e-3)


def test_a_shuffle_keeps_background_and_ignored_and_comes_from_its_seed() -> None:
    shuffle = IdShuffle(IdShuffle.draw(11, [[0, 5, 0], [0, 5, 1]]))
    labels = torch.tensor([0, 255, *range(1, 11)], dtype=torch.uint8).view(1, 3, 4).repeat(2, 1, 1)
    shuffled = shuffle.shuffle(labels).flatten(1)
    assert shuffled.dtype == torch.uint8
    assert shuffled[:, :2].tolist() == [[0, 255], [0, 255]]
    for row in shuffled[:, 2:]:
        assert sorted(row.tolist()) == list(range(1, 11))
    assert not torch.equal(shuffled[0], shuffled[1])
    again = IdShuffle(IdShuffle.draw(11, [[0, 5, 1]]))
    assert torch.equal(again.shuffle(labels[1:]).flatten(1)[0], shuffled[1])
    planes = torch.nn.functional.one_hot(shuffle.shuffle(labels[:, 1:]).long().clamp(max=10), 11)
    restored = shuffle.restore(planes.permute(0, 3, 1, 2))
    assert torch.equal(restored.argmax(dim=1), labels[:, 1:].long())


@pytest.mark.parametrize(
    ("former", "latter", "expected"),
    [
        (1, 1, [[0], [0, 1], [0, 2], [0, 3], [0, 4]]),
        (2, 2, [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 3, 4]]),
    ],
)
def test_the_bank_is_bounded_and_drops_the_oldest_unprotected_frame(
    monkeypatch: pytest.MonkeyPatch, former: int, latter: int, expected: list[list[int]]
) -> None:
    seen: list[list[int]] = []

    class RecordingBank(DifferentiableBank):
        def append(self, entries: Sequence[KeyValue], dropped: int) -> None:
            held = list(seen[-1]) if seen else []
            if len(self) == former + latter:
                del held[dropped]
            super().append(entries, dropped)
            seen.append([*held, len(seen)])  # every frame is appended
            assert len(self) == len(seen[-1])

    monkeypatch.setattr(training, "DifferentiableBank", RecordingBank)
    cfg = config(FORMER_MEM_LEN=former, LATTER_MEM_LEN=latter)
    engine = TrainingEngine(seeded_model(cfg), cfg)
    engine(clips(cfg, 6), commit_predictions=False).loss.backward()
    assert seen == expected  # the last frame is not committed


@pytest.mark.parametrize("freeze_bn", [True, False])
@pytest.mark.parametrize("model_name", ["aot_mini", "deaot_mini"])
def test_recomputed_activations_change_nothing(model_name: str, freeze_bn: bool) -> None:
    results = []
    for recompute in (False, True):
        cfg = config(model_name, MODEL_FREEZE_BN=freeze_bn, TRAIN_CHECKPOINT_ACTIVATIONS=recompute)
        model = seeded_model(cfg).train()
        torch.manual_seed(3)  # for the dropped paths
        output = run(model, cfg, predictions=True)
        output.loss.backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        results.append((output.frame_losses, gradients, dict(model.named_buffers())))
    (losses, gradients, buffers), (losses_again, gradients_again, buffers_again) = results
    torch.testing.assert_close(losses_again, losses)
    torch.testing.assert_close(gradients_again, gradients, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(buffers_again, buffers)


def test_batch_norms_see_all_frames_at_once() -> None:
    cfg = config(MODEL_FREEZE_BN=False, TRAIN_ENCODER_FREEZE_AT=0)
    model = seeded_model(cfg).train()
    run(model, cfg)
    counts = {int(b) for name, b in model.named_buffers() if name.endswith("num_batches_tracked")}
    assert counts == {1}


def test_ids_that_no_object_has_are_never_predicted() -> None:
    cfg = config()
    model = seeded_model(cfg).eval()
    with torch.no_grad():
        bias = model.decoder.conv_out.bias
        assert bias is not None
        bias[4:] += 100.0
        output = run(model, cfg, predictions=True)
    for sample, count in enumerate([2, 3]):
        assert int(output.predictions[:, sample].max()) <= count
    assert output.predictions.shape == (FRAMES, BATCH, SIDE, SIDE)
    assert output.predictions.dtype == torch.uint8


def test_what_is_committed_shows_from_the_frame_after() -> None:
    cfg = config()
    model = seeded_model(cfg).eval()
    with torch.no_grad():
        truth, fed_back = run(model, cfg), run(model, cfg, predictions=True)
    assert torch.equal(truth.frame_losses[:2], fed_back.frame_losses[:2])
    assert not torch.allclose(truth.frame_losses[2:], fed_back.frame_losses[2:])


@pytest.mark.parametrize("freeze", [(), ("patch_wise_id_bank",), ("patch_wise_id_bank.weight",)])
def test_the_identity_bank_learns_from_predictions_unless_frozen(freeze: tuple[str, ...]) -> None:
    cfg = config(TRAIN_SEQ_TRAINING_FREEZE_PARAMS=freeze)
    model = seeded_model(cfg)
    run(model, cfg, predictions=True).loss.backward()
    assert (model.patch_wise_id_bank.weight.grad is None) == bool(freeze)
    model.zero_grad()
    run(model, cfg).loss.backward()
    assert model.patch_wise_id_bank.weight.grad is not None


def test_the_losses_follow_the_schedules_of_the_config() -> None:
    cfg = config(
        TRAIN_TOTAL_STEPS=100,
        TRAIN_HARD_MINING_RATIO=0.6,
        TRAIN_TOP_K_PERCENT_PIXELS=0.5,
        TRAIN_AUX_LOSS_WEIGHT=3.0,
        TRAIN_AUX_LOSS_RATIO=0.4,
    )
    schedule = LossSchedule.at(30, cfg, torch.zeros(2, 10, 20))
    assert schedule.hardest == 150
    assert schedule.auxiliary == pytest.approx(0.75)


def test_mean_object_iou_by_hand() -> None:
    labels = torch.tensor([[[1, 1, 0, 2], [255, 255, 0, 0]]], dtype=torch.uint8)
    predictions = torch.tensor([[[1, 0, 0, 2], [1, 2, 3, 0]]], dtype=torch.uint8)
    # Object 1: 1 of 2 pixels; object 2: all of 1; object 3: predicted at one pixel, but not in the label.
    expected = torch.tensor([(1 / 2 + 1 + 0) / 3])
    torch.testing.assert_close(mean_object_iou(predictions, labels, 10), expected)
    assert mean_object_iou(predictions, torch.full_like(labels, 255), 10).isnan().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_stays_near_float32(dtype: torch.dtype) -> None:
    cfg = config()
    model = seeded_model(cfg).eval()
    expected = run(model, cfg)
    with torch.autocast("cpu", dtype):
        output = run(model, cfg)
    output.loss.backward()
    assert output.frame_losses.dtype == torch.float32
    torch.testing.assert_close(output.frame_losses, expected.frame_losses, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", ["aot_mini", "deaot_mini"])
def test_dropped_paths_add_nothing_and_are_drawn_for_each_sample(name: str) -> None:
    """In training only; DeAOT's three depth-wise convolutions also drop whole channels."""
    cfg = config(name, TRAIN_LSTT_DROPPATH=0.5)
    model = seeded_model(cfg).train()
    channels = [module for module in model.modules() if isinstance(module, nn.Dropout2d)]
    assert [module.p for module in channels] == ([0.1] * 3 if name == "deaot_mini" else [])
    for module in channels:
        module.p = 0.0
    image = torch.randn(1, 3, SIDE, SIDE).expand(16, -1, -1, -1)
    mask = torch.ones(16, SIDE, SIDE, dtype=torch.uint8)

    def different() -> int:
        features = model.encode(image)
        identity = model.embed_identity(mask, reference=True)
        outputs = model.propagate_reference(features, identity).outputs[-1]
        return len({round(float(output.detach().abs().sum()), 1) for output in outputs})

    torch.manual_seed(0)
    assert different() == (2 if name == "deaot_mini" else 4)  # its block can drop one path, the other's two
    model.eval()
    assert different() == 1
