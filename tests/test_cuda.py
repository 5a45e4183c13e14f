"""All tests that need a GPU; ``./run_tests.sh -m cuda`` runs only these."""

import copy
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from aot_plus.dataloaders.train_datasets import build_train_loader
from aot_plus.networks.encoders import build_encoder
from aot_plus.networks.engines import step_store
from aot_plus.networks.engines.device_images import prepare_on_device
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.layers.attention import attention
from aot_plus.networks.layers.basic import GroupNorm
from aot_plus.networks.layers.identity import IdentityBank
from aot_plus.networks.layers.processor import decomposes_group_norm, identity_bank_method
from aot_plus.networks.managers.learner import Learner, StepResult
from aot_plus.networks.managers.processes import ProcessPlace
from aot_plus.networks.managers.summary import EvaluationSummary
from aot_plus.networks.managers.train_checkpoint import load_latest_checkpoint, saved_steps
from aot_plus.networks.managers.trainer import Trainer
from aot_plus.networks.models import AOT, Features, Propagation, build_model
from aot_plus.networks.models.number_format import as_number_format
from aot_plus.networks.models.prepare import prepare_for_inference
from aot_plus.pipeline.launch import launch
from aot_plus.utils.config import get_config
from aot_plus.utils.device import tf32
from benchmarks import inference
from tests.test_fixed_step import CASES
from tests.test_inference_memory import NAMES, _pixels, _start, _step
from tests.test_inference_memory import _video as _video_in_one_view
from tests.test_segmenter import _model, _run, _segmenter, _squares, _video
from tests.test_shared_training import assert_learned_as_one, learn, learn_on_gpus
from tests.tiny_training import TINY, tiny_config
from tests.train_videos import write_dataset

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SAME = 0.999  # fraction of equal labels: different kernels round differently


@cache
def _cuda_model(name: str, dtype: str = "float32") -> AOT:
    return as_number_format(copy.deepcopy(_model(name)), dtype).to("cuda")


def _on_cuda(name: str = "aott", **values: Any) -> VideoSegmenter:
    """Returns a segmenter on CUDA with the given config values."""
    model = _cuda_model(name, values.get("TEST_DTYPE", "float32"))
    cfg = copy.copy(model.cfg)
    for key, value in {"LATTER_MEM_LEN": 2, **values}.items():
        setattr(cfg, key, value)
    return VideoSegmenter(model, cfg)


