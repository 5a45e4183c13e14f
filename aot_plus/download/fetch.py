"""Downloads a file over HTTP, and resumes where an earlier attempt was cut off."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

import requests

from aot_plus.download.part import Part, Version
from aot_plus.utils.errors import DataError
from aot_plus.utils.sources import PAGE_STARTS
from evaluation.files import writing
from evaluation.progress import ProgressBar

__all__ = ["Opener", "fetch", "is_page", "open_url"]

_log = logging.getLogger(__name__)

_BLOCK = 2**16  # bytes; a cut connection loses less than one block
_OVERLAP = 2**16  # bytes that are compared if a server does not state the file's version
_TIMEOUT = (30.0, 60.0)  # seconds to connect, and to wait for the next byte
_TRIES = 5  # attempts in a row without a new byte
_PAUSE = 2.0  # seconds between two attempts, doubled each time
_REFUSED = {
    401: "it wants a login",
    403: "it refuses the file",
    404: "the file is no longer there",
    410: "the file is no longer there",
    429: "too many requests; try later",
}

# Returns a server's response to a GET with these headers; the body is not read yet.
Opener = Callable[[requests.Session, Mapping[str, str]], requests.Response]


class _Cut(Exception):
    """Reports that the connection ended before the file was complete; its message says why, if known."""


class _Changed(Exception):
    """Reports that the file on the server is not the one that was partly downloaded."""


@dataclass(frozen=True)
class _Answer:
    """Holds the bytes of a file that a server sends, from ``start`` on."""

    start: int
    version: Version
    blocks: Iterator[bytes]


def open_url(session: requests.Session, url: str, headers: Mapping[str, str]) -> requests.Response:
    """Requests a file without compression, since ranges count the bytes of the file itself."""
    plain = {"Accept-Encoding": "identity", **headers}
    return session.get(url, headers=plain, stream=True, timeout=_TIMEOUT)


def fetch(part: Part, open_file: Opener, check_size: Callable[[int], None]) -> None:
    """Completes the part, and retries if the connection is cut.

    Args:
        part: what earlier attempts have downloaded. It is kept unless the server now has another file.
        open_file: sends the request to the server.
        check_size: called with the size that the server announces, before anything is written; raises if the
            size cannot be right.
    Raises:
        DataError: the server cannot be reached, refuses, answers with a page, or keeps cutting the
            connection; or the disk is full.
    """
    most, vain = part.size, 0
    with requests.Session() as session:
        while not part.is_complete:
            try:
                _receive(part, session, open_file, check_size)
                return
            except _Changed as changed:
                vain += 1
                if vain >= _TRIES:
                    raise DataError("the file on the server changes again and again") from changed
                _log.warning("%s: the file on the server has changed: starting again", part.folder.name)
                part.begin(Version())
            except _Cut as cut:
                what = str(cut) or f"the connection was cut after {part.describe()}"
                if part.size > most:
                    most, vain = part.size, 0
                elif vain + 1 >= _TRIES or not vain:  # no new bytes in this run, or not for a while
                    raise DataError(what) from cut
                vain += 1
                _log.warning("%s: %s; trying again", part.folder.name, what)
                time.sleep(_PAUSE * 2**vain)


def _receive(
    part: Part, session: requests.Session, open_file: Opener, check_size: Callable[[int], None]
) -> None:
    """Requests the rest and appends what arrives. Raises ``_Cut`` if that is not all, and ``_Changed``."""
    start = part.size if part.version.validator else max(0, part.size - _OVERLAP)
    try:
        response = open_file(session, _range(start, part.version.validator))
    except requests.RequestException as error:
        raise _Cut(f"the server cannot be reached ({_reason(error)})") from error
    with response:
        answer = _read_answer(response, start)
        if answer.version.size is not None:
            check_size(answer.version.size)
        _append(part, _joined(part, answer) if answer.start else _begun(part, answer))
    if not part.is_complete and part.version.size is not None:
        raise _Cut
    part.note(replace(part.version, size=part.size))


def _range(start: int, validator: str) -> dict[str, str]:
    """Returns the headers that request the bytes from ``start`` on, of this version only."""
    return {"Range": f"bytes={start}-"} | ({"If-Range": validator} if validator else {}) if start else {}


def _read_answer(response: requests.Response, start: int) -> _Answer:
    """Reads the response's headers.

    Raises ``DataError`` if it is not the file, ``_Changed`` if the file has become shorter, and ``_Cut``.
    """
    headers, code = response.headers, response.status_code
    if start and code == requests.codes.requested_range_not_satisfiable:
        raise _Changed
    _refuse(response)
    if is_page(response):
        raise DataError("the server answered with a page instead of the file")
    given, total = 0, headers.get("Content-Length", "")
    if code == requests.codes.partial_content:
        span = headers.get("Content-Range", "")
        parts = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", span)
        if parts is None or int(parts[1]) != start:
            raise DataError(
                f"the server was asked for the bytes from {start} on, but sent {span or 'others'}"
            )
        given, total = start, parts[2]
    version = Version(
        int(total) if total.isdecimal() else None, headers.get("ETag", ""), headers.get("Last-Modified", "")
    )
    return _Answer(given, version, _blocks(response))


def _refuse(response: requests.Response) -> None:
    """Raises ``DataError`` for a status that means there is no file, ``_Cut`` for a temporary problem."""
    code = response.status_code
    answer = f"the server answered {code} {response.reason}"
    if code >= 500:
        raise _Cut(f"{answer}: it has a problem; try later")
    if not response.ok:
        raise DataError(f"{answer}: {_REFUSED.get(code, 'it gives no file')}")


def is_page(response: requests.Response) -> bool:
    """Returns whether the response is an HTML page instead of a file."""
    return "html" in response.headers.get("Content-Type", "")


def _joined(part: Part, answer: _Answer) -> Iterator[bytes]:
    """Returns the bytes that follow the part. Raises ``_Changed`` if they belong to another file."""
    if part.version.differs_from(answer.version):
        raise _Changed
    known = part.tail(answer.start)
    again, rest = _split(answer.blocks, len(known))
    if again != known:
        raise _Changed
    return rest


def _begun(part: Part, answer: _Answer) -> Iterator[bytes]:
    """Empties the part and returns all bytes. Raises ``DataError`` if they are an HTML page."""
    head, rest = _split(answer.blocks, max(map(len, PAGE_STARTS)))
    if head.lower().startswith(PAGE_STARTS):
        raise DataError("the server answered with a page instead of the file")
    if part.size:
        _log.warning("%s: the server sends the file only from its start", part.folder.name)
    part.begin(answer.version)
    return chain([head], rest)


def _split(blocks: Iterator[bytes], count: int) -> tuple[bytes, Iterator[bytes]]:
    """Returns the first ``count`` bytes, or all if there are fewer, and an iterator over the rest."""
    head = b""
    while len(head) < count and (block := next(blocks, b"")):
        head += block
    return head[:count], chain([head[count:]], blocks)


def _append(part: Part, blocks: Iterator[bytes]) -> None:
    """Appends to the part, with a progress bar. Raises ``DataError`` on a full disk, and ``_Cut``."""
    bar = ProgressBar(
        total=part.version.size, initial=part.size, desc=part.folder.name, unit="B", unit_scale=True
    )
    with bar, writing(part.content), part.content.open("ab") as file:
        for block in blocks:
            file.write(block)
            bar.update(len(block))


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """Yields the body as it arrives. Raises ``_Cut`` if the connection breaks."""
    try:
        yield from response.iter_content(_BLOCK)
    except requests.RequestException as error:
        raise _Cut from error


def _reason(error: requests.RequestException) -> str:
    """Returns the message of the root cause, which is the shortest description of what happened."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    return str(cause) or type(cause).__name__
