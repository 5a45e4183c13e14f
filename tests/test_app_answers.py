"""The answers to the page's requests, also for unreadable frames and with another tab open."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aot_plus.app.answers import Answers
from aot_plus.app.places import Places
from aot_plus.app.project import Project
from aot_plus.app.session import Session
from aot_plus.utils.masks import write_mask
from tests.test_app_session import BLUE_BOX, FRAMES, HEIGHT, SETTINGS, WIDTH, dab, make_video

LAST = FRAMES - 1


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A session with an open video whose frame 6 is a truncated file."""
    video = make_video(tmp_path / "videos" / "squares")
    bad = video / "006.png"
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    session = Session(tmp_path / "projects", Places([video.parent]), SETTINGS, "cpu")
    session.open_video(video)
    yield session
    session.close()


@pytest.fixture
def ask(session: Session, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Sends requests as the page does; a mask of two objects has been uploaded."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:10], mask[10:20] = 1, 2
    write_mask(tmp_path / "mask.png", mask)
    answers = Answers(session, tmp_path)
    return lambda action, **values: answers.answer(action, values)


def test_one_can_leave_a_frame_that_cannot_be_read(
    session: Session, ask: Callable[..., dict[str, Any]]
) -> None:
    dab(session, 1, 26, 26)
    answer = ask("show", frame=6, has=0)
    assert (answer["state"]["frame"], answer["picture"]) == (6, "")
    assert "006.png: " in answer["error"]
    assert "error" not in ask("look", has=6)  # reported once, not each time the page polls
    session.close()
    session.open_project("squares")
    answer = ask("look", has=-1)  # from a reloaded page
    assert (answer["state"]["frame"], answer["state"]["given"], answer["picture"]) == (6, [0], "")
    answer = ask("show", frame=0, has=6)
    assert "error" not in answer
    assert answer["layer"].startswith("data:image/png")
    assert answer["picture"].startswith("data:image/jpeg")


def test_a_mask_that_cannot_be_read_leaves_the_picture(
    session: Session, ask: Callable[..., dict[str, Any]]
) -> None:
    dab(session, 1, 26, 26)
    session.opened.project.masks.path(0).write_bytes(b"no mask")
    answer = ask("look")
    assert (answer["state"]["frame"], answer["layer"]) == (0, "")
    assert answer["picture"].startswith("data:image/jpeg")
    assert "000000.png" in answer["error"]


@pytest.mark.parametrize(
    ("action", "values"),
    [
        ("paint", {"id": 1, "points": [[26, 26]], "diameter": 9}),
        ("box", {"id": 1, "box": BLUE_BOX}),
        ("load", {"path": "mask.png"}),
    ],
)
def test_a_change_stays_on_its_frame_while_another_tab_goes_on(
    session: Session,
    ask: Callable[..., dict[str, Any]],
    action: str,
    values: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = session.opened.project
    show = project.show
    monkeypatch.setattr(project, "show", lambda frame: show(LAST))
    monkeypatch.chdir(tmp_path)
    answer = ask(action, frame=3, **values)
    assert "error" not in answer
    assert (project.given_frames(), project.masks.frames()) == ([3], [3])
    assert answer["state"]["frame"] == LAST


@pytest.mark.parametrize(
    ("action", "values"),
    [
        ("paint", {"frame": 0, "id": 1, "points": [], "diameter": 9}),
        ("paint", {"frame": 0, "id": 1, "points": [[26, float("nan")]], "diameter": 9}),
        ("paint", {"frame": 0, "id": 1, "points": [[26, 26]], "diameter": "9"}),
        ("paint", {"frame": True, "id": 1, "points": [[26, 26]], "diameter": 9}),
        ("paint", {"frame": 0, "id": 99, "points": [[26, 26]], "diameter": 9}),
        ("rename", {"id": 1}),
        ("hide", {"id": 99, "hidden": True}),
        ("thumbnails", {"frames": 5}),
        ("leap", {}),
    ],
)
def test_an_invalid_request_gets_an_error_and_changes_nothing(
    session: Session, ask: Callable[..., dict[str, Any]], action: str, values: dict[str, Any]
) -> None:
    before = session.opened.project.objects
    answer = ask(action, **values)
    assert answer["error"]
    assert session.opened.project.objects == before
    assert session.opened.project.masks.frames() == []


def test_a_mask_is_loaded_from_an_upload_only(session: Session, tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.png", np.ones((HEIGHT, WIDTH), np.uint8))
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    for path in (tmp_path / "mask.png", uploads / ".." / "mask.png"):
        assert "upload" in Answers(session, uploads).answer("load", {"frame": 0, "path": str(path)})["error"]
    assert session.opened.project.masks.frames() == []


def test_an_unexpected_failure_is_reported_to_the_page(
    session: Session, ask: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(frame: int) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(session, "show", fail)
    assert ask("show", frame=0) == {"error": "show: RuntimeError: no memory"}


def test_a_stroke_stays_on_its_frame_though_the_end_of_a_run_is_followed(
    session: Session, ask: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    session.show(7)
    dab(session, 1, 54, 26)
    session.segment(7, 1)
    opened = session.opened
    stop = opened.stop

    def stop_while_another_tab_looks() -> None:
        assert opened.run is not None
        opened.run.wait(100)
        ask("look", follow=True)
        stop()

    monkeypatch.setattr(opened, "stop", stop_while_another_tab_looks)
    ask("paint", frame=3, id=1, points=[[26, 26]], diameter=9)
    assert opened.project.given_frames() == [3, 7]


def test_a_run_begins_at_its_frame_while_another_tab_goes_on(
    session: Session, ask: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    session.show(3)
    dab(session, 1, 38, 26)
    project = session.opened.project
    show = project.show
    monkeypatch.setattr(project, "show", lambda frame: show(LAST))
    assert "error" not in ask("segment", frame=3, step=-1)
    assert session.opened.run is not None
    session.opened.run.wait(100)
    assert project.masks.frames() == [0, 1, 2, 3]


def test_an_answer_is_about_one_frame_while_another_tab_goes_on(
    ask: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(FRAMES))
    monkeypatch.setattr(Project, "frame", property(lambda project: next(numbers)))
    answer = ask("look", has=0)
    assert (answer["state"]["frame"], answer["state"]["name"]) == (0, "000")
    assert "picture" not in answer


def test_a_tab_changes_only_the_project_that_it_shows(
    session: Session, ask: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    shown = ask("look")["state"]["project"]
    session.open_video(make_video(tmp_path / "videos" / "other", 2))
    stroke = {"frame": 0, "id": 1, "points": [[26, 26]], "diameter": 9}
    answer = ask("paint", project=shown, has=0, **stroke)
    assert answer["error"]
    assert answer["picture"]  # of the other project
    assert (answer["state"]["project"], answer["state"]["given"]) == ("other", [])
    assert ask("paint", project="other", **stroke)["state"]["given"] == [0]
