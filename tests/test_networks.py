"""Networks stage by stage against the published implementation, and their names against its checkpoints."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from aot_plus.networks.engines.inference import InferenceEngine, VideoState
from aot_plus.networks.layers.aot_block import AOTBlock
from aot_plus.networks.layers.attention import attention
from aot_plus.networks.layers.basic import Depthwise5x5, GroupNorm
from aot_plus.networks.layers.identity import IdentityBank
from aot_plus.networks.layers.local_attention import MAX_DISTANCE, WINDOW, window_attention
from aot_plus.networks.layers.memory_types import KeyValue, add_embedding
from aot_plus.networks.layers.official_aot_block import ShortTermAttention
from aot_plus.networks.layers.position import sine_position_embedding, temporal_rows
from aot_plus.networks.memory.scores import attention_per_frame
from aot_plus.networks.models import AOT, build_model
from aot_plus.utils.config import get_config, model_names
from aot_plus.utils.images import normalise
from tests.weights_by_name import Undrawn, build_by_name

GOLDEN = Path(__file__).parent / "golden"
KEY_FILES = sorted((GOLDEN / "state_dict_keys").glob("*.json"))
OFFICIAL_KEY_FILES = sorted((GOLDEN / "state_dict_keys" / "official").glob("*.json"))
NETWORKS = sorted((GOLDEN / "network").glob("*.npz"))
TOLERANCE = 1e-4  # relative to the largest value


@pytest.mark.parametrize("path", KEY_FILES, ids=lambda path: path.stem)
def test_names_and_shapes_are_the_published_ones(path: Path) -> None:
    with torch.device("meta"):
        model = build_model(get_config("pre_vost_2", path.stem))
    mine = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert mine == json.loads(path.read_text())


@pytest.mark.parametrize("path", OFFICIAL_KEY_FILES, ids=lambda path: path.stem)
def test_names_and_shapes_are_those_of_the_aot_benchmark(path: Path) -> None:
    """Files of either project then load completely into the other's network."""
    cfg = get_config("default", path.stem, overrides={"USE_TEMPORAL_POSITIONAL_EMBEDDING": False})
    if cfg.MODEL_VOS == "aot":
        cfg.MODEL_VOS = "official_aot"
    with torch.device("meta"):
        model = build_model(cfg)
    mine = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert mine == json.loads(path.read_text())


@pytest.mark.parametrize("name", model_names())
def test_every_model_can_be_built(name: str) -> None:
    with Undrawn():
        assert isinstance(build_model(get_config("mini_vost", name)), AOT)


def _close(mine: Tensor, golden: NDArray[Any]) -> None:
    assert mine.shape == golden.shape
    assert np.abs(mine.numpy() - golden).max() <= TOLERANCE * np.abs(golden).max()


