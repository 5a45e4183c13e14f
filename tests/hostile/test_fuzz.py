"""A hundred cases of the fuzzer. To rerun a case that fails, use ``--first NUMBER --cases 1``."""

from pathlib import Path

import pytest

from tests.hostile.fuzz import commands, run_case, run_command
from tests.hostile.workshop import Workshop

CASES, PARTS = 100, 10


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop.build(tmp_path_factory.mktemp("hostile") / "good")


def test_the_tools_work_with_good_files(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, every case of the fuzzer could stop at the same early error."""
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    for number in range(len(commands(shop))):
        good = shop.copy(tmp_path / str(number))
        command = commands(good)[number]
        assert run_command(command, good) == 0, command


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_files_and_odd_values_give_messages_or_results(
    shop: Workshop, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(shop.root.parent))
    for number in range(part, CASES, PARTS):
        run_case(1, number, shop)
