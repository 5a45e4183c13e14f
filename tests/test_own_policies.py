"""Return values and errors of custom policies: accepted, or refused with the policy's name and the value."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.memory.policies import Append, MemoryPolicy, answers, ask_to_drop, build_policy
from aot_plus.utils.errors import ConfigError
from tests.test_memory_policies import append_of, config
from tests.test_segmenter import _segmenter, _squares, _video

NAME = f"{__name__}:Answers"


class Answers(MemoryPolicy):
    """Returns ``answer``, which tests set."""

    answer: Any = 1

    def drop(self, append: Append) -> Any:
        return self.answer


class Unfinished(MemoryPolicy):
    """Lacks ``drop``."""


class Raises(MemoryPolicy):
    """Has a bug."""

    def drop(self, append: Append) -> int:
        return append.nothing  # type: ignore[attr-defined, no-any-return]


class TakesNothing(MemoryPolicy):
    """Cannot be built: its constructor takes no config."""

    def __init__(self) -> None:
        raise AssertionError("nobody calls it without a config")

    def drop(self, append: Append) -> int:
        return 1


class Keeps(Answers):
    """Returns ``answer`` from ``keep`` too."""

    may_decline = True

    def keep(self, append: Append) -> Any:
        return self.answer


class KeepsSilently(Answers):
    """Defines ``keep``, but does not say that it may decline frames."""

    def keep(self, append: Append) -> bool:
        return False


class KeepsAll(Keeps):
    """Switches off what its base class does."""

    may_decline = False


class Explains(Answers):
    """Explains itself with ``scores`` and ``facts``, which tests set."""

    scores: Any = None
    facts: Any = None

    def drop(self, append: Append) -> int:
        self.last_scores, self.last_facts = self.scores, self.facts
        return 1


def _ask(answer: Any) -> int | torch.Tensor | None:
    policy = Answers(config(NAME))
    policy.answer = answer
    return ask_to_drop(policy, append_of([0, 5, 10, 15], 20, droppable=[1, 3]), NAME)


def _play(name: str, **values: Any) -> VideoSegmenter:
    """Runs a video until its bank of two frames has overflowed."""
    segmenter = _segmenter(MEM_POLICY=f"{__name__}:{name}", LATTER_MEM_LEN=1, **values)
    video = _video(3, frames=4)
    segmenter.start(video[0], _squares([1, 2]), memory_gap=1)
    for image in video[1:]:
        segmenter.step(image)
    return segmenter


@pytest.mark.parametrize("answer", [3, np.int64(3), torch.tensor(3), torch.tensor(3, dtype=torch.int32)])
def test_a_position_may_be_any_integer(answer: Any) -> None:
    assert int(_ask(answer)) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        *((value, str(value)) for value in (0, 2, -1, 4, 99, None, True, 1.0)),
        ("1", "'1'"),
        (np.float64(1), "1.0"),
        (torch.tensor(0), "0 of torch.int64"),
        (torch.tensor(99), "99 of torch.int64"),
        (torch.tensor(1.0), "torch.float32"),
        (torch.tensor(True), "torch.bool"),
        (torch.tensor([1]), r"\(1,\)"),
        (torch.tensor([1, 3]), r"\(2,\)"),
    ],
)
def test_another_answer_is_refused_with_what_was_expected(answer: Any, found: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"MEM_POLICY '{NAME}'.*append\.droppable, \[1, 3\].*found .*{found}"
    ):
        _ask(answer)


def test_the_host_does_not_wait_for_a_tensor_on_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only dtype and shape of such a tensor are checked; a number is checked against the host's bank data."""
    monkeypatch.setattr(answers, "is_on_host", lambda tensor: False)  # the CPU stands in for a GPU

    class Elsewhere(torch.Tensor):
        """A tensor whose values must not be read."""

        def __int__(self) -> int:
            raise AssertionError("a wait")

        tolist = item = __int__

    flags = torch.tensor([False, True, False, True]).as_subclass(Elsewhere)
    policy = Answers(config(NAME))

    def ask(answer: Any) -> Any:
        policy.answer = answer
        numbers, new = torch.tensor([0, 5, 10, 15]), torch.tensor(20)
        return ask_to_drop(policy, Append(numbers, new, flags, True, lambda: None), NAME)  # type: ignore

    chosen = torch.tensor(99).as_subclass(Elsewhere)
    assert ask(chosen) is chosen
    assert [ask(1), ask(2), ask(3)] == [1, 2, 3]
    for wrong in (torch.tensor(1.0).as_subclass(Elsewhere), torch.tensor([1]), 0, 4):
        with pytest.raises(ConfigError, match="MEM_POLICY"):
            ask(wrong)


