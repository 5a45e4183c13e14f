"""The app's page in Chromium, driven by Playwright, without network; and which requests it accepts."""

import os
import shutil
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aot_plus.app.places import Places
from aot_plus.app.session import Session
from aot_plus.app.settings import Settings
from aot_plus.utils.errors import DataError
from aot_plus.viz.video_writer import VideoWriter
from evaluation.masks import read_mask
from tests.test_app_session import BLUE_BOX, FRAMES, GREEN_BOX, HEIGHT, WIDTH, frame, make_video

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Gradio is not imported here: that takes seconds, and only the test process that runs these tests needs it.
pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="needs Gradio")

HOSTILE = "<img src=x onerror=alert(1)> & 'x'.mp4"
# Goes to frame 0 while the server is slow to report a run's progress; returns the frame shown in the end.
GO_WHILE_SLOW = """async () => {
  const studio = window.aotStudio, { server } = studio;
  const ask = async (request) => {
    if (request.action === "look") await new Promise((done) => setTimeout(done, 300));
    return server.ask(request);
  };
  studio.server = { ask };
  await Promise.all([studio.ask("look", { follow: true }), studio.goTo(0)]);
  return studio.state.frame;
}"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A session that may open a video, two files with odd names or content, and images, one damaged."""
    folder = tmp_path_factory.mktemp("app")
    videos = folder / "videos"
    videos.mkdir()
    with VideoWriter(videos / "squares.mp4", 10) as writer:
        for number in range(FRAMES):
            writer.write(frame(number), number / 10)
    (videos / "broken.mp4").write_bytes(b"no video" * 99)
    shutil.copy(videos / "squares.mp4", videos / HOSTILE)
    bad = make_video(videos / "images", 3) / "001.png"
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    return Session(folder / "projects", Places([videos]), Settings(capacity=3, gap=2), "cpu")


@pytest.fixture(scope="module")
def address(session: Session) -> Iterator[str]:
    from aot_plus.app.server import serving

    with serving(session) as address:
        yield address


class Opened:
    """The page, with the errors that occurred in it."""

    def __init__(self, browser: "Browser", address: str, **options: Any) -> None:
        viewport = {"width": 1400, "height": 900}
        self.context = browser.new_context(**{"viewport": viewport, "reduced_motion": "reduce", **options})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(120_000)  # test machines are busy
        self.problems: list[str] = []
        self.strange: list[str] = []  # requests that leave this machine
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url, address))
        self.page.goto(address)

    def _note(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            self.strange.append(url)

    def close(self) -> None:
        self.context.close()
        assert (self.problems, self.strange) == ([], [])

    def open(self, name: str) -> None:
        self.page.locator("#video input").click()
        self.page.get_by_role("option", name=name).click()
        self.page.locator("#open").click()

    def wait(self, condition: str) -> None:
        """Waits until a JavaScript expression in ``studio`` and its ``state`` is true."""
        given = "const studio = window.aotStudio, state = studio?.state;"
        self.page.wait_for_function(f"() => {{ {given} return state && ({condition}); }}")

    def drag(self, *places: tuple[float, float]) -> None:
        """Draws on the frame; ``places`` are in the frame's pixels."""
        box = self.page.locator("#stage").bounding_box()
        assert box is not None
        points = [
            (box["x"] + x * box["width"] / WIDTH, box["y"] + y * box["height"] / HEIGHT) for x, y in places
        ]
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=3)
        self.page.mouse.up()

    def drag_box(self, box: tuple[int, int, int, int]) -> None:
        x, y, width, height = box
        self.page.keyboard.press("x")
        self.drag((x, y), (x + width, y + height))

    def overflows(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))


@pytest.fixture
def opened(browser: "Browser", address: str) -> Iterator[Opened]:
    opened = Opened(browser, address)
    yield opened
    opened.close()