class _Stages:
    """The network and the three frames of a ``network/`` file, with the golden output of every stage."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            self.golden = {name: file[name] for name in file.files}
        self.cfg = get_config("pre_vost_2", path.stem, overrides={"MEM_POLICY": "unbounded"})
        self.model = build_by_name(self.cfg).eval()
        self.masks = torch.from_numpy(self.golden["masks"].astype(np.int32))

    def images(self, frame: int) -> Tensor:
        return torch.from_numpy(normalise(self.golden["frames"][frame]))[None]

    def labels(self, frame: int) -> Tensor:
        return torch.where(self.masks[frame] == 255, -1, self.masks[frame])


@cache
def _stages(path: Path) -> _Stages:
    return _Stages(path)


@pytest.fixture(params=NETWORKS, ids=lambda path: path.stem)
def stages(request: pytest.FixtureRequest) -> _Stages:
    return _stages(request.param)


@torch.inference_mode()
def test_encoder_and_position(stages: _Stages) -> None:
    images = stages.images(0)
    for level, features in enumerate(stages.model.encoder(images)):
        _close(features[0, ::16], stages.golden[f"encoder_{level}_every_16th_channel"])
    encoded = stages.model.encode(images)
    _close(encoded.projected[0], stages.golden["encoder_projected"])
    _close(encoded.position[0].t().unflatten(1, encoded.size), stages.golden["position_embedding"])


@torch.inference_mode()
def test_identity_embedding_with_and_without_ignore_channel(stages: _Stages) -> None:
    mask = stages.masks[:1]
    assert (mask == 255).any()
    for reference, name in ((True, "without"), (False, "with")):
        embedding = stages.model.embed_identity(mask, reference=reference)
        _close(embedding.transpose(0, 1), stages.golden[f"identity_embedding_mask_{name}_ignore_channel"])


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("ignores", [True, False])
@torch.inference_mode()
def test_identities_are_embedded_the_same_in_all_ways(
    overlap: bool, ignores: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    bank = IdentityBank(11, 8, 16, overlap=overlap, ignores=ignores).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 12, (2, 48 + overlap, 64 + overlap), dtype=torch.int)
    labels[labels == 11] = 255
    found = {}
    for way in ("convolution", "sums", "product"):
        monkeypatch.setattr("aot_plus.networks.layers.identity.identity_bank_method", lambda _, way=way: way)
        found[way] = [bank(labels, reference=reference) for reference in (True, False)]
        assert torch.equal(bank(labels.byte(), reference=True), found[way][0])
    assert torch.equal(*found["convolution"]) != ignores
    for way in ("sums", "product"):
        torch.testing.assert_close(found[way], found["convolution"])


@torch.inference_mode()
def test_reference_logits(stages: _Stages) -> None:
    features = stages.model.encode(stages.images(0))
    identity = stages.model.embed_identity(stages.masks[:1], reference=True)
    propagation = stages.model.propagate_reference(features, identity)
    _close(stages.model.decode(features, propagation)[0], stages.golden["logits_frame_0"])


@torch.inference_mode()
def test_groups_are_embedded_and_decoded_like_each_group_alone() -> None:
    model = build_by_name(get_config("mini_vost", "aott")).eval()
    labels = torch.arange(3 * 33 * 49).view(3, 33, 49) % torch.tensor([2, 5, 11])[:, None, None]
    features = model.encode(torch.linspace(-1, 1, 3 * 33 * 49).view(1, 3, 33, 49))
    identity = model.embed_identity(labels, reference=True)
    logits = model.decode(features, model.propagate_reference(features, identity))
    for group in range(3):
        alone = model.embed_identity(labels[group : group + 1], reference=True)
        propagation = model.propagate_reference(features, alone)
        torch.testing.assert_close(identity[group : group + 1], alone)
        torch.testing.assert_close(logits[group : group + 1], model.decode(features, propagation))
    assert not torch.allclose(logits[0], logits[1])


@torch.inference_mode()
def test_different_frames_are_decoded_as_a_batch() -> None:
    model = build_by_name(get_config("mini_vost", "aott")).eval()
    images = torch.linspace(-1, 1, 2 * 3 * 33 * 49).view(2, 3, 33, 49)
    identity = model.embed_identity(torch.ones(2, 33, 49, dtype=torch.int), reference=True)
    together, *alone = (
        model.decode(features, model.propagate_reference(features, own))
        for features, own in (
            (model.encode(images), identity),
            *((model.encode(images[i : i + 1]), identity[i : i + 1]) for i in range(2)),
        )
    )
    torch.testing.assert_close(together, torch.cat(alone))


@torch.inference_mode()
def test_memories_outputs_attention_and_logits_of_later_frames(stages: _Stages) -> None:
    """Frame 1 reads the reference frame and is committed with its mask; frame 2 reads both."""
    engine, state = InferenceEngine(stages.model, stages.cfg), VideoState(10, memory_gap=1)
    engine.start(stages.images(0), stages.labels(0), 10)
    memory = engine.batches[0].memory
    _compare_memory(stages, memory, "after_reference")
    for frame in (1, 2):
        prediction = engine.predict(state, stages.images(frame))
        (propagation,) = prediction.propagations
        if frame == 1:
            for layer, output in enumerate(propagation.outputs):
                _close(output[0], stages.golden[f"transformer_output_frame_1_layer{layer}"])
        queries = add_embedding(propagation.first_keys, stages.model.cur_pos_emb)
        keys = memory.chronological_keys(0)[None]
        attention_map = attention_per_frame(queries, keys, stages.model.attention_heads)[0]
        _close(attention_map, stages.golden[f"attention_per_memory_frame_frame_{frame}"])
        _close(prediction.logits[0], stages.golden[f"logits_frame_{frame}"])
        if frame == 1:
            engine.commit(prediction, stages.labels(1), torch.tensor(1))
            _compare_memory(stages, memory, "after_frame_1")


def _compare_memory(stages: _Stages, memory: Any, when: str) -> None:
    """Compares every 8th channel of every layer's long-term (``T x N x B x D``) and short-term memory."""
    size = stages.model.encode(stages.images(0)).size
    for layer, read in enumerate(memory.read()):
        long = memory.bank.layer(layer)
        for number, tensor in _published_order(stages.model, long):
            golden = stages.golden[f"{when}_layer{layer}_long_{number}"]
            _close(tensor.permute(1, 2, 0, 3)[..., ::8], golden)
        for number, tensor in _published_order(stages.model, read.short):
            golden = stages.golden[f"{when}_layer{layer}_short_{number}"]
            if golden.ndim == 4:  # DeAOT's are maps
                _close(tensor.transpose(1, 2).unflatten(2, size)[:, ::8], golden)
            else:
                _close(tensor.transpose(0, 1)[..., ::8], golden)


