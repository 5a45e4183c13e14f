"""The policies drop the right frame: small cases computed by hand, and published runs."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from aot_plus.networks.memory.policies import (
    POLICIES,
    Append,
    EmfsPolicy,
    FifoPolicy,
    MemoryPolicy,
    ReadStatistics,
    RunningRelevance,
    build_policy,
    is_replayable,
)
from aot_plus.utils.errors import ConfigError
from tests.replay_decisions import QUANTITIES, main, replay_decisions

GOLDEN = Path(__file__).parent / "golden"
DECISIONS = GOLDEN / "emfs_decisions.npz"


def config(MEM_POLICY: str, **values: Any) -> Any:
    """Returns the settings that policies read: AOT+'s preset, changed by ``values``."""
    defaults = {
        "FORMER_MEM_LEN": 1,
        "MEM_RELEVANCE_KEEP": 0.2,
        "MEM_AVERAGES_START": "overflow",
        "MEM_EMFS_WEIGHT": 4.0,
        "MEM_EMFS_SLOPE": 10.0,
        "MEM_EMFS_MIDPOINT": 0.4,
        "MEM_RMEM_EXPLORATION": 1.5,
        "MEM_RMEM_OFFSET": 8.0,
        "MEM_RANDOM_SEED": 0,
        "MEM_WRITE_GATE": 0.0,
        "MEM_SPREAD_KEEP": 0.8,
        "MEM_SPREAD_POWER": 0.5,
        "MEM_READMEM_FLOOR": 0.5,
    }
    return SimpleNamespace(**{**defaults, "MEM_POLICY": MEM_POLICY, **values})


def never_read() -> ReadStatistics:
    """Stands in for statistics that must not be computed."""
    raise AssertionError("the statistics were computed although they are not needed")


def reading(relevance: list[float], keys: torch.Tensor | None = None) -> Callable[[], ReadStatistics]:
    """Returns statistics of a single foreground token, whose attention is the relevance; keys T x N x D."""
    repeated = torch.ones(len(relevance), 1, 1) if keys is None else keys
    statistics = ReadStatistics(torch.tensor([relevance]), repeated, torch.ones(1))
    return lambda: statistics


def append_of(
    frames: list[int],
    new_frame: int,
    read: Callable[[], ReadStatistics] = never_read,
    *,
    droppable: list[int] | None = None,
    overflows: bool = True,
) -> Append:
    """Returns an append for which all entries but the first may be dropped by default."""
    allowed = range(1, len(frames)) if droppable is None else droppable
    may_drop = torch.tensor([position in allowed for position in range(len(frames))])
    return Append(torch.tensor(frames), torch.tensor(new_frame), may_drop, overflows, read)


def decide(policy: MemoryPolicy, append: Append) -> int:
    """Calls the policy as an overflowing memory does: to observe, then to drop."""
    policy.observe(append)
    return policy.drop(append)


def test_statistics_are_computed_once_and_only_on_demand() -> None:
    calls = []

    def read() -> ReadStatistics:
        calls.append(1)
        return reading([0.5, 0.5])()

    append = append_of([0, 5], 10, read)
    assert not calls
    assert append.statistics() is append.statistics()
    assert len(calls) == 1


def test_every_name_builds_its_own_fresh_policy() -> None:
    assert sorted(POLICIES) == [
        *("emfs", "fifo", "lfu", "random", "readmem", "rmem", "spread", "unbounded", "uniform")
    ]
    for name, policy_class in POLICIES.items():
        cfg = config(name)
        assert type(build_policy(cfg)) is policy_class
        assert build_policy(cfg) is not build_policy(cfg)
        assert build_policy(cfg).bounded == (name != "unbounded")
        assert (build_policy(cfg).averages, build_policy(cfg).explain()) == ({}, {})


def test_unbounded_drops_nothing() -> None:
    policy = build_policy(config("unbounded"))
    policy.observe(append_of([0, 5], 10, overflows=False))
    with pytest.raises(RuntimeError, match="unbounded"):
        policy.drop(append_of([0, 5], 10))


@pytest.mark.parametrize(
    ("former", "droppable", "dropped"),
    [(1, [1, 2, 3], 1), (2, [1, 2, 3], 2), (1, [2, 3], 2), (2, [1, 3], 3), (3, [1, 2], 2)],
)
def test_fifo(former: int, droppable: list[int], dropped: int) -> None:
    policy = build_policy(config("fifo", FORMER_MEM_LEN=former))
    assert decide(policy, append_of([0, 5, 10, 15], 20, droppable=droppable)) == dropped


