"""The report's page in a browser: Chromium, driven by Playwright, without network.

Without a browser these tests are skipped; with ``AOT_PLUS_BROWSER=required`` in the environment they fail.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from aot_plus.report.write import write_page
from aot_plus.tools.report import main
from tests.report_data import HTML_NAME, SEQUENCES, make_dataset, make_run, page_data

sync_api = pytest.importorskip("playwright.sync_api")

ROWS = "#table tbody tr"
NAMES = f"{ROWS} td:first-child"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two runs, written by the tool; ``emfs`` is better, and has scores in its trace."""
    folder = tmp_path_factory.mktemp("report")
    dataset = make_dataset(folder / "dataset")
    emfs = make_run(folder / "emfs", dataset, "emfs", drift=0.2, scores=("relevance", "redundancy"))
    fifo = make_run(folder / "fifo", dataset, "fifo", drift=0.6, sequences=SEQUENCES[:2])
    out = folder / "report.html"
    assert main([str(emfs), str(fifo), "--out", str(out), "--pictures", "2", "--workers", "1"]) == 0
    return out


class Opened:
    """A page, with the errors that occurred in it and its requests."""

    def __init__(self, context: "sync_api.BrowserContext", path: Path) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(120_000)  # test machines are busy
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.address = path.as_uri()
        self.page.goto(self.address)

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()

    def chosen(self) -> str:
        return self.page.locator(".detail-head h2").inner_text()

    def overflows(self) -> bool:
        return self.page.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.fixture(scope="module")
def wide(browser: "sync_api.Browser", report: Path) -> Iterator[Opened]:
    """The page on a wide, light screen; reopening it for every test would take longer than the tests."""
    context = browser.new_context(
        viewport={"width": 1400, "height": 900},
        color_scheme="light",
        reduced_motion="reduce",  # no smooth scrolling, which would move elements while they are measured
    )
    yield Opened(context, report)
    context.close()


@pytest.fixture
def opened(wide: Opened) -> Iterator[Opened]:
    """The page in its initial state. Whatever a test does, there must be no errors and no requests."""
    wide.page.mouse.move(0, 0)
    wide.page.evaluate("localStorage.clear(); history.replaceState(null, '', location.pathname)")
    wide.page.reload()
    yield wide
    assert wide.problems == []
    assert [url for url in wide.requests if url != wide.address and not url.startswith("data:")] == []


def test_runs_and_their_figures(opened: Opened) -> None:
    rows = opened.texts("#runs tbody tr")
    assert [row.split("\t")[0].strip() for row in rows] == ["emfs", "fifo"]
    assert "1 + 2" in rows[0]
    assert "12.5" in rows[0]
    assert "0.50 GiB" in rows[0]
    assert " 3 " in opened.texts("#run-notes li")[0]  # the objects in both runs
    assert opened.page.locator("#histogram svg").get_attribute("aria-label").count(":") == 2


def test_sorting(opened: Opened) -> None:
    header = opened.page.locator("#table th[aria-sort]")
    button = opened.page.locator('[data-column="second-0"]')
    assert opened.texts(NAMES) == list(SEQUENCES)
    assert header.count() == 0
    button.click()
    assert header.get_attribute("aria-sort") == "ascending"
    values = [float(text) for text in opened.texts(f"{ROWS} td:nth-child(3)")]
    assert values == sorted(values)
    button.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in opened.texts(f"{ROWS} td:nth-child(3)")] == values[::-1]
    button.click()
    assert header.count() == 0
    assert opened.texts(NAMES) == list(SEQUENCES)


@pytest.mark.parametrize("clicks", [1, 2])
def test_rows_without_a_value_are_last(opened: Opened, clicks: int) -> None:
    for _ in range(clicks):
        opened.page.locator('[data-column="j-1"]').click()
    assert opened.texts(NAMES)[-1] == "0003_tear"  # fifo lacks this sequence
    assert opened.texts(f"{ROWS}:last-child td:nth-child(4)") == ["–"]


def test_differences_to_a_chosen_run(opened: Opened) -> None:
    column = f"{ROWS}:first-child td:nth-child(5)"
    assert opened.page.locator("#baseline").input_value() == "1"  # fifo
    (before,) = opened.texts(column)
    assert before.startswith("+")
    opened.page.locator("#baseline").select_option("0")
    assert opened.texts(column) == [before.replace("+", "−")]