@contextmanager
def _nobody_waits() -> Iterator[None]:
    """Makes waiting for the GPU an error."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _agreement(mine: Any, others: Any) -> float:
    return float(np.mean([(a == b).mean() for a, b in zip(mine, others, strict=True)]))


@pytest.mark.parametrize("case", CASES)
def test_graphs_give_the_same_as_eager_execution(case: str) -> None:
    run, values = CASES[case]
    recorded, plain = (_on_cuda(**values, TEST_CUDA_GRAPH=graphs) for graphs in (True, False))
    assert _agreement(run(recorded), run(plain)) > SAME
    assert recorded.banks == plain.banks
    probabilities, expected = recorded.probabilities().values, plain.probabilities().values
    np.testing.assert_allclose(probabilities, expected, atol=1e-2)
    if case != "masks and removals":  # there, the second group ended the fixed step
        assert recorded._steps.current is not None
        assert recorded._steps.current.graphs._recordings
        assert not recorded._steps.current.graphs.stopped


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["aott", "deaott"])
def test_graphs_in_other_number_formats(name: str, dtype: str) -> None:
    run, _ = CASES["AOT, two groups"]
    values = {"name": name, "TEST_DTYPE": dtype}
    recorded, plain = (_on_cuda(**values, TEST_CUDA_GRAPH=graphs) for graphs in (True, False))
    assert _agreement(run(recorded), run(plain)) > SAME
    assert _agreement(run(recorded), run(_on_cuda(name))) > 0.9


def test_videos_of_changing_sizes_use_the_same_graphs() -> None:
    recorded, plain = _on_cuda(), _on_cuda(TEST_CUDA_GRAPH=False)
    sizes = [70, 50, 70, 50]
    videos = [[image[:size] for image in _video(60 + size, frames=9)] for size in sizes]
    for video in videos:
        mask = _squares([1, 2])[: len(video[0])]
        assert _agreement(_run(recorded, video, mask, 2), _run(plain, video, mask, 2)) > SAME
    assert len(recorded._steps._waiting) == 1  # the step of the other size


@pytest.mark.parametrize("gap", [1, 2])
@pytest.mark.parametrize("policy", ["emfs", "rmem", "fifo"])
def test_the_host_waits_for_no_frame_and_no_decision(policy: str, gap: int) -> None:
    """This holds once the bank is full and everything has been recorded."""
    video, segmenter = _video(21, frames=20), _on_cuda(MEM_POLICY=policy)
    frames = [segmenter.prepare(image) for image in video]
    assert all(one.is_pinned() for frame in frames for one in frame.inputs)
    segmenter.start(frames[0], _squares([1, 2]), memory_gap=gap)
    for frame in frames[1:13]:
        segmenter.submit(frame)
    with _nobody_waits():
        submitted = [segmenter.submit(frame) for frame in frames[13:]]
    assert submitted[-1].array().shape == video[0].shape[:2]
    assert segmenter.banks[0][-1] >= 18


def test_other_threads_may_use_the_gpu_while_a_graph_is_recorded() -> None:
    from concurrent.futures import ThreadPoolExecutor

    segmenter, video = _on_cuda(), _video(22, frames=12)
    plain = _run(_on_cuda(TEST_CUDA_GRAPH=False), video, _squares([1, 2]))
    with ThreadPoolExecutor(4) as threads:  # these keep pinning memory
        busy = [threads.submit(segmenter.prepare, image) for image in video * 40]
        found = _run(segmenter, video, _squares([1, 2]))
        assert all(one.result().size == video[0].shape[:2] for one in busy)
    assert segmenter._steps.current is not None
    assert not segmenter._steps.current.graphs.stopped
    assert _agreement(found, plain) > SAME


def test_freeing_an_unused_graph_does_not_break_a_capture() -> None:
    """Python's garbage collector may free it at any moment, even during a capture."""
    video, mask, before = _video(23, frames=8), _squares([1, 2]), gc.get_threshold()
    for _ in range(2):
        segmenter = _on_cuda()
        segmenter.itself = segmenter  # type: ignore[attr-defined]  # a cycle
        gc.set_threshold(1)
        try:
            _run(segmenter, video, mask)
        finally:
            gc.set_threshold(*before)
        assert segmenter._steps.current is not None
        assert not segmenter._steps.current.graphs.stopped


def test_graphs_take_bounded_memory() -> None:
    segmenter = _on_cuda()
    for size in (70, 60, 50):
        _run(segmenter, [image[:size] for image in _video(size, frames=8)], _squares([1])[:size])
    before = torch.cuda.memory_reserved()
    for size in (70, 60, 50):
        _run(segmenter, [image[:size] for image in _video(size, frames=8)], _squares([1])[:size])
    assert torch.cuda.memory_reserved() <= before + 32 * 2**20


def test_recordings_of_a_bank_that_fills_share_their_memory() -> None:
    """The weights of DeAOT's attention alone are 6 MB for each stored frame."""
    segmenter = _on_cuda("deaott", TEST_DTYPE="float16", LATTER_MEM_LEN=8)
    images = np.random.default_rng(26).integers(0, 256, (9, 481, 849, 3), np.uint8)
    segmenter.start(images[0], (images[0, :, :, 0] > 127).astype(np.uint8), memory_gap=1)
    list(map(segmenter.step, images[1:3]))  # the second is recorded, reading a full bank
    assert segmenter._steps.current is not None
    graphs = segmenter._steps.current.graphs
    before, bytes_before = len(graphs._recordings), graphs.num_bytes
    list(map(segmenter.step, images[3:]))
    assert len(graphs._recordings) == before + 6
    assert graphs.num_bytes <= bytes_before + 32 * 2**20


def test_graphs_still_work_after_others_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With any graph of a stream, PyTorch frees the workspaces of the stream's matrix products."""
    recorded, plain = _on_cuda(), _on_cuda(TEST_CUDA_GRAPH=False)
    mask, video = _squares([1, 2]), _video(24, frames=20)
    _run(recorded, [image[:50] for image in _video(25, frames=9)], mask[:50], 2)
    assert recorded._steps.current is not None
    recorded.start(video[0], mask, memory_gap=2)
    found = [recorded.step(image) for image in video[1:12]]
    assert recorded._steps.current is not None
    monkeypatch.setattr(step_store, "GRAPH_BYTES", recorded._steps.current.graphs.num_bytes)
    recorded._steps._has_room()
    assert not recorded._steps._waiting
    torch.empty(2**28, dtype=torch.uint8, device="cuda").fill_(255)  # overwrites the freed memory
    found += [recorded.step(image) for image in video[12:]]
    assert _agreement(found, _run(plain, video, mask, 2)[1:]) > SAME


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("encoder", ["resnet18", "resnet50"])
@torch.inference_mode()
def test_convolutions_fused_with_their_activations(encoder: str, dtype: str) -> None:
    torch.manual_seed(0)
    model = prepare_for_inference(build_encoder(encoder, freeze_bn=True))
    image = torch.randn(1, 3, 97, 129)
    expected = model(image)
    target = getattr(torch, dtype)
    with tf32(allowed=False):
        found = model.to("cuda", target)(image.to("cuda", target))
    bound = {"float32": 1e-4, "float16": 2e-2}[dtype]
    for mine, other in zip(found, expected, strict=True):
        assert (mine.cpu().float() - other).abs().max() < bound * other.abs().max()