@pytest.mark.parametrize(
    ("frames", "new_frame", "droppable", "dropped"),
    [
        ([0, 10, 12, 30], 60, [1, 2, 3], 1),  # gaps 12, 20, 48
        ([0, 30, 50, 52], 60, [1, 2, 3], 3),  # gaps 50, 22, 10 (to the new frame)
        ([0, 5, 10, 15], 20, [1, 2, 3], 1),  # all gaps 10: the first
        ([0, 5, 10, 15], 20, [2, 3], 2),  # all gaps 10, the first is protected
        ([0, 10, 12, 30], 60, [2, 3], 2),  # the closest is protected
    ],
)
def test_uniform(frames: list[int], new_frame: int, droppable: list[int], dropped: int) -> None:
    policy = build_policy(config("uniform"))
    assert decide(policy, append_of(frames, new_frame, droppable=droppable)) == dropped


def random_drops(seed: int, count: int) -> list[int]:
    """Returns a video's first drops under the random policy, with three of five entries droppable."""
    policy = build_policy(config("random", MEM_RANDOM_SEED=seed))
    return [decide(policy, append_of([0, 5, 10, 15, 20], 25, droppable=[1, 3, 4])) for _ in range(count)]


def test_random_is_uniform_among_droppable_and_starts_every_video_alike() -> None:
    drops = random_drops(seed=3, count=3000)
    assert random_drops(seed=3, count=3000) == drops
    assert random_drops(seed=4, count=3000) != drops
    counts = Counter(drops)
    assert sorted(counts) == [1, 3, 4]
    assert all(900 < count < 1100 for count in counts.values())


def test_running_relevance_averages_and_forgets() -> None:
    running = RunningRelevance(keep=0.2)
    assert running.as_dict() == {}
    running.update([0, 5, 10], torch.tensor([0.5, 0.3, 0.2]))
    assert running.as_dict() == pytest.approx({0: 0.5, 5: 0.3, 10: 0.2})
    running.update([0, 10, 15], torch.tensor([0.4, 0.4, 0.2]))  # 5 was dropped, 15 is new
    assert running.as_dict() == pytest.approx({0: 0.42, 10: 0.36, 15: 0.2})
    running.update([0, 5], torch.tensor([0.5, 0.5]))  # 5 starts afresh
    assert running.as_dict() == pytest.approx({0: 0.484, 5: 0.5})


def test_earlier_averages_move_into_the_reserved_tensors() -> None:
    """They come from a video saved before its bank was full, and are shorter than the reserved tensors."""
    running = RunningRelevance(keep=0.2)
    running.update([0, 5], torch.tensor([0.6, 0.4]))
    running.reserve(4, torch.device("cpu"))
    assert running.as_dict() == pytest.approx({0: 0.6, 5: 0.4})
    place = running.values
    running.update([0, 5, 10], torch.tensor([0.5, 0.3, 0.2]))
    assert running.as_dict() == pytest.approx({0: 0.52, 5: 0.32, 10: 0.2})
    assert running.values is place


def decisions(policy: MemoryPolicy, last: int) -> list[Any]:
    """Runs a video with three entries and a write every 5 frames; returns the drops and all scores."""
    rng, frames, found = np.random.default_rng(0), [0], []
    for new in range(5, last + 1, 5):
        keys = torch.from_numpy(rng.random((len(frames), 4, 2))).float()
        read = reading(rng.dirichlet(np.ones(len(frames))).tolist(), keys)
        append = append_of(list(frames), new, read, overflows=len(frames) == 3)
        policy.observe(append)
        dropped = frames.pop(int(policy.drop(append))) if append.overflows else None
        found.append((dropped, policy.explain()))
        frames.append(new)
    return found


@pytest.mark.parametrize("name", ["emfs", "rmem", "spread", "lfu"])
@pytest.mark.parametrize("start", ["overflow", "append"])
def test_a_policy_that_serves_another_video_forgets_the_first(name: str, start: str) -> None:
    """The first video is so short that frames in its last bank have numbers that the second starts with."""
    used, fresh = (build_policy(config(name, MEM_AVERAGES_START=start)) for _ in range(2))
    used.reserve(3, torch.device("cpu"))
    decisions(used, last=15)
    used.forget()
    assert decisions(used, last=40) == decisions(fresh, last=40)