def _published_order(model: AOT, entry: KeyValue) -> list[tuple[int, Tensor]]:
    """Returns an entry's tensors with their indices in the published code: K, V, (unused), ID_V."""
    if model.cfg.MODEL_VOS == "aot":
        return [(0, entry.keys), (1, entry.values)]
    visual, identity = entry.values.chunk(2, dim=-1)
    return [(0, entry.keys), (1, visual), (3, identity)]


def test_attention_with_wide_values_equals_the_plain_formula() -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(2, 50, 8), torch.randn(2, 70, 8), torch.randn(2, 70, 24)
    expected = torch.softmax(queries @ keys.transpose(1, 2) / 8**0.5, dim=2) @ values
    torch.testing.assert_close(attention(queries, keys, values, num_heads=1), expected)


@pytest.mark.parametrize("by_products", [True, False])
@torch.inference_mode()
def test_attention_in_bfloat16_is_that_of_float32_rounded(
    monkeypatch: pytest.MonkeyPatch, by_products: bool
) -> None:
    monkeypatch.setattr("aot_plus.networks.layers.attention.uses_matmul_attention", lambda q, v: by_products)
    monkeypatch.setattr(
        "aot_plus.networks.layers.attention.WEIGHTS_AT_A_TIME", {"cpu": 70 * 20}
    )  # 20 queries at a time
    torch.manual_seed(0)
    tensors = [torch.randn(2, length, 32).bfloat16() for length in (50, 70, 70)]
    expected = attention(*(tensor.float() for tensor in tensors), num_heads=4)
    found = attention(*tensors, num_heads=4)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("count", [70, 5])