@pytest.mark.parametrize("shape", [(1, 128, 121, 213), (3, 128, 31, 54)])
@torch.inference_mode()
def test_a_group_norm_equals_that_of_the_cpu(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = GroupNorm(8, 128)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = (2 + torch.randn(shape)).to(memory_format=torch.channels_last)
    assert decomposes_group_norm(x.cuda(), 8)
    expected = norm(x)
    torch.testing.assert_close(norm.cuda()(x.cuda()).cpu(), expected, atol=1e-5, rtol=1e-5)
    found = norm.half()(x.cuda().half())
    torch.testing.assert_close(found.cpu().float(), expected, atol=0.02, rtol=0.01)


@torch.inference_mode()
def test_an_identity_embedding_by_a_product_equals_the_cpus_convolution() -> None:
    torch.manual_seed(0)
    bank = IdentityBank(11, 256, 16, overlap=True, ignores=True)
    labels = torch.randint(0, 12, (3, 97, 129), dtype=torch.int)
    labels[labels == 11] = 255
    expected = bank(labels, reference=False)
    bank.to("cuda", torch.float16, memory_format=torch.channels_last)
    assert identity_bank_method(bank.weight) == "product"
    found = bank(labels.cuda(), reference=False)
    torch.testing.assert_close(found.cpu().float(), expected, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("keys", [1674, 15066, 64, 13, 9, 5])  # with few keys, the last ones weigh more
@torch.inference_mode()
def test_attention_with_wide_values_equals_that_of_float32(keys: int) -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(1, count, width).cuda() for count, width in ((50, 128), (keys, 128), (keys, 1024))]
    expected = attention(*tensors, num_heads=1)
    found = attention(*(tensor.half() for tensor in tensors), num_heads=1)
    torch.testing.assert_close(found.float(), expected, atol=5e-3, rtol=1e-2)


def test_the_benchmark_times_attentions_in_all_ways(capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--scenario attention --model aot_mini --dtype float16 --device cuda"
    assert inference.main((flags + " --size 97x129 --frames 2").split()) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    ways = {"chosen", "efficient", "products, 8 Mi"}  # not every card supports the other kernels
    assert all(ways <= set(of) for of in figures.values())
    assert len(figures) == 2


@pytest.mark.parametrize("name", ["aott", "deaott"])
def test_labels_equal_those_of_the_cpu(name: str) -> None:
    video, mask = _video(18), _squares([1, 2], side=30)
    assert (
        _agreement(_run(_segmenter(name), video, mask), _run(_on_cuda(name, LATTER_MEM_LEN=3), video, mask))
        > 0.99
    )


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_an_engine_keeps_its_memory_on_the_device(name: str) -> None:
    found = {}
    for device in ("cpu", "cuda"):
        video = _start(_video_in_one_view(name, device))
        found[device] = [_step(video, _pixels(frame)).cpu() for frame in range(1, 8)]
    agreement = [(a == b).float().mean() for a, b in zip(found["cpu"], found["cuda"], strict=True)]
    assert min(agreement) > 0.99
    memory = video.batches[0].memory
    tensors = [tensor for layer in memory.read() for pair in layer for tensor in pair]
    assert all(tensor.is_cuda for tensor in [*tensors, *memory.bank.layer(0)])


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_eager_execution_does_not_wait_either(name: str) -> None:
    video = _start(_video_in_one_view(name, "cuda"), memory_gap=2)
    frames = [[own.to("cuda") for own in _pixels(frame)] for frame in range(1, 10)]
    for pixels in frames[:7]:  # these compute and copy the tables
        _step(video, pixels)
    assert video.batches[0].memory.bank.is_full
    with _nobody_waits():
        for pixels in frames[7:]:
            _step(video, pixels)
    assert video.views[0].engine.banks[0][-1] == 8


def test_a_training_step_equals_that_of_the_cpu(tmp_path: Path) -> None:
    """AdamW is fused, and stays so after loading a checkpoint from a CPU."""
    dataset = tmp_path / "VOST"
    write_dataset(dataset)
    cfg = tiny_config(dataset)
    batch = next(iter(build_train_loader(cfg)))
    losses = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        learner = Learner(build_model(cfg), cfg, device=torch.device(device), place=ProcessPlace())
        losses[device] = [learner.train_step(batch, step).loss for step in range(3)]
        if device == "cpu":
            state = learner.state()
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=1e-2)
    learner.load_state(state)
    assert all(group["fused"] for group in learner.optimizer.param_groups)
    assert np.isfinite(learner.train_step(batch, 3).loss)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("graphs", [False, True])
def test_a_training_step_waits_only_to_read_its_results(dtype: str, graphs: bool, tmp_path: Path) -> None:
    """It waits for an event, which PyTorch does not count as an error."""
    write_dataset(tmp_path / "VOST")
    cfg = tiny_config(
        tmp_path / "VOST",
        TRAIN_DEVICE="cuda",
        TRAIN_DTYPE=dtype,
        TRAIN_CUDA_GRAPH=graphs,
        TRAIN_ID_SHUFFLE=True,
    )
    learner = Learner(build_model(cfg), cfg, device=torch.device("cuda"), place=ProcessPlace())
    batches = list(build_train_loader(cfg))
    for step, batch in enumerate(batches[:5]):
        learner.train_step(batch, step)
    with _nobody_waits():
        assert np.isfinite(learner.train_step(batches[5], 5).loss)


def _six_steps(dataset: Path, model: str, **values: Any) -> tuple[list[StepResult], int]:
    """Runs three steps that commit ground truth and three that commit predictions, each in two parts.

    Returns the results and the number of recordings.
    """
    same = {"DATASETS": (str(dataset),), "TRAIN_DEVICE": "cuda", "TRAIN_ACCUMULATION_STEPS": 2}
    cfg = get_config("mini_vost", model, overrides={**TINY, **same, **values})
    torch.manual_seed(0)
    learner = Learner(build_model(cfg), cfg, device=torch.device("cuda"), place=ProcessPlace())
    results = [learner.train_step(batch, step) for step, batch in enumerate(build_train_loader(cfg))]
    return results, 0 if learner._fixed is None else len(learner._fixed._graphs._recordings)


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        ("aot_mini", "float32"),
        ("aot_mini", "float16"),
        ("aot_mini", "bfloat16"),
        ("deaot_mini", "float16"),
        ("aott", "bfloat16"),
    ],
)
def test_a_recorded_training_learns_the_same(
    model: str, dtype: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_dataset(tmp_path / "VOST")
    values = {"TRAIN_DTYPE": dtype, "TRAIN_LSTT_DROPPATH": 0.0, "TRAIN_CLIP_GRAD_NORM": 1.0}
    (plain, none), (recorded, both) = (
        _six_steps(tmp_path / "VOST", model, **values, TRAIN_CUDA_GRAPH=graphs) for graphs in (False, True)
    )
    assert (none, both) == (0, 2)
    assert not caplog.records
    assert [result.sequential for result in recorded] == [False] * 3 + [True] * 3
    for one, other in zip(recorded, plain, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=2e-2)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=2e-1)