@pytest.mark.parametrize("name", ["emfs", "rmem"])
def test_averages_start_at_the_overflow_or_at_the_first_append(name: str) -> None:
    late, early = (build_policy(config(name, MEM_AVERAGES_START=start)) for start in ("overflow", "append"))
    late.observe(append_of([0], 5, never_read, overflows=False))
    early.observe(append_of([0], 5, reading([1.0]), overflows=False))
    assert (late.averages, late.explain()) == ({}, {})
    assert early.averages == {0: 1.0}
    assert early.explain() == {"read": [1.0], "relevance": [1.0]}
    for policy in (late, early):
        decide(policy, append_of([0, 5], 10, reading([0.6, 0.4])))
    assert late.averages == pytest.approx({0: 0.6, 5: 0.4})
    assert early.averages == pytest.approx({0: 0.2 + 0.8 * 0.6, 5: 0.4})


def test_emfs_score_by_hand() -> None:
    # One feature, two tokens: frames 0 and 10 have the same keys, frame 5 is orthogonal to both.
    keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])[..., None]
    policy = build_policy(config("emfs"))
    assert decide(policy, append_of([0, 5, 10], 15, reading([0.4, 0.25, 0.35], keys))) == 2
    novelty = [1 / (1 + math.exp(10 * (value - 0.4))) for value in (0.5, 0.0, 0.5)]
    explained = policy.explain()
    assert explained["relevance"] == pytest.approx([0.4, 0.25, 0.35])
    assert explained["redundancy"] == pytest.approx([0.5, 0.0, 0.5])
    assert explained["novelty"] == pytest.approx(novelty)
    assert explained["score"] == pytest.approx(
        [4 * value + novel for value, novel in zip((0.4, 0.25, 0.35), novelty, strict=True)]
    )
    # With a weight of 40, relevance decides.
    relevant = build_policy(config("emfs", MEM_EMFS_WEIGHT=40.0))
    assert decide(relevant, append_of([0, 5, 10], 15, reading([0.4, 0.25, 0.35], keys))) == 1


@pytest.mark.parametrize("name", ["emfs", "rmem"])
@pytest.mark.parametrize(
    ("relevance", "droppable", "dropped"),
    [
        ([0.4, 0.2, 0.2, 0.2], [1, 2, 3], 1),  # a tie: the first
        ([0.1, 0.3, 0.3, 0.3], [1, 2, 3], 1),  # the smallest is protected; the others tie
        ([0.4, 0.1, 0.3, 0.2], [2, 3], 3),  # a later reference frame is protected too
        ([0.1, 0.2, 0.4, 0.3], [2], 2),
    ],
)
def test_smallest_droppable_score_goes(
    name: str, relevance: list[float], droppable: list[int], dropped: int
) -> None:
    policy = build_policy(config(name))
    assert decide(policy, append_of([0, 5, 10, 15], 20, reading(relevance), droppable=droppable)) == dropped


def test_rmem_counts_runs() -> None:
    policy = build_policy(config("rmem"))
    even = [1 / 3] * 3
    decide(policy, append_of([0, 5, 10], 15, reading(even)))  # first run: 1 for all, also for 15
    decide(policy, append_of([0, 10, 15], 20, reading(even)))  # 10 and 15: 2, 20: 1
    decide(policy, append_of([0, 10, 20], 25, reading(even)))  # 10: 3, 20: 2, 25: 1
    decide(policy, append_of([0, 10, 25], 30, reading(even)))  # 10: 4, 25: 2
    runs = [3, 4, 2]  # the first frame's count is T, not the 4 runs that it has seen
    bonus = [1.5 * math.sqrt(math.log(sum(runs)) / (count + 8)) for count in runs]
    assert policy.explain()["bonus"] == pytest.approx(bonus)
    assert policy.explain()["score"] == pytest.approx([1 / 3 + value for value in bonus])


