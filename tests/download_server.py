"""A web server on the local machine that serves files and misbehaves when told to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Served:
    """A file and how it is served.

    Attributes:
        cuts: for each of the first connections, the number of bytes of the body after which it ends.
        announced: the size in bytes that the headers falsely announce; None for the real size.
        ranges: whether range requests are honoured.
        keeps_if_range: whether ``If-Range`` is honoured: a changed file is sent whole.
        span: a false ``Content-Range`` for the headers of a partial response; empty for the real one.
        refuses_ranges: whether a range request gets an error.
        problems: how many of the first range requests get a 503.
        stalls: whether the connection stays open, but silent, at a cut.
    """

    content: bytes
    etag: str = '"1"'
    modified: str = ""
    kind: str = "application/octet-stream"
    status: int = 200
    cuts: list[int] = field(default_factory=list)
    announced: int | None = None
    ranges: bool = True
    keeps_if_range: bool = True
    span: str = ""
    refuses_ranges: bool = False
    problems: int = 0
    stalls: bool = False


class Server:
    """The served files by path, and the headers of the requests so far."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[dict[str, str]] = []
        self.url = ""
        self.ended = threading.Event()

    def ranges(self) -> list[str]:
        """Returns the requested ranges; an empty string for a whole file."""
        return [headers.get("Range", "") for headers in self.requests]


class _Handler(BaseHTTPRequestHandler):
    served: Server

    def log_message(self, *_: object) -> None:
        """Stays silent."""

    def do_GET(self) -> None:
        self.close_connection = True
        headers = dict(self.headers)
        self.served.requests.append({"path": self.path, **headers})
        file = self.served.files.get(urlsplit(self.path).path)
        if file is None:
            self.send_error(404)
            return
        start = int(headers["Range"].removeprefix("bytes=").rstrip("-")) if "Range" in headers else 0
        named = headers.get("If-Range", file.etag or file.modified)
        changed = file.keeps_if_range and named not in (file.etag, file.modified)
        if not file.ranges or changed:
            start = 0
        total = len(file.content) if file.announced is None else file.announced
        if start and file.problems:
            file.problems -= 1
            self.send_error(503)
            return
        if start and (file.refuses_ranges or start >= total):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.end_headers()
            return
        self._send_headers(file, start, total)
        body = file.content[start:]
        if file.cuts:
            body = body[: file.cuts.pop(0)]
        self.wfile.write(body)
        self.wfile.flush()
        if file.stalls:
            self.served.ended.wait(60)

    def _send_headers(self, file: Served, start: int, total: int) -> None:
        self.send_response(206 if start else file.status)
        self.send_header("Content-Type", file.kind)
        self.send_header("Content-Length", str(total - start))
        if start:
            self.send_header("Content-Range", file.span or f"bytes {start}-{total - 1}/{total}")
        for name, value in (("ETag", file.etag), ("Last-Modified", file.modified)):
            if value:
                self.send_header(name, value)
        self.end_headers()


@contextmanager
def serving() -> Iterator[Server]:
    """Runs a server on a free port of 127.0.0.1 while the block runs."""
    server = Server()
    handler = type("Handler", (_Handler,), {"served": server})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            listening.shutdown()
            thread.join()
