"""A folder claimed by several processes: all of them must see the same folder."""

from pathlib import Path

import pytest

from aot_plus.networks.managers.claimed_folder import claim_folder
from aot_plus.networks.managers.processes import ProcessPlace, gather, process_group
from aot_plus.pipeline.launch import launch
from aot_plus.utils.errors import ConfigError


def claim(folders: list[Path]) -> list[str]:
    """Claims each process's folder; returns each process's error, "" for none."""
    place = ProcessPlace.from_environment()
    folder = folders[place.rank]
    with process_group(place):
        try:
            with claim_folder(folder, place, lambda: None):
                found = ""
        except ConfigError as error:
            found = str(error)
        return gather(place, found)


def odd_ranks() -> list[int | None]:
    """Gathers the odd ranks, and None of the others."""
    place = ProcessPlace.from_environment()
    with process_group(place):
        return gather(place, place.rank if place.rank % 2 else None)


@pytest.mark.usefixtures("forked_processes")
@pytest.mark.parametrize("processes", [1, 2])
def test_every_process_has_its_place_among_what_is_gathered(processes: int) -> None:
    found = launch(odd_ranks, processes=processes)
    assert found == [None, 1][:processes]


@pytest.mark.usefixtures("forked_processes")
def test_a_folder_that_one_process_does_not_see(tmp_path: Path) -> None:
    """This happens on two machines with separate disks, which never see each other's files."""
    first, second = launch(claim, [tmp_path / "a", tmp_path / "b"], processes=2)
    assert first.startswith(f"{tmp_path / 'a'}: ")
    assert second.startswith(f"{tmp_path / 'b'}: ")
    assert "process 1 " in first
    assert "process 0 " not in first
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.usefixtures("forked_processes")
def test_a_folder_that_both_see(tmp_path: Path) -> None:
    assert launch(claim, [tmp_path, tmp_path], processes=2) == ["", ""]
    assert list(tmp_path.iterdir()) == []