@pytest.mark.parametrize(("model", "start"), [("r50_aotl", "overflow"), ("r50_deaotl", "append")])
def test_rmem_drops_as_published(model: str, start: str) -> None:
    """Given the relevance of a published run, the policy reproduces the run's averages and banks."""
    with np.load(GOLDEN / "video" / f"{model}_rmem.npz") as file:
        setup, banks, averages = (json.loads(str(file[name])) for name in ("setup", "banks", "relevance"))
    policy = build_policy(config("rmem", MEM_AVERAGES_START=start))
    previous: dict[int, float] = {}
    num_drops = 0
    for frame in range(1, len(banks)):
        (before,), (after,) = banks[frame - 1 : frame + 1]
        published = {int(number): value for number, value in averages[frame - 1].items()}
        if after == before:
            assert published == previous
            continue
        # Undo the running average to get the relevance that this frame's read added.
        relevance = [
            (published[number] - 0.2 * previous[number]) / 0.8 if number in previous else published[number]
            for number in before
            if published
        ]
        overflows = len(before) == setup["former"] + setup["latter"]
        append = append_of(before, frame, reading(relevance), overflows=overflows)
        policy.observe(append)
        assert policy.averages == pytest.approx(published, abs=1e-6)
        kept = list(before)
        if overflows:
            kept.pop(policy.drop(append))
            num_drops += 1
        assert [*kept, frame] == after
        previous = published
    assert num_drops == 8


class NewestPolicy(MemoryPolicy):
    """A custom policy that drops the newest of the old entries."""

    def drop(self, append: Append) -> int:
        return append.droppable[-1]


class UnfinishedPolicy(MemoryPolicy):
    """A policy that does not implement ``drop``."""


def test_a_custom_policy() -> None:
    policy = build_policy(config("tests.test_memory_policies:NewestPolicy"))
    assert type(policy).__name__ == "NewestPolicy"
    assert decide(policy, append_of([0, 5, 10], 15)) == 2


@pytest.mark.parametrize("name", POLICIES)
def test_what_a_subclass_keeps_is_part_of_the_state(name: str) -> None:
    policy, resumed = build_policy(config(name)), build_policy(config(name))
    vars(policy)["own"] = {5: 0.25}  # as the ``__init__`` of a user's subclass would
    resumed.load_state_dict(policy.state_dict())
    assert vars(resumed)["own"] == {5: 0.25}


def test_a_state_of_an_earlier_version_may_have_no_averages() -> None:
    policy, resumed = build_policy(config("emfs")), build_policy(config("emfs"))
    resumed.load_state_dict(policy.state_dict() | {"running_relevance": {"numbers": None, "values": None}})
    assert resumed.averages == policy.averages == {}


class MostRelevant(EmfsPolicy):
    """Scores on the host."""

    def score(self, append: Append, averages: torch.Tensor) -> torch.Tensor:
        return torch.tensor([-value for value in averages.tolist()])


class Infinite(EmfsPolicy):
    """Returns only infinite scores."""

    def score(self, append: Append, averages: torch.Tensor) -> torch.Tensor:
        return torch.full_like(averages, torch.inf)


def test_with_infinite_scores_the_choice_is_still_a_droppable_frame() -> None:
    policy = Infinite(config("emfs"))
    assert decide(policy, append_of([0, 5, 10, 15], 20, reading([0.25] * 4), droppable=[2, 3])) == 2


class Newest(FifoPolicy):
    """Chooses on the host."""

    def drop(self, append: Append) -> torch.Tensor:
        return torch.tensor(append.droppable[-1])


class SaysSo(FifoPolicy):
    """Works only on tensors, and declares it."""

    replayable = True

    def drop(self, append: Append) -> torch.Tensor:
        return append.may_drop.long().argmax()