def test_what_a_policy_has_asked_for_is_checked_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "is_on_host", lambda tensor: False)  # the CPU stands in for a GPU
    flags, policy = torch.tensor([False, True, False, True]), Answers(config(NAME))
    append = Append([0, 5, 10, 15], 20, flags, True, lambda: None)  # type: ignore
    assert append.droppable == [1, 3]
    policy.answer = 2
    with pytest.raises(ConfigError, match=r"append\.droppable, \[1, 3\]"):
        ask_to_drop(policy, append, NAME)


def test_an_answer_is_checked_in_a_video(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _play("Answers").banks == [[0, 3]]
    monkeypatch.setattr(Answers, "answer", 0)
    with pytest.raises(ConfigError, match=f"{NAME}.*found 0"):
        _play("Answers")
    with pytest.raises(ConfigError, match="found 0"):
        _play("Answers", MEM_WRITE_GATE=0.01)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("kind", [bool, np.bool_, torch.tensor])
def test_a_frame_is_kept_or_not(kind: Any, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeps, "answer", kind(kept))
    monkeypatch.setattr(Keeps, "drop", lambda self, append: 1)
    assert _play("Keeps").banks == [[0, 3] if kept else [0]]
    assert _play("KeepsAll").banks == [[0, 3]]  # nobody asks it


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (None, "None"),
        (0.7, "0.7"),
        (1, "1"),
        (torch.tensor(1), "1 of torch.int64"),
        (torch.tensor([True]), r"\(1,\)"),
    ],
)
def test_to_keep_a_frame_is_yes_or_no(answer: Any, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeps, "answer", answer)
    with pytest.raises(ConfigError, match=rf"{__name__}:Keeps.*True or False.*{found}"):
        _play("Keeps")


def test_a_keep_that_nobody_would_call_is_refused() -> None:
    with pytest.raises(ConfigError, match=rf"{__name__}:KeepsSilently.*may_decline"):
        build_policy(config(f"{__name__}:KeepsSilently"))
    assert not build_policy(config(f"{__name__}:KeepsAll")).may_decline


@pytest.mark.parametrize(("name", "found"), [("Path", "subclass of MemoryPolicy"), ("Unfinished", "drop")])
def test_another_class_is_no_policy(name: str, found: str) -> None:
    with pytest.raises(ConfigError, match=rf"MEM_POLICY: .*{found}"):
        build_policy(config(f"{__name__}:{name}"))


def test_an_error_in_a_custom_policy_is_named_with_its_line() -> None:
    line = 1 + next(n for n, text in enumerate(Path(__file__).read_text().splitlines()) if ".nothing" in text)
    place = rf"{__name__}:Raises.*AttributeError in drop\(\), .*{Path(__file__).name}, line {line}"
    with pytest.raises(ConfigError, match=place) as caught:
        _play("Raises")
    assert isinstance(caught.value.__cause__, AttributeError)
    with pytest.raises(ConfigError, match=f"{__name__}:TakesNothing.*TypeError"):
        build_policy(config(f"{__name__}:TakesNothing"))


@pytest.mark.parametrize(
    ("scores", "facts"),
    [
        ({"best": torch.ones(3)}, {}),
        ({"best": torch.ones(2, 2)}, {}),
        ({"best": torch.tensor(1.0)}, {}),
        ({"best": [0.5, 0.5]}, {}),
        ({"frame": torch.ones(2)}, {}),
        ({}, {"quality": "high"}),
    ],
)
def test_an_explanation_that_could_not_be_read_is_refused(
    scores: Any, facts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Explains, "scores", scores)
    monkeypatch.setattr(Explains, "facts", facts)
    with pytest.raises(ConfigError, match=f"{__name__}:Explains"):
        _play("Explains", trace=lambda entry: None)
    _play("Explains")  # without a trace, nothing reads the explanation


@pytest.mark.parametrize(
    ("score", "values"),
    [("best", [0.5, 0.5]), *((name, torch.ones(2)) for name in ("bank", "dropped", "facts", "frame"))],
)
def test_a_score_that_cannot_be_traced_is_named(
    score: str, values: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Explains, "scores", {score: values})
    monkeypatch.setattr(Explains, "facts", {})
    with pytest.raises(ConfigError, match=rf"{__name__}:Explains.*last_scores.*\b{score}\b"):
        _play("Explains", trace=lambda entry: None)


def test_facts_may_be_numbers_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Explains, "scores", {"best": torch.ones(2)})
    monkeypatch.setattr(Explains, "facts", {"a": torch.tensor(0.5), "b": np.float32(0.25), "c": 1})
    entries: list[dict[str, Any]] = []
    _play("Explains", trace=entries.append)
    assert entries[-1]["facts"] == {"a": 0.5, "b": 0.25, "c": 1}
    assert all(type(value) is float for value in entries[-1]["facts"].values())