def test_filtering(opened: Opened) -> None:
    count = opened.page.locator("#count")
    assert re.findall(r"\d+", count.inner_text()) == ["3"]
    opened.page.locator("#filter").fill("TEAR")
    assert opened.texts(NAMES) == ["0003_tear"]
    assert re.findall(r"\d+", count.inner_text()) == ["1", "3"]
    opened.page.locator("#filter").fill("nothing like it")
    assert opened.page.locator(f"{ROWS}[data-name]").count() == 0
    assert opened.page.locator(f"{ROWS} .empty").is_visible()
    opened.page.locator("#filter").fill("")
    assert opened.texts(NAMES) == list(SEQUENCES)


def test_objects_as_rows(opened: Opened) -> None:
    opened.page.locator('[data-rows="objects"]').click()
    assert opened.texts(f"{ROWS} td:nth-child(2)") == ["1", "2", "1", "1"]
    opened.page.locator(ROWS).nth(1).click()
    assert opened.page.url.endswith("#0001_cut/2")
    assert opened.page.locator('[data-choice="2"]').get_attribute("aria-pressed") == "true"
    assert opened.page.locator(f"{ROWS}[aria-current]").count() == 1


def test_choosing_with_the_mouse(opened: Opened) -> None:
    assert opened.chosen() == "0001_cut"
    opened.page.locator(ROWS).nth(2).click()
    assert opened.chosen() == "0003_tear"
    assert opened.page.url.endswith("#0003_tear")
    assert opened.page.locator(f"{ROWS}[aria-current]").inner_text().startswith("0003_tear")
    assert any("fifo" in note for note in opened.texts("#detail .notes li"))
    opened.page.locator('[data-step="-1"]').click()
    assert opened.chosen() == HTML_NAME


def test_choosing_with_the_keyboard(opened: Opened) -> None:
    keyboard = opened.page.keyboard
    assert opened.page.locator(f'{ROWS}[tabindex="0"]').count() == 1
    opened.page.locator("#baseline").focus()
    focused = "document.activeElement.closest('#table tbody tr')?.dataset.name"
    for _ in range(20):
        keyboard.press("Tab")
        if opened.page.evaluate(focused):
            break
    assert opened.page.evaluate(focused) == "0001_cut"
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    assert opened.chosen() == "0001_cut"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert opened.page.evaluate(outline) == "solid"
    keyboard.press("Enter")
    assert opened.chosen() == "0003_tear"
    keyboard.press("Home")
    keyboard.press(" ")
    assert opened.chosen() == "0001_cut"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("0003_tear", "0003_tear"),
        (quote(HTML_NAME), HTML_NAME),
        ("0001_cut/2", "0001_cut"),
        ("%E0%A4%A", SEQUENCES[0]),
        ("nowhere/9", SEQUENCES[0]),
    ],
)
def test_the_address_keeps_the_sequence(opened: Opened, address: str, name: str) -> None:
    opened.page.evaluate("address => { location.hash = address }", address)
    opened.page.wait_for_function(
        "name => document.querySelector('.detail-head h2').textContent === name", arg=name
    )
    opened.page.reload()
    assert opened.chosen() == name


def test_names_are_text(opened: Opened) -> None:
    assert opened.texts(NAMES)[1] == HTML_NAME
    assert opened.page.locator(f"{NAMES} b").count() == 0


def test_the_curve_reads_out_frames(opened: Opened) -> None:
    plot = opened.page.locator("svg.plot").first
    readout = opened.page.locator(".curve-box").locator("xpath=preceding-sibling::div[1]")
    assert plot.locator(".curve").count() == 2
    shade, last = plot.locator(".shade").bounding_box(), plot.locator(".curve").first.bounding_box()
    assert shade["x"] + shade["width"] == pytest.approx(last["x"] + last["width"], abs=2)
    whole = readout.inner_text()
    assert "frame0" not in whole
    plot.focus()
    opened.page.keyboard.press("ArrowRight")
    assert "frame00002" in readout.inner_text()
    opened.page.keyboard.press("End")
    assert "frame00020" in readout.inner_text()
    assert plot.locator('.point[visibility="visible"]').count() == 2
    box = plot.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "frame00012" in readout.inner_text()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] - 40)
    opened.page.locator("#filter").focus()
    assert readout.inner_text() == whole