def test_a_recorded_training_in_two_processes(tmp_path: Path) -> None:
    write_dataset(tmp_path / "VOST", sequences=2)
    found, recordings = launch(learn_on_gpus, tmp_path / "VOST", {}, processes=2)
    assert recordings == [2, 2]
    assert_learned_as_one(found, tmp_path / "VOST", rel=2e-3)


def test_synchronised_batch_norms_learn_as_one_process_from_the_whole_batch(tmp_path: Path) -> None:
    """They wait for the other process, so no step is recorded."""
    write_dataset(tmp_path / "VOST", sequences=2)
    values = {"TRAIN_SYNC_BN": True, "MODEL_FREEZE_BN": False}
    found, recordings = launch(learn_on_gpus, tmp_path / "VOST", values, processes=2)
    assert recordings == [0, 0]
    first, second = found
    assert all(torch.equal(weight, second.weights[name]) for name, weight in first.weights.items())
    _, alone = learn(tmp_path / "VOST", "cuda", TRAIN_DEVICE="cuda", TRAIN_CUDA_GRAPH=False, **values)
    assert first.losses == pytest.approx(alone.losses, rel=1e-2)


def test_a_training_resumes_with_the_random_numbers_and_the_loss_scale_of_the_gpu(tmp_path: Path) -> None:
    write_dataset(tmp_path / "VOST")
    device = torch.device("cuda", 0)
    cfg = tiny_config(tmp_path / "VOST", TRAIN_DEVICE="cuda", TRAIN_DTYPE="float16", TRAIN_LSTT_DROPPATH=0.5)
    cfg.TRAIN_TOTAL_STEPS = 2
    Trainer(cfg, tmp_path / "run").run()
    following = torch.rand(3, device=device)  # the last step's checkpoint holds the state before these
    checkpoint = load_latest_checkpoint(tmp_path / "run")
    assert checkpoint is not None
    assert checkpoint.scaler != torch.amp.GradScaler("cuda").state_dict()
    cfg.TRAIN_TOTAL_STEPS = 4
    resumed = Trainer(cfg, tmp_path / "run", resume=True)
    learner = resumed._build_learner(checkpoint)
    assert learner.scaler.state_dict() == checkpoint.scaler
    resumed._seed(2, checkpoint)
    assert torch.equal(torch.rand(3, device=device), following)
    resumed.run()
    assert saved_steps(tmp_path / "run")[-1] == 4