@torch.inference_mode()
def test_attention_with_separate_last_keys_is_the_same(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(2, 50, 8), torch.randn(2, count, 8), torch.randn(2, count, 24)
    expected = attention(queries, keys, values, num_heads=1)
    aligned = count - count % 8
    monkeypatch.setattr("aot_plus.networks.layers.attention.num_aligned_keys", lambda k: aligned)
    torch.testing.assert_close(attention(queries, keys, values, num_heads=1), expected)


@torch.inference_mode()
def test_compiled_attention_writes_no_product_into_a_part_of_a_tensor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Any:
        graphs.append(graph)
        return graph.forward

    tensors = torch.randn(1, 6, 8), torch.randn(1, 21, 8), torch.randn(1, 21, 24)
    expected = attention(*tensors, num_heads=1)
    monkeypatch.setattr("aot_plus.networks.layers.attention.num_aligned_keys", lambda k: 16)
    compiled = torch.compile(lambda *own: attention(*own, num_heads=1) + 1, backend=backend)
    torch.testing.assert_close(compiled(*tensors), expected + 1)
    assert graphs
    assert not any("out" in node.kwargs for graph in graphs for node in graph.graph.nodes)


@pytest.mark.parametrize("shape", [(2, 12, 5, 7), (1, 12, 35)])
@torch.inference_mode()
def test_a_decomposed_group_norm_equals_pytorchs(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    norm, x = GroupNorm(3, 12), 2 + torch.randn(shape).transpose(1, -1).contiguous().transpose(1, -1)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    expected = norm(x)
    monkeypatch.setattr("aot_plus.networks.layers.basic.decomposes_group_norm", lambda x, groups: True)
    found = norm(x)
    torch.testing.assert_close(found, expected)
    assert found.stride() == x.stride()
    half = norm.half()(x.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), expected, atol=0.02, rtol=0.01)


def test_an_embedding_does_not_change_the_type_of_tokens() -> None:
    tokens, embedding = torch.randn(2, 3, 4).bfloat16(), torch.randn(1, 4)
    assert torch.equal(add_embedding(tokens, embedding), (tokens.float() + embedding).bfloat16())
    assert add_embedding(tokens, None) is tokens


def test_a_position_embedding_is_made_once_and_serves_training_too() -> None:
    with torch.inference_mode():
        made = sine_position_embedding(3, 5, 8, torch.device("cpu"))
    assert sine_position_embedding(3, 5, 8, torch.device("cpu")) is made
    (made * torch.ones(1, requires_grad=True)).sum().backward()  # fails for inference tensors


@pytest.mark.parametrize(
    ("size", "at_once"),  # small maps are not cut into tiles; a GPU processes all tiles at once
    [((5, 9), False), ((8, 8), False), ((18, 33), False), ((18, 33), True)],
)
def test_window_attention_equals_a_loop_over_queries(
    size: tuple[int, int], at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if at_once:
        tiles = "aot_plus.networks.layers.local_attention.tiles_at_a_time"
        monkeypatch.setattr(tiles, lambda rows, columns, device: (rows, columns))
    torch.manual_seed(0)
    height, width = size
    queries, keys = torch.randn(2, 4, height, width), torch.randn(2, 4, height, width)
    values, offsets = torch.randn(2, 6, height, width), torch.randn(2, WINDOW**2, height, width)
    by_offset = torch.randn(2, WINDOW**2, 6)
    found = window_attention(queries, keys, values, offsets)
    located = window_attention(queries, keys, values, offsets, by_offset)
    assert found.shape == located.shape == values.shape
    for y in range(height):
        for x in range(width):
            seen = [
                (i, j, (i - y + MAX_DISTANCE) * WINDOW + j - x + MAX_DISTANCE)
                for i in range(max(0, y - MAX_DISTANCE), min(height, y + MAX_DISTANCE + 1))
                for j in range(max(0, x - MAX_DISTANCE), min(width, x + MAX_DISTANCE + 1))
            ]
            i, j, offset = torch.tensor(seen).T
            logits = (queries[:, :, y, x, None] * keys[:, :, i, j]).sum(1) + offsets[:, offset, y, x]
            weights = torch.softmax(logits, dim=1)  # 2 x keys
            expected = (weights[:, None] * values[:, :, i, j]).sum(2)
            torch.testing.assert_close(found[:, :, y, x], expected)
            expected = expected + (weights[:, :, None] * by_offset[:, offset]).sum(1)
            torch.testing.assert_close(located[:, :, y, x], expected)


@torch.inference_mode()
def test_groups_attend_to_their_windows_like_each_group_alone() -> None:
    torch.manual_seed(0)
    block = ShortTermAttention(32, 4)
    nn.init.normal_(block.relative_emb_v)
    queries, keys, values = torch.randn(3, 2, 20, 32)
    together = block(queries, KeyValue(keys, values), (4, 5))
    for group in (slice(0, 1), slice(1, 2)):
        alone = block(queries[group], KeyValue(keys[group], values[group]), (4, 5))
        torch.testing.assert_close(together[group], alone)


def test_windowed_attention_of_a_large_map_makes_no_map_of_all_pairs() -> None:
    """At 481 x 849, each head's map would be 1,647 x 1,647; a tile's region of keys is 22 x 22."""
    block = ShortTermAttention(32, 4).requires_grad_(False)
    sizes: list[int] = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            sizes.extend(
                x.numel() for x in (out if isinstance(out, tuple | list) else (out,)) if isinstance(x, Tensor)
            )
            return out

    tokens = torch.randn(1, 31 * 54, 32)
    with Sizes():
        block(tokens, KeyValue(tokens, tokens), (31, 54))
    assert max(sizes) < 31 * 54 * 31 * 54


@torch.inference_mode()
def test_short_term_attention_of_earlier_stages_reads_the_last_frame_and_this_one() -> None:
    """If the keys of both frames are the same, it reads the mean of their values."""
    torch.manual_seed(0)
    block = AOTBlock(32, 4, 4, 0.0, linear_q=True)
    keys, visual, values = torch.randn(3, 2, 12, 32)
    read = block._read_short(keys, visual, KeyValue(keys, values), (3, 4))
    torch.testing.assert_close(read, block.short_term_attn(keys, keys, (visual + values) / 2))


def test_temporal_rows_by_hand() -> None:
    table = torch.arange(4.0)[:, None]
    assert temporal_rows(table, 1)[:, 0].tolist() == [0]
    assert temporal_rows(table, 4)[:, 0].tolist() == [0, 1, 2, 3]
    # S - 1 - floor((T - 1 - rank) * S / T)
    assert temporal_rows(table, 6)[:, 0].tolist() == [0, 1, 1, 2, 3, 3]
    assert temporal_rows(table, 9)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    two = torch.tensor([[0.0], [3.0]])
    assert temporal_rows(two, 1)[:, 0].tolist() == [0]
    assert temporal_rows(two, 3)[:, 0].tolist() == [0, 1.5, 3]
    assert temporal_rows(two, 8)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_depthwise_training_under_autocast_is_float32_inside() -> None:
    torch.manual_seed(0)
    conv = Depthwise5x5(4)
    image = torch.randn(2, 4, 6, 7, dtype=torch.bfloat16)
    expected = conv(image.float())
    expected.sum().backward()
    gradient, conv.weight.grad = conv.weight.grad, None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = conv(image)
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, expected.bfloat16())
    torch.testing.assert_close(conv.weight.grad, gradient)
