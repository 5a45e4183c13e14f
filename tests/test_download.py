"""``aot-plus download`` from a local server that cuts connections, lies and answers with web pages."""

import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aot_plus.download import fetch as fetch_module
from aot_plus.download import get as get_module
from aot_plus.download import unpack as unpack_module
from aot_plus.download.get import Place, download
from aot_plus.networks.managers.summary import EvaluationSummary
from aot_plus.pipeline import run as run_module
from aot_plus.pipeline.run import Inference, Job
from aot_plus.tools import download as download_tool
from aot_plus.tools import eval as eval_tool
from aot_plus.tools import reproduce as reproduce_tool
from aot_plus.utils import sources
from aot_plus.utils.catalogue import PAPER_ROWS
from aot_plus.utils.config import get_config, model_names
from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import write_mask
from aot_plus.utils.sources import SOURCES, Publication, Source
from evaluation.folder_lock import FolderLock
from tests.download_server import Served, Server, serving
from tests.processes import wait_until

ROOT = Path(__file__).resolve().parents[1]
PAPER = Publication("A paper", "https://example.org/paper")
CONTENT = bytes([0x80, *range(2, 256)]) * 1000  # begins as a pickle does
CHANGED = CONTENT[:1] + CONTENT[:0:-1]
PART = 2**16  # bytes per write
FAILS = [PART, 0, 0, 0, 0, 0]  # enough cuts for a run to give up
NAME = "weights.pth"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Removes the wait between attempts, and sets an empty home."""
    monkeypatch.setattr(fetch_module, "_PAUSE", 0.0)
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))


Serve = Callable[..., Served]


@pytest.fixture
def serve(server: Server, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Serves a file, and adds it to the table of sources under the same name."""

    def serve_file(content: bytes = CONTENT, name: str = NAME, **how: object) -> Served:
        of_source = {key: how.pop(key) for key in ("size", "sha256", "unpacks_to") if key in how}
        url = str(how.pop("url", f"{server.url}/{name}"))
        source = Source(name, "a test", PAPER, url, **of_source)  # type: ignore[arg-type]
        monkeypatch.setitem(sources.SOURCES, name, source)
        server.files[f"/{name}"] = Served(content, **how)  # type: ignore[arg-type]
        return server.files[f"/{name}"]

    return serve_file


def get(*names: str) -> int:
    return download_tool.main([*(names or (NAME,))])


def folder(tmp_path: Path) -> Path:
    return tmp_path / "aot_plus" / "pretrain_models"


def fetched(tmp_path: Path, name: str = NAME) -> bytes:
    return (folder(tmp_path) / name).read_bytes()


def kept(tmp_path: Path, name: str = NAME) -> bytes:
    return (folder(tmp_path) / ".download" / name / "content").read_bytes()


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.partition("error: ")[2]


# --- a file