def test_the_peak_of_the_memory_in_use_is_measured() -> None:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() / 2**20
    torch.empty(64 * 2**20, dtype=torch.uint8, device="cuda")  # freed at once
    summary = EvaluationSummary()
    summary.measure_memory(torch.device("cuda"))
    assert summary.peak_cuda_memory == pytest.approx(before + 64, abs=1)


def test_a_training_that_cannot_be_recorded_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """CUDA aborts the capture. Later steps draw random numbers, which PyTorch does not expect after that."""
    write_dataset(tmp_path / "VOST")
    decode = AOT.decode

    def asks(self: AOT, features: Features, propagation: Propagation) -> torch.Tensor:
        assert features.projected.abs().max().item() > 0
        return decode(self, features, propagation)

    monkeypatch.setattr(AOT, "decode", asks)
    results, recordings = _six_steps(tmp_path / "VOST", "aot_mini", TRAIN_LSTT_DROPPATH=0.5)
    assert recordings == 0
    assert all(result.updated for result in results)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_recorded_training_redraws_the_dropped_paths(tmp_path: Path) -> None:
    dataset = tmp_path / "VOST"
    write_dataset(dataset)
    cfg = tiny_config(dataset, TRAIN_LSTT_DROPPATH=0.5, TRAIN_LR=0.0, TRAIN_LR_MIN=0.0, MODEL_FREEZE_BN=True)
    torch.manual_seed(0)
    learner = Learner(build_model(cfg), cfg, device=torch.device("cuda"), place=ProcessPlace())
    batch = next(iter(build_train_loader(cfg)))
    assert len({learner.train_step(batch, 0).loss for _ in range(8)}) > 3


def test_jpeg_decoded_on_the_gpu_is_near_pillows(tmp_path: Path) -> None:
    path = tmp_path / "frame.jpg"
    across, down = np.meshgrid(np.arange(90), np.arange(70))
    smooth = np.stack([2 * across, 3 * down, 255 - across - down], axis=2).astype(np.uint8)
    PIL.Image.fromarray(smooth).save(path, quality=95)
    frame = prepare_on_device(path, torch.device("cuda"), lambda pixels: [(70, 90)])
    assert frame is not None
    (pixels,) = frame.inputs
    assert pixels.is_cuda
    expected = np.asarray(PIL.Image.open(path).convert("RGB"), np.float32)
    assert np.abs(pixels.cpu().numpy() - expected).mean() < 1


def test_jpeg_is_not_decoded_into_a_frame_that_is_still_to_be_read(tmp_path: Path) -> None:
    """The host runs ahead of the GPU, and releases a frame as soon as the GPU's read of it is queued."""
    segmenter, paths = _on_cuda(TEST_GPU_IMAGES=True), []
    for value in (40, 200):
        paths.append(tmp_path / f"{value}.jpg")
        PIL.Image.fromarray(np.full((65, 81, 3), value, np.uint8)).save(paths[-1])
    (pixels,) = segmenter._prepared(segmenter.prepare(paths[0])).inputs
    torch.cuda._sleep(10**8)
    read = pixels.float()
    del pixels
    later = segmenter.prepare(paths[1])
    assert read.mean().item() == pytest.approx(40, abs=2)
    assert later.inputs[0].float().mean().item() == pytest.approx(200, abs=2)
