"""What the benchmarks measure with: parts, operations, units, a synthetic video, tables, the JSON line."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aot_plus.tools.common import whole_number
from benchmarks.arguments import image_size
from benchmarks.parts import LargestTensor, PartMeter, attention_operations, metered, operation_counter
from benchmarks.report import format_table, peak_memory, resident_memory, show, spread
from benchmarks.units import UnitOfTime
from benchmarks.videos import SyntheticVideo


class _Ticks:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class _Worker:
    def __init__(self, clock: _Ticks) -> None:
        self._clock = clock

    def outer(self) -> str:
        self._clock.now += 1
        self.inner()
        self._clock.now += 2
        return "done"

    def inner(self) -> None:
        self._clock.now += 10


def test_what_an_inner_part_takes_is_not_the_outer_ones() -> None:
    clock = _Ticks()
    worker = _Worker(clock)
    meter = PartMeter(clock)
    with metered(meter, [(worker, "outer", "a"), (_Worker, "inner", "b")]):
        assert worker.outer() == "done"
        clock.now += 50  # outside of all parts
        worker.inner()
    assert meter.take() == {"a": 3.0, "b": 20.0}
    assert meter.take() == {}


def test_metered_methods_are_themselves_again_afterwards() -> None:
    class Child(_Worker):
        pass

    worker, own = Child(_Ticks()), _Worker.inner
    meter = PartMeter(worker._clock)
    with (
        pytest.raises(RuntimeError),
        metered(meter, [(worker, "outer", "a"), (Child, "inner", "b"), (_Worker, "inner", "c")]),
    ):
        raise RuntimeError
    assert "outer" not in vars(worker)
    assert "inner" not in vars(Child)
    assert _Worker.inner is own


def test_a_part_is_left_when_it_raises() -> None:
    clock = _Ticks()
    meter = PartMeter(clock)
    with meter.part("outer"):
        with suppress(ZeroDivisionError), meter.part("inner"):
            clock.now += 1
            raise ZeroDivisionError
        clock.now += 5
    assert meter.take() == {"inner": 1.0, "outer": 5.0}


def test_operations_of_attention_by_hand() -> None:
    # 2 x 3 heads of 5 queries over 7 keys: 5 * 7 products of width 4, 5 * 8 sums of 7; 2 operations each.
    by_hand = 2 * 3 * (5 * 7 * 4 * 2 + 5 * 8 * 7 * 2)
    assert attention_operations([2, 3, 5, 4], [2, 3, 7, 4], [2, 3, 7, 8]) == by_hand


def test_the_largest_tensor_of_a_part() -> None:
    class Computer:
        def inside(self) -> None:
            column = torch.rand(30, 1)
            column.expand(30, 1000)  # a view takes no memory
            column @ column.T  # 30 x 30 float32

        def outside(self) -> None:
            torch.rand(100, 100)

    computer, largest = Computer(), LargestTensor()
    with metered(largest, [(computer, "inside", "a")]):
        computer.inside()
        computer.outside()
    assert largest.bytes == 30 * 30 * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_operations_of_a_convolution_a_product_and_attention(dtype: torch.dtype) -> None:
    image, kernel = torch.rand(1, 3, 9, 9), torch.rand(4, 3, 3, 3)
    tokens = torch.rand(1, 2, 6, 8)
    counts = []
    with (
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16),
        operation_counter() as counter,
    ):
        for compute in (
            lambda: F.conv2d(image, kernel, torch.rand(4)),
            lambda: torch.rand(5, 6) @ torch.rand(6, 7),
            lambda: F.scaled_dot_product_attention(tokens, tokens, tokens),
        ):
            before = counter.get_total_flops()
            compute()
            counts.append(counter.get_total_flops() - before)
    assert counts == [2 * 27 * 4 * 7 * 7, 2 * 5 * 6 * 7, 2 * 2 * 6 * 6 * (8 + 8)]


def test_a_unit_is_the_median_of_the_products_before_and_after() -> None:
    readings: Iterator[float] = iter([0, 3, 10, 14, 20, 25, 30, 36])  # 3 and 4 before, 5 and 6 after
    unit = UnitOfTime(torch.device("cpu"), size=8, clock=lambda: next(readings))
    unit.measure(repeats=2)
    unit.measure(repeats=2)
    assert unit.seconds == 4.5
    assert unit.operations == 2 * 8 * 8 * 8
    record = unit.record()
    assert (record["before"], record["after"]) == (3.5, 5.5)
    assert record["seconds"] == {"median": 4.5, "min": 3, "max": 6, "runs": 4}
    assert "3 to 6; before 3.5, after 5.5" in unit.describe()


def test_spread() -> None:
    assert spread([3.0, 1.0, 2.0, 10.0]) == {"median": 2.5, "min": 1.0, "max": 10.0, "runs": 4}


def test_memory_is_that_of_this_process() -> None:
    block = np.ones(64 * 2**20, dtype=np.uint8)
    with_block = resident_memory()
    assert peak_memory() >= with_block
    del block
    assert with_block - resident_memory() == pytest.approx(64, abs=16)


def test_the_json_line_is_the_last_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show("a table\nof two lines", {"units": 1.5}, tmp_path / "new" / "line.json")
    *table, line = capsys.readouterr().out.splitlines()
    assert table == ["a table", "of two lines"]
    assert json.loads(line) == {"units": 1.5}
    assert (tmp_path / "new" / "line.json").read_text() == f"{line}\n"


def test_table_columns_are_aligned() -> None:
    assert format_table([("part", "s"), ("a", "10.5")]) == "part     s\na     10.5"


def test_the_synthetic_video_shows_all_objects_and_moves() -> None:
    video = SyntheticVideo((65, 97), objects=12)
    image, mask = video.frame(0)
    later_image, later_mask = video.frame(7)
    assert image.shape == (65, 97, 3)
    assert image.dtype == mask.dtype == np.uint8
    assert np.unique(mask).tolist() == np.unique(later_mask).tolist() == list(range(13))
    assert not np.array_equal(mask, later_mask)
    assert not np.array_equal(image, later_image)
    again = SyntheticVideo((65, 97), objects=12).frame(7)
    np.testing.assert_array_equal(again[0], later_image)
    np.testing.assert_array_equal(again[1], later_mask)


def test_sizes_and_counts_of_flags() -> None:
    assert image_size("481x849") == (481, 849)
    assert whole_number(2)("7") == 7
    for text in ("481", "x849", "0x9", "axb"):
        with pytest.raises(Exception, match="expected HEIGHTxWIDTH"):
            image_size(text)
    for text in ("1", "-3", "2.5", "two"):
        with pytest.raises(Exception, match="expected a whole number from 2"):
            whole_number(2)(text)