@pytest.mark.parametrize(
    ("policy_class", "expected"),
    [(EmfsPolicy, True), (FifoPolicy, True), (SaysSo, True), (MostRelevant, False), (Newest, False)],
)
def test_a_subclass_is_recorded_only_if_it_declares_that_it_may_be(
    policy_class: type[MemoryPolicy], expected: bool
) -> None:
    """A recording would repeat the first choice made on the host."""
    assert is_replayable(policy_class(config("emfs"))) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"MEM_POLICY": "lifo"}, r"unbounded, fifo, rmem, emfs, random, uniform.*'lifo'"),
        ({"MEM_POLICY": "no_such_package.module:Policy"}, r"no_such_package"),
        ({"MEM_POLICY": "tests.test_memory_policies:NoSuchPolicy"}, r"NoSuchPolicy"),
        ({"MEM_POLICY": ":Policy"}, r"MEM_POLICY.*':Policy'"),
        ({"MEM_POLICY": ".module:Policy"}, r"MEM_POLICY.*'\.module:Policy'"),
        ({"MEM_POLICY": "tests.test_memory_policies:decide"}, r"MEM_POLICY.*class.*:decide"),
        ({"MEM_POLICY": "tests.test_memory_policies:UnfinishedPolicy"}, r"UnfinishedPolicy.* drop\b"),
        ({"MEM_AVERAGES_START": "later"}, r"MEM_AVERAGES_START.*overflow, append.*'later'"),
        ({"MEM_RELEVANCE_KEEP": 1.5}, r"MEM_RELEVANCE_KEEP.*1\.5"),
        ({"MEM_POLICY": "rmem", "MEM_RMEM_OFFSET": -2.0}, r"MEM_RMEM_OFFSET.*-2\.0"),
        ({"MEM_POLICY": "spread", "MEM_SPREAD_KEEP": 1.5}, r"MEM_SPREAD_KEEP.*1\.5"),
        ({"MEM_POLICY": "spread", "MEM_SPREAD_POWER": -2.0}, r"MEM_SPREAD_POWER.*-2\.0"),
        ({"MEM_POLICY": "readmem", "MEM_READMEM_FLOOR": -2.0}, r"MEM_READMEM_FLOOR.*-2\.0"),
    ],
)
def test_wrong_settings_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_policy(config(**{"MEM_POLICY": "emfs", **values}))


def test_published_decisions() -> None:
    result = replay_decisions(DECISIONS)
    assert (result["cases"], result["dropped_agree"], result["passed"]) == (40, 40, True)


def changed_decisions(folder: Path, change: Callable[[dict[str, Any], list[dict[str, Any]]], None]) -> Path:
    """Copies the published decisions, with the arrays or the cases changed by ``change``."""
    with np.load(DECISIONS) as file:
        arrays: dict[str, Any] = dict(file)
    cases = json.loads(str(arrays["cases"]))
    change(arrays, cases)
    path = folder / "decisions.npz"
    np.savez(path, **{**arrays, "cases": json.dumps(cases)})
    return path


def test_replay_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(DECISIONS)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["dropped_agree"] == 40


@pytest.mark.parametrize("name", QUANTITIES)
def test_replay_notices_another_number(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(arrays: dict[str, Any], cases: list[dict[str, Any]]) -> None:
        cases[7][QUANTITIES[name]][1] += 2e-4

    assert main([str(changed_decisions(tmp_path, change))]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result[name] == pytest.approx(2e-4, rel=0.01)
    assert (result["dropped_agree"], result["passed"]) == (40, False)


def test_replay_notices_another_drop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(arrays: dict[str, Any], cases: list[dict[str, Any]]) -> None:
        cases[3]["dropped"] = cases[3]["frame_ids"][0]

    assert main([str(changed_decisions(tmp_path, change))]) == 1
    assert json.loads(capsys.readouterr().out)["dropped_agree"] == 39


def drop_an_array(arrays: dict[str, Any], cases: list[dict[str, Any]]) -> None:
    del arrays["keys_5"]


def name_an_unknown_preset(arrays: dict[str, Any], cases: list[dict[str, Any]]) -> None:
    cases[0]["preset"] = "vos"


def shorten_the_attention(arrays: dict[str, Any], cases: list[dict[str, Any]]) -> None:
    arrays["attention_0"] = arrays["attention_0"][:, :-1]


@pytest.mark.parametrize("change", [drop_an_array, name_an_unknown_preset, shorten_the_attention])
def test_replay_names_a_wrong_decision(
    change: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed_decisions(tmp_path, change)
    assert main([str(path)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert f"{path}: decision" in output.err


def with_damaged_bytes(content: bytes) -> bytes:
    """Overwrites a stretch in the middle of an archive."""
    middle = len(content) // 2
    return content[:middle] + bytes(1000) + content[middle + 1000 :]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, ""),
        (b"", ".npz"),
        (b"not an archive", ".npz"),
        (DECISIONS.read_bytes()[:50_000], ".npz"),
        (with_damaged_bytes(DECISIONS.read_bytes()), ""),
        ((GOLDEN / "video" / "r50_aotl_rmem.npz").read_bytes(), "`cases`"),
    ],
    ids=["missing", "empty", "text", "truncated", "damaged", "other"],
)
def test_replay_names_a_bad_file(
    content: bytes | None, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.npz"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"error: {path}: ")
    assert named in output.err.partition(f"{path}: ")[2]