def test_the_memory_says_when_frames_came_and_went(opened: Opened) -> None:
    timeline = opened.page.locator(".timeline").first
    rows, readout = timeline.locator(".stored"), timeline.locator(".readout")

    def told() -> list[str]:
        return re.findall(r"\d+(?:\.\d+)?|relevance|redundancy", readout.inner_text())

    assert rows.count() == 5
    assert told()[:2] == ["5", "2"]  # stored, dropped
    rows.first.focus()
    assert told()[0] == "0"
    opened.page.keyboard.press("ArrowDown")
    assert told() == ["5", "15", "15", "relevance", "0.200", "redundancy", "0.200"]
    box = rows.nth(1).locator(".track").bounding_box()
    opened.page.mouse.move(box["x"] + 3, box["y"] + 3)
    assert told()[:2] == ["5", "15"]


def test_the_memory_marks_references(opened: Opened) -> None:
    rows = opened.page.locator(".timeline").first.locator(".stored")
    rows.first.wait_for(state="attached")
    assert [row.locator(".reference").count() for row in rows.all()] == [1, 0, 0, 0, 1]
    assert ["reference" in row.get_attribute("aria-label") for row in rows.all()] == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_the_memory_is_shaded_by_a_score(opened: Opened) -> None:
    emfs, fifo = opened.page.locator(".timeline").first, opened.page.locator(".timeline").nth(1)
    opened.page.locator("#shading").select_option("redundancy")
    emfs.locator(".score").first.wait_for(state="attached")  # drawn once the browser reports the width
    fifo.locator(".stored").first.wait_for(state="attached")
    assert (
        emfs.locator(".score").count() == 4
    )  # two of the three frames stayed, at each of the two appends with scores
    assert fifo.locator(".stored").count() == 5
    assert fifo.locator(".score").count() == 0


def test_pictures_with_outlines(opened: Opened) -> None:
    figures = opened.page.locator("figure")
    assert figures.count() == 4  # two moments of two runs
    assert opened.page.evaluate(
        "Promise.all([...document.images].map(image => image.decode())).then(() => true)"
    )
    assert figures.first.locator(".of-truth").count() == 2
    assert figures.first.locator(".of-prediction").count() == 2
    truth = figures.first.locator(".truth").first
    assert truth.is_visible()
    opened.page.get_by_label("ground truth").uncheck()
    assert not truth.is_visible()
    assert figures.first.locator(".predicted").first.is_visible()


def test_light_and_dark(opened: Opened) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = opened.page.evaluate(background)
    opened.page.locator("#theme").click()
    dark = opened.page.evaluate(background)
    assert light != dark
    opened.page.reload()
    assert opened.page.evaluate(background) == dark
    opened.page.locator("#theme").click()
    assert opened.page.evaluate(background) == light


def test_follows_the_system(browser: "sync_api.Browser", report: Path) -> None:
    backgrounds = set()
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = Opened(context, report).page
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        context.close()
    assert len(backgrounds) == 2


def test_on_a_phone(browser: "sync_api.Browser", report: Path) -> None:
    context = browser.new_context(
        viewport={"width": 400, "height": 800}, has_touch=True, reduced_motion="reduce"
    )
    found = Opened(context, report)
    assert not found.overflows()
    found.page.locator('[data-rows="objects"]').click()
    found.page.locator(ROWS).nth(3).tap()
    assert found.chosen() == "0003_tear"
    assert not found.overflows()
    found.page.wait_for_function(
        "document.querySelector('.detail-head').getBoundingClientRect().top < innerHeight / 2"
    )
    box = "document.getElementById('table-box')"
    assert found.page.evaluate(f"{box}.scrollWidth > {box}.clientWidth")
    assert found.problems == []
    context.close()


def test_many_runs_and_long_names(browser: "sync_api.Browser", tmp_path: Path) -> None:
    values = page_data(3, runs=8)
    values["runs"][0]["name"] = "a_very_long_name_of_a_run/" * 4
    none = {"objects": 0, "j": None, "second": None}  # the first run has no scores, the second has more
    values["runs"][0] |= {"all": none, "common": none}
    values["runs"][1]["all"] = values["runs"][1]["all"] | {"objects": 12}
    values["sequences"][0]["name"] = "</script><script>document.title = 'broken'</script>" * 3
    write_page(tmp_path / "page.html", values)
    context = browser.new_context(viewport={"width": 400, "height": 800})
    found = Opened(context, tmp_path / "page.html")
    assert found.page.title().startswith("Large val")
    assert found.chosen() == values["sequences"][0]["name"]
    assert "9 objects" in found.texts("#run-notes li")[0]
    assert not found.overflows()
    assert found.problems == []
    context.close()