def test_from_a_video_to_masks(opened: Opened, session: Session) -> None:
    page = opened.page
    opened.open("videos/squares.mp4")
    opened.wait(f"state.frames === {FRAMES} && studio.has === 0")
    # Paint the red square with two strokes and undo a third; mark the blue square with a box.
    opened.drag((18, 20), (34, 20), (34, 32), (18, 32), (26, 26))
    opened.wait("state.given.includes(0) && state.undo === 1")
    page.keyboard.press("e")
    opened.drag((5, 5), (60, 60))
    opened.wait("state.undo === 2")
    page.keyboard.press("Control+z")
    opened.wait("state.undo === 1")
    page.locator("#add").click()
    opened.wait("state.objects.length === 2 && studio.chosen === 2")
    page.locator("#objects input").nth(1).fill("<b>blue</b>")
    page.locator("#objects input").nth(1).press("Enter")
    opened.wait("state.objects[1].name === '<b>blue</b>'")
    opened.drag_box(BLUE_BOX)
    opened.wait("state.undo === 4")
    assert page.locator("#objects b").count() == 0
    # Segment, and stop halfway.
    page.locator("#segment").click()
    opened.wait("state.run.done >= 2")
    page.locator("#stop, #segment").locator("visible=true").press("s")
    opened.wait("['stopped', 'done'].includes(state.run.state)")
    # Continue from a frame chosen by its number; add an object on another frame, and continue from there.
    page.locator("#number").fill("1")
    page.locator("#number").press("Enter")
    opened.wait("state.frame === 1 && studio.has === 1")
    page.locator("#segment").click()
    opened.wait(f"state.run.state === 'done' && state.run.total === {FRAMES - 1}")
    page.locator("#number").fill("6")
    page.locator("#number").press("Enter")
    opened.wait("state.frame === 6 && studio.has === 6")
    page.locator("#add").click()
    opened.wait("state.objects.length === 3 && studio.chosen === 3")
    opened.drag_box(GREEN_BOX)
    opened.wait("state.given.includes(6)")
    page.locator("#segment").click()
    opened.wait(f"state.run.state === 'done' && state.frame === {FRAMES - 1}")
    assert "4 of 4 " in page.locator("#progress").inner_text()
    # The memory panel lists the stored frames and leads to them; so do the curves.
    assert "emfs" in page.locator("#memory").inner_text()
    page.locator("#memory .card.reference").last.click()
    opened.wait("state.frame === 6")
    curves = page.locator("#areas svg").bounding_box()
    assert curves is not None
    page.mouse.click(curves["x"] + 2, curves["y"] + curves["height"] / 2)
    opened.wait("state.frame === 0 && studio.has === 0")
    assert page.locator("#areas .curve").count() == 3
    assert page.evaluate(GO_WHILE_SLOW) == 0
    page.keyboard.press("ArrowRight")
    opened.wait("state.frame === 1 && studio.has === 1")
    # A reload loses nothing.
    page.reload()
    opened.wait("state.frame === 1 && state.objects.length === 3 && state.given.length === 2")
    _export(opened, session)