def test_a_file_is_put_in_place_and_noted(
    serve: Serve, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    serve(size=len(CONTENT))
    assert get() == 0
    assert fetched(tmp_path) == CONTENT
    assert sorted(path.name for path in folder(tmp_path).iterdir()) == [NAME, f"{NAME}.download.json"]
    record = json.loads((folder(tmp_path) / f"{NAME}.download.json").read_text())
    assert record["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert record["bytes"] == len(CONTENT)
    assert record["sha256"] in caplog.text
    assert "licence: " in caplog.text
    assert get() == 0  # nothing to do
    assert len(server.requests) == 1


def test_a_file_that_differs_from_before_is_logged(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serve()
    assert get() == 0
    (folder(tmp_path) / NAME).unlink()
    serve(CONTENT[:-1])
    caplog.clear()
    assert get() == 0
    (warning,) = [entry.message for entry in caplog.records if entry.levelname == "WARNING"]
    assert _sha(CONTENT) in warning


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_known_checksum_is_compared_and_a_wrong_file_kept(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(sha256=_sha(CONTENT)[:8])
    assert get() == 0
    serve(name="other.pth", sha256="0" * 8)
    assert get("other.pth") == 1
    message = error_of(capsys)
    assert re.search(f"{_sha(CONTENT)}, expected 00000000\\b", message)
    assert str(folder(tmp_path) / ".download" / "other.pth" / "content") in message
    assert kept(tmp_path, "other.pth") == CONTENT
    assert not (folder(tmp_path) / "other.pth").exists()


# --- cuts


def test_a_cut_download_resumes_with_ranges_of_the_same_version(
    serve: Serve, server: Server, tmp_path: Path
) -> None:
    serve(cuts=[PART, PART])
    assert get() == 0
    assert fetched(tmp_path) == CONTENT
    assert server.ranges() == ["", "bytes=65536-", "bytes=131072-"]
    assert [request.get("If-Range") for request in server.requests] == [None, '"1"', '"1"']


def test_a_download_that_is_always_cut_fails_and_the_next_run_resumes_it(
    serve: Serve, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = serve(cuts=FAILS.copy())
    assert get() == 1
    message = error_of(capsys)
    assert "65.5 kB of 255.0 kB" in message
    for by_hand in (f"{server.url}/{NAME}", PAPER.page, str(folder(tmp_path) / NAME)):
        assert by_hand in message
    assert kept(tmp_path) == CONTENT[:PART]
    asked = len(server.requests)
    file.cuts.clear()
    assert get() == 0
    assert fetched(tmp_path) == CONTENT
    assert server.ranges()[asked:] == ["bytes=65536-"]


@pytest.mark.parametrize("keeps_if_range", [True, False])
def test_a_changed_file_is_not_glued_to_the_old_one(
    serve: Serve, tmp_path: Path, keeps_if_range: bool
) -> None:
    serve(cuts=FAILS.copy())
    assert get() == 1
    serve(CHANGED, etag='"2"', keeps_if_range=keeps_if_range)
    assert get() == 0
    assert fetched(tmp_path) == CHANGED


@pytest.mark.parametrize("content", [CONTENT, CHANGED, CONTENT[:900]])
def test_without_a_version_the_existing_bytes_are_compared(
    serve: Serve, tmp_path: Path, content: bytes
) -> None:
    serve(etag="", cuts=FAILS.copy())
    assert get() == 1
    serve(content, etag="")
    assert get() == 0
    assert fetched(tmp_path) == content


def test_a_server_that_alternately_cuts_and_refuses_ranges_ends_the_download(
    serve: Serve, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    file = serve(cuts=[PART] * 20)
    file.refuses_ranges = True
    assert get() == 1
    assert PAPER.page in error_of(capsys)
    assert len(server.requests) < 10


def test_a_server_error_after_a_cut_is_retried(serve: Serve, tmp_path: Path) -> None:
    serve(cuts=[PART], problems=2)
    assert get() == 0
    assert fetched(tmp_path) == CONTENT


def test_without_ranges_a_cut_download_starts_over(serve: Serve, tmp_path: Path) -> None:
    serve(cuts=[PART], ranges=False)
    assert get() == 0
    assert fetched(tmp_path) == CONTENT


# --- lies and refusals


def test_more_is_announced_than_comes(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(announced=len(CONTENT) + 1000)
    assert get() == 1
    assert " of 256.0 kB" in error_of(capsys)
    assert not (folder(tmp_path) / NAME).exists()


def test_another_size_than_the_published_one_is_refused_at_once(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(size=1234)
    assert get() == 1
    assert re.search(r"\b255,000 .* 1,234\b", error_of(capsys))
    assert not (folder(tmp_path) / ".download").exists()


def test_a_cut_archive_whose_size_was_a_lie_is_found_out(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", CONTENT)
    serve(path.read_bytes()[:-100])
    assert get() == 1
    assert NAME in error_of(capsys)
    assert not (folder(tmp_path) / NAME).exists()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"status": 404}, "404 Not Found"),
        ({"status": 403}, "403 Forbidden"),
        ({"status": 503}, "503 Service Unavailable"),
        ({"kind": "text/html; charset=utf-8"}, " page "),
        ({"content": b"  <!DOCTYPE html><p>Quota".lstrip()}, " page "),
    ],
)
def test_a_response_that_is_no_file_is_reported_and_the_part_is_kept(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: dict[str, object], told: str
) -> None:
    serve(**how)
    assert get() == 1
    assert told in error_of(capsys)
    assert not folder(tmp_path).joinpath(NAME).exists()
    serve(cuts=FAILS.copy())
    assert get() == 1
    serve(**{"ranges": False, "etag": '"2"', **how})
    capsys.readouterr()
    assert get() == 1
    message = error_of(capsys)
    assert told in message
    assert PAPER.page in message
    assert "65.5 kB of 255.0 kB" in message
    assert kept(tmp_path) == CONTENT[:PART]


@pytest.mark.parametrize("content", [b"", b'{"error": "quota"}', b"\n <!DOCTYPE html><p>Quota"])
def test_content_that_is_no_checkpoint_is_not_kept_and_fetched_again(
    serve: Serve, tmp_path: Path, content: bytes
) -> None:
    serve(content)
    assert get() == 1
    assert not (folder(tmp_path) / NAME).exists()
    serve()
    assert get() == 0
    assert fetched(tmp_path) == CONTENT


def test_a_failed_download_does_not_stop_the_others(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(status=404)
    serve(name="other.pth")
    assert get(NAME, "other.pth") == 1
    assert "404 Not Found" in error_of(capsys)
    assert fetched(tmp_path, "other.pth") == CONTENT


def test_other_bytes_than_asked_for_are_refused(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = serve(cuts=FAILS.copy())
    assert get() == 1
    file.span = "bytes 5-9/10"
    capsys.readouterr()
    assert get() == 1
    assert re.search("bytes from 65536 .*bytes 5-9/10", error_of(capsys))
    assert kept(tmp_path) == CONTENT[:PART]


def test_no_network(serve: Serve, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    serve(url="http://127.0.0.1:1/weights.pth")
    assert get() == 1
    message = error_of(capsys)
    assert "Connection refused" in message
    assert PAPER.page in message


def test_a_file_too_large_for_the_disk_is_not_fetched(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(get_module.shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    assert get() == 1
    assert re.search(r"\b10\.0 kB .*\b255\.0 kB ", error_of(capsys))
    assert not (folder(tmp_path) / ".download").exists()


def test_a_disk_that_fills_up_is_reported(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve()
    work = folder(tmp_path) / ".download" / NAME
    work.mkdir(parents=True)
    (work / "content").symlink_to("/dev/full")
    assert get() == 1
    assert "No space left on device" in error_of(capsys)


# --- Google Drive

_CONFIRM = (
    '<html><body><form id="download-form" action="{url}/confirmed" method="get"><input type="submit">'
    '<input type="hidden" name="id" value="abc"><input type="hidden" name="confirm" value="t"></form>'
)
_QUOTA = """<html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p>
</body></html>"""


def _on_drive(server: Server, tmp_path: Path, page: str) -> Place:
    server.files["/uc"] = Served(page.format(url=server.url).encode(), kind="text/html", ranges=False)
    return Place(Source(NAME, "a test", PAPER, drive_id="abc"), folder(tmp_path))


def test_drives_page_is_confirmed_and_a_cut_resumed(server: Server, tmp_path: Path) -> None:
    place = _on_drive(server, tmp_path, _CONFIRM)
    server.files["/confirmed"] = Served(CONTENT, cuts=[PART])
    download(place, drive=f"{server.url}/uc")
    assert fetched(tmp_path) == CONTENT
    assert server.requests[0]["path"].startswith("/uc?id=abc")
    assert server.requests[1]["path"] == "/confirmed?id=abc&confirm=t"
    assert server.ranges()[1::2] == ["", "bytes=65536-"]


def test_a_confirmation_that_leads_to_itself_ends(server: Server, tmp_path: Path) -> None:
    place = _on_drive(server, tmp_path, _CONFIRM)
    server.files["/confirmed"] = Served(_CONFIRM.format(url=server.url).encode(), kind="text/html")
    with pytest.raises(DataError, match="5 pages"):
        download(place, drive=f"{server.url}/uc")


@pytest.mark.parametrize("status", [200, 403])
def test_drives_quota_message_is_passed_on(server: Server, tmp_path: Path, status: int) -> None:
    place = _on_drive(server, tmp_path, _QUOTA)
    server.files["/uc"].status = status
    with pytest.raises(DataError) as refusal:
        download(place, drive=f"{server.url}/uc")
    message = str(refusal.value)
    assert "Too many users have viewed or downloaded this file recently" in message
    assert "https://drive.google.com/file/d/abc/view" in message
    assert PAPER.page in message


# --- data


def make_archive(path: Path, top: str = "VOST/", *more: zipfile.ZipInfo) -> bytes:
    """Returns an archive of one small video in VOST's layout, with additional entries ``more``."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for frame in range(3):
            image, mask = path.with_name("frame.jpg"), path.with_name("frame.png")
            Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(image)
            labels = np.zeros((64, 64), np.uint8)
            labels[8:40, 8:40] = 1
            write_mask(mask, labels)
            for images in ("JPEGImages", "JPEGImages_10fps"):
                archive.write(image, f"{top}{images}/cut/{frame:05d}.jpg")
            archive.write(mask, f"{top}Annotations/cut/{frame:05d}.png")
        archive.writestr(f"{top}ImageSets/val.txt", "cut\n")
        for entry in more:
            archive.writestr(entry, "elsewhere")
    return path.read_bytes()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "aot_plus" / "datasets"


@pytest.mark.parametrize("top", ["VOST/", ""])
def test_data_is_unpacked_and_checked(
    serve: Serve, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], top: str
) -> None:
    serve(make_archive(tmp_path / "made.zip", top), "VOST.zip", unpacks_to="VOST")
    assert get("vost") == 0
    assert "1 sequence, 3 frames, 3 masks" in capsys.readouterr().out
    assert sorted(path.name for path in data.iterdir()) == ["VOST", "VOST.zip.download.json"]
    assert (data / "VOST" / "JPEGImages" / "cut" / "00002.jpg").stat().st_size
    assert get("vost") == 0
    assert capsys.readouterr().out == f"vost: {data / 'VOST'}\n"


def test_an_archive_that_was_put_there_by_hand_is_taken(
    serve: Serve, server: Server, tmp_path: Path, data: Path
) -> None:
    serve(b"", "VOST.zip", unpacks_to="VOST")
    data.mkdir(parents=True)
    make_archive(data / "VOST.zip")
    assert get("vost") == 0
    assert (data / "VOST" / "ImageSets" / "val.txt").is_file()
    assert server.requests == []


def test_stopped_unpacking_goes_on(
    serve: Serve, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(make_archive(tmp_path / "made.zip"), "VOST.zip", unpacks_to="VOST")
    extract, unpacked = unpack_module._extract, []

    def count(opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
        if len(unpacked) == 4:
            raise KeyboardInterrupt
        unpacked.append(info.filename)
        extract(opened, info, target)

    monkeypatch.setattr(unpack_module, "_extract", count)
    assert get("vost") == 130
    assert (data / "VOST.zip").is_file()
    assert not (data / "VOST").exists()
    first, unpacked[:] = unpacked[:], [""] * 5
    whole = data / ".download" / "VOST.zip" / "unpacked" / first[0]
    whole.with_name(".00000.x.partial.jpg").touch()  # as a killed run leaves it
    assert get("vost") == 0
    assert not set(first) & set(unpacked)
    assert not list(data.rglob(".*"))


def _entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    return entry


@pytest.mark.parametrize(
    "entry", [_entry("../../evil.txt"), _entry("/tmp/evil.txt"), _entry("VOST/link", stat.S_IFLNK | 0o777)]
)
def test_entries_that_lead_out_are_refused(
    serve: Serve, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], entry: zipfile.ZipInfo
) -> None:
    serve(make_archive(tmp_path / "made.zip", "VOST/", entry), "VOST.zip", unpacks_to="VOST")
    assert get("vost") == 1
    assert repr(entry.filename) in error_of(capsys)
    assert not [path for path in tmp_path.rglob("*.jpg") if path.parent != tmp_path]


def test_a_damaged_archive_is_reported_and_leaves_nothing_for_the_next(
    serve: Serve, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.writestr("VOST/old.txt", "old")
        archive.writestr("VOST/ImageSets/val.txt", "cut\n")
    damaged = (tmp_path / "made.zip").read_bytes().replace(b"cut\n", b"out\n")
    serve(damaged, "VOST.zip", unpacks_to="VOST")
    assert get("vost") == 1
    assert f"{data / 'VOST.zip'}: " in error_of(capsys)
    assert not (data / "VOST").exists()
    (data / "VOST.zip").unlink()
    serve(make_archive(tmp_path / "made.zip"), "VOST.zip", unpacks_to="VOST")
    assert get("vost") == 0
    assert not (data / "VOST" / "old.txt").exists()


@pytest.mark.parametrize("names", [["README"], []])
def test_an_archive_of_something_else_is_reported(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "nothing")
    serve((tmp_path / "made.zip").read_bytes(), "VOST.zip", unpacks_to="VOST")
    assert get("vost") == 1
    assert "ImageSets" in error_of(capsys)


def test_a_folder_in_the_archives_place_is_reported_before_anything_is_fetched(
    serve: Serve, server: Server, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(make_archive(tmp_path / "made.zip"), "VOST.zip", unpacks_to="VOST")
    (data / "VOST.zip").mkdir(parents=True)
    assert get("vost") == 1
    assert f"{data / 'VOST.zip'}: " in error_of(capsys)
    assert server.requests == []


# --- stopped, and twice at once

_RUN = """
import sys
from aot_plus.tools import download
from aot_plus.utils.sources import SOURCES, Publication, Source
name, url = sys.argv[1:]
SOURCES[name] = Source(name, "a test", Publication("A paper", "https://example.org"), url)
sys.exit(download.main([name]))
"""


def test_ctrl_c_keeps_what_came(serve: Serve, server: Server, tmp_path: Path) -> None:
    file = serve(cuts=[150_000], stalls=True)
    command = [sys.executable, "-c", _RUN, NAME, f"{server.url}/{NAME}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        content = folder(tmp_path) / ".download" / NAME / "content"
        wait_until(lambda: content.is_file() and content.stat().st_size, lambda: process.poll() is None)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith(f"{NAME}: ")
    file.stalls = False
    assert get() == 0
    assert fetched(tmp_path) == CONTENT


def test_a_second_download_of_a_file_is_refused(
    serve: Serve, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve()
    serve(name="other.pth")
    work = folder(tmp_path) / ".download" / NAME
    work.mkdir(parents=True)
    with FolderLock(work):
        assert get() == 1
        assert f"process {os.getpid()} " in error_of(capsys)
        assert get("other.pth") == 0
    assert len(server.requests) == 1


# --- the table and what uses it


def test_the_list_names_everything_with_its_state(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(cuts=FAILS.copy())
    assert get() == 1
    (folder(tmp_path) / "R50_AOTL.pth").write_bytes(b"there")
    capsys.readouterr()
    assert download_tool.main([]) == 0
    page = capsys.readouterr().out
    lines = {line.split()[0]: line for line in page.splitlines() if line.startswith("  ")}
    assert {"vost", *SOURCES} - {"VOST.zip"} <= lines.keys()
    assert " there " in lines["R50_AOTL.pth"]
    assert " missing " in lines["AOT_EMFS.pth"]
    assert "54.0 GB" in lines["vost"]
    assert "65.5 kB of 255.0 kB" in lines[NAME]
    assert "CC BY-NC-SA 4.0" in page
    assert all(source.publication.page in page for source in SOURCES.values())


def test_the_table_covers_the_papers_rows() -> None:
    assert [row.checkpoint for row in PAPER_ROWS if not SOURCES[row.checkpoint].drive_id] == []


def test_the_table_covers_what_the_configs_begin_with() -> None:
    configs = [get_config("pre_vost_2", model) for model in model_names()]
    named = {file for cfg in configs for file in (cfg.PRETRAIN_MODEL, cfg.PRETRAIN_ENCODER) if file}
    assert named <= SOURCES.keys()


def test_unknown_names_are_refused_before_anything_is_fetched(
    serve: Serve, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    serve()
    assert get(NAME, "r50_aotl", "AOT_EMF.pth") == 1
    first, second, known = error_of(capsys).splitlines()
    assert "'r50_aotl'" in first
    assert "R50_AOTL.pth" in first
    assert "'AOT_EMF.pth'" in second
    assert "AOT_EMFS.pth" in second
    assert {"vost", *SOURCES} - {"VOST.zip"} <= set(known.replace(",", "").split())
    assert not server.requests


def test_unknown_rows_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert download_tool.main(["--row", "5"]) == 1
    assert re.search("^--row: .*'5'", error_of(capsys))


def test_a_file_without_an_address_is_fetched_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert get("resnest101-22405ba7.pth") == 1
    assert "https://github.com/zhanghang1989/ResNeSt" in error_of(capsys)


# --- eval and reproduce


def test_eval_gets_what_it_lacks_and_goes_on(
    serve: Serve,
    tmp_path: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs: list[Job] = []

    def note(job: Job) -> Inference:
        jobs.append(job)
        return Inference(job, EvaluationSummary())

    monkeypatch.setattr(run_module, "infer", note)
    serve(name="mine.pth")
    serve(make_archive(tmp_path / "made.zip"), "VOST.zip", unpacks_to="VOST")
    flags = ["--model", "aot_mini", "--checkpoint", "mine.pth", "--dataset", "vost", "--no_metric"]
    assert eval_tool.main(flags) == 1
    assert " download vost " in error_of(capsys)
    assert eval_tool.main([*flags, "--download"]) == 0
    (job,) = jobs
    assert job.checkpoint == folder(tmp_path) / "mine.pth"
    assert job.open_dataset().root == data / "VOST"


def test_eval_does_not_download_in_every_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert eval_tool.main(["--download"]) == 1
    assert "aot-plus download AOT_EMFS.pth vost" in error_of(capsys)


def test_reproduce_gets_what_the_chosen_rows_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def note(names: list[str], data: Path, checkpoints: Path) -> None:
        asked.append(names)
        raise DataError("no network")

    monkeypatch.setattr(download_tool, "get_all", note)
    assert reproduce_tool.main(["--download", "--rows", "2", "4"]) == 1
    assert asked == [["AOT_EMFS.pth", "DeAOT_EMFS.pth", "vost"]]


def test_messages_name_the_command_and_the_paper() -> None:
    for name in ("vost", "AOT_EMFS.pth", "R50_AOTL_PRE_YTB_DAV.pth"):
        source = sources.find_source(name)
        assert source is not None
        told = sources.how_to_get(name)
        assert f"download {name}" in told
        assert source.publication.title in told
        assert source.publication.page in told