def _export(opened: Opened, session: Session) -> None:
    page = opened.page
    page.locator("#export button").first.click()
    page.get_by_label("DAVIS's layout").check()
    page.locator("#make-export").click()
    with page.expect_download() as download:
        page.locator("#download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = archive.namelist()
        assert "overlay.mp4" in names
        archive.extractall(session.projects / "unpacked")
    # A change hides the zip, which does not hold it; the next export shows a new one.
    opened.drag((60, 60), (62, 62))
    page.locator("#download").wait_for(state="hidden")
    page.locator("#make-export").click()
    page.locator("#download").wait_for()
    last = f"masks/Annotations/480p/squares/{FRAMES - 1:05d}.png"
    assert sum(name.startswith("masks/Annotations") for name in names) == FRAMES
    mask = read_mask(session.projects / "unpacked" / last)
    assert np.unique(mask).tolist() == [0, 1, 2, 3]
    # An export in another tab takes the place of this one, at the same address.
    other = opened.context.new_page()
    other.goto(page.url)
    other.locator("#export button").first.click()
    other.get_by_label("DAVIS's layout").check()
    session.rename_object(1, "red")
    other.locator("#make-export").click()
    other.locator("#download").wait_for()
    with page.expect_download() as download:
        page.locator("#download").click()
    exported = session.opened.project.folder / "export" / "squares-davis.zip"
    assert download.value.path().read_bytes() == exported.read_bytes()
    assert len(list((session.projects / ".uploads" / "export").rglob("*.zip"))) == 1


def test_strokes_clicks_and_numbers_do_what_the_user_meant(
    browser: "Browser", address: str, session: Session
) -> None:
    session.close()
    folder = next(Path(path).parent for _, path in session.places.videos() if path.endswith("squares.mp4"))
    shutil.copy(folder / "squares.mp4", folder / "later.mp4")  # added after the server was started
    opened = Opened(browser, address)
    page = opened.page
    opened.open("videos/later.mp4")
    opened.wait("studio.has === 0 && state.given.length === 0")
    page.locator("#add").click()
    opened.wait("studio.chosen === 2")

    def press_while(place: dict[str, float], script: str) -> None:
        """Presses the mouse button in the middle of a place, runs a script, and releases the button."""
        page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
        page.mouse.down()
        page.evaluate(f"async () => {{ const studio = window.aotStudio; {script} }}")
        page.mouse.up()

    def place(selector: str) -> dict[str, float]:
        found = page.locator(selector).first.bounding_box()
        assert found is not None
        return dict(found)

    # A stroke belongs to the frame on which it began, and so does a box.
    press_while(place("#stage"), "await studio.ask('show', { frame: 5 });")
    opened.wait("state.undo === 2 && state.given.length === 1 && state.given[0] === 0 && state.frame === 0")
    assert not page.evaluate("window.aotStudio.follow")
    page.keyboard.press("Control+Shift+z")  # not undo
    # An element pressed while answers arrive still gets the click, and keeps the keyboard focus.
    press_while(place("[data-do=hide]"), "await studio.ask('look');")
    opened.wait("state.objects[0].hidden")
    page.locator("[data-do=hide]").first.press("Enter")
    opened.wait("!state.objects[0].hidden && state.undo === 2")
    assert page.evaluate("document.activeElement.dataset.do") == "hide"
    press_while(place("#areas"), "await studio.refreshAreas();")
    opened.wait("[4, 5].includes(state.frame)")
    # Clicking an object's name selects it for painting, and shows it as selected.
    page.locator("#objects input").first.click()
    opened.wait("studio.chosen === 1")
    assert page.locator("#objects .chosen").get_attribute("data-id") == "1"
    # The number field shows the actual frame.
    page.locator("#number").fill("999")
    page.locator("#number").press("Enter")
    opened.wait(f"state.frame === {FRAMES - 1}")
    assert page.locator("#number").input_value() == str(FRAMES - 1)
    page.keyboard.press("ArrowLeft")  # acts on the frames again, not on the field
    opened.wait(f"state.frame === {FRAMES - 2}")
    page.locator("#settings button").first.click()
    # A setting can be typed even if its first digits alone are out of range; a wrong final value is reset.
    edge = page.get_by_label("Longest side")
    edge.press("Control+a")
    edge.press_sequentially("480", delay=50)
    page.wait_for_timeout(100)
    assert edge.input_value() == "480"
    edge.fill("-5")
    edge.press("Tab")
    page.get_by_text("found -5").wait_for()
    page.wait_for_function("edge => edge.value === '480'", arg=edge.element_handle())
    assert session.settings.long_edge == 480
    opened.close()


def test_strange_files_give_messages_and_strange_names_are_text(opened: Opened, session: Session) -> None:
    page = opened.page
    if session.is_open:
        page.locator("#close").click()
    opened.open("videos/broken.mp4")
    page.get_by_text("broken.mp4: ").first.wait_for()
    title = page.locator(".toast-title").first
    own = title.evaluate("title => getComputedStyle(title, '::before').content")
    assert own != "none"  # in place of Gradio's
    upload = {"name": "my clip.mp4", "mimeType": "video/mp4", "buffer": b"no video" * 99}
    page.locator("#upload input").set_input_files(upload)
    page.get_by_text("clip.mp4: ").last.wait_for()
    assert not session.is_open
    assert "Traceback" not in page.content()
    opened.open("onerror")
    opened.wait("studio.has === 0")
    assert HOSTILE in page.locator("#head").inner_text()
    assert page.locator("#head img").count() == 0
    page.locator("#segment").click()
    page.get_by_role("alert").get_by_text("frame 0").wait_for()


def test_one_can_leave_a_frame_that_cannot_be_read(opened: Opened, session: Session) -> None:
    page = opened.page
    if session.is_open:
        page.locator("#close").click()
    opened.open("videos/images")
    opened.wait("state.frames === 3 && studio.has === 0")
    page.keyboard.press("ArrowRight")
    page.get_by_role("alert").get_by_text("001.png: ").wait_for()
    opened.wait("state.frame === 1 && studio.has === 1 && !studio.stage.picture.hasAttribute('src')")
    page.reload()
    opened.wait("state.frame === 1 && studio.has === 1")
    opened.drag((10, 10), (20, 20))
    opened.wait("state.given.includes(1) && state.frame === 1")
    page.keyboard.press("ArrowRight")
    opened.wait("state.frame === 2 && studio.has === 2 && studio.stage.picture.hasAttribute('src')")


def test_a_tab_that_is_returned_to_shows_the_open_project(
    browser: "Browser", address: str, session: Session
) -> None:
    session.close()
    session.open_example()
    opened = Opened(browser, address)
    opened.wait("state.title === 'example'")
    images = next(path for name, path in session.places.videos() if name == "videos/images")
    session.open_video(images)  # as another tab does
    opened.page.evaluate("window.dispatchEvent(new Event('focus'))")
    opened.wait("state.title === 'images'")
    opened.page.locator("#head").get_by_text("images", exact=True).wait_for()
    opened.close()


def test_dark_mode_and_narrow_windows(browser: "Browser", address: str, session: Session) -> None:
    if not session.is_open:
        session.open_example()
    opened = Opened(browser, address, color_scheme="dark")
    opened.wait("studio.has >= 0")
    for width in (1400, 900):
        opened.page.set_viewport_size({"width": width, "height": 900})
        assert not opened.overflows()
        stage, side = (opened.page.locator(part).bounding_box() for part in ("#stage", "#objects"))
        assert stage is not None
        assert side is not None
        assert side["x"] > stage["x"] + stage["width"]  # side by side
    background = "getComputedStyle(document.querySelector('.aot .panel')).backgroundColor"
    assert opened.page.evaluate(background) == "rgb(26, 27, 30)"
    opened.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:7860"}, 200),
        ({"host": "localhost:7860", "origin": "http://localhost:7860"}, 200),
        ({"host": "127.0.0.1:7860", "origin": "https://elsewhere.example"}, 403),
        ({"host": "127.0.0.1:7860", "origin": "null"}, 403),
        ({"host": "elsewhere.example:7860"}, 403),
        ({}, 403),
    ],
)
def test_other_pages_are_refused(headers: dict[str, str], status: int) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    from aot_plus.app.server import OwnPageOnly

    for host in ("127.0.0.1", ""):  # an empty host includes this machine
        answer = OwnPageOnly(app, host)({"type": "http", "headers": raw}, None, send)
        with pytest.raises(StopIteration):  # no event loop needed, as nothing awaits; one already runs here
            answer.send(None)
        assert sent[0]["status"] == status
        sent.clear()


def test_projects_are_served_once(address: str, session: Session) -> None:
    from aot_plus.app.server import serving

    other = Session(session.projects, Places([]), Settings(), "cpu")
    with pytest.raises(DataError, match=f"process {os.getpid()} "), serving(other):
        pass


def test_files_of_the_machine_are_not_served(address: str, tmp_path: Path) -> None:
    import httpx

    (tmp_path / "secret.txt").write_text("secret")
    for path in (tmp_path / "secret.txt", Path(__file__), Path("pyproject.toml")):
        assert httpx.get(f"{address}gradio_api/file={path}").status_code in (403, 404)
