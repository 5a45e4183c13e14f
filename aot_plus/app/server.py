"""Serves the page on this machine, for the person using it and nobody else."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aot_plus.app.session import Session
from aot_plus.utils.errors import ConfigError
from evaluation.files import writing
from evaluation.folder_lock import FolderLock

__all__ = ["LOCAL", "LOCAL_NAMES", "OwnPageOnly", "serving"]

LOCAL = "127.0.0.1"
_EVERYWHERE = ("0.0.0.0", "::")
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@contextmanager
def serving(session: Session, host: str = LOCAL, port: int | None = None) -> Iterator[str]:
    """Serves the page in background threads during the block; yields its address.

    Args:
        session: the session that the page shows; closed at the end.
        host: the address to listen on.
        port: the port; None for the first free one from 7860.

    Raises:
        ConfigError: if it cannot listen there.
        DataError: if another program is serving the same projects.
    """
    _require_free(host, port)
    uploads = session.projects / ".uploads"
    with writing(uploads):
        session.projects.mkdir(parents=True, exist_ok=True)
    with FolderLock(session.projects):
        shutil.rmtree(uploads, ignore_errors=True)  # left by a killed program
        with writing(uploads):
            uploads.mkdir()
        try:
            blocks, address = _launch(session, uploads.resolve(), host, port)
            try:
                yield address
            finally:
                session.close()
                blocks.close(verbose=False)
        finally:
            shutil.rmtree(uploads, ignore_errors=True)


def _launch(session: Session, uploads: Path, host: str, port: int | None) -> tuple[Any, str]:
    """Starts Gradio. Returns its blocks and the address."""
    # Set before Gradio is imported, because it reads them then. They also keep it off the network.
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(uploads),
        "HF_HUB_OFFLINE": "1",
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), *LOCAL_NAMES))),
    }
    from starlette.middleware import Middleware

    from aot_plus.app.look import page_head, page_style, page_theme
    from aot_plus.app.page import build_page

    blocks = build_page(session, uploads)
    with _listening(host, port):
        _, address, _ = blocks.launch(
            server_name=f"[{host}]" if ":" in host else host,
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            enable_monitoring=False,
            mcp_server=False,
            footer_links=[],
            theme=page_theme(),
            css=page_style(),
            head=page_head(),
            app_kwargs={"middleware": [Middleware(OwnPageOnly, host=host), Middleware(FreshFiles)]},
        )
    return blocks, address


def _require_free(host: str, port: int | None) -> None:
    """Raises ``ConfigError`` if the address cannot be bound: Gradio would try a hundred ports first."""
    with _listening(host, port):
        found = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)
        family, kind, _, _, address = found[0]
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Gradio does
            trial.bind(address)


@contextmanager
def _listening(host: str, port: int | None) -> Iterator[None]:
    """Turns an ``OSError`` in the block into a ``ConfigError`` that names the address."""
    try:
        yield
    except OSError as error:
        flags = f"--host {host}" if port is None else f"--host {host} --port {port}"
        raise ConfigError(f"{flags}: cannot listen there ({error.strerror or error})") from error


class OwnPageOnly:
    """Refuses requests from other pages in the same browser: from another origin or to a foreign host name.

    Any website can send requests to 127.0.0.1, and can make its own host name resolve to it (DNS rebinding).
    """

    def __init__(self, app: Any, host: str) -> None:
        self._app = app
        self._names = None if host in _EVERYWHERE else {*LOCAL_NAMES, host}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and not self._is_own(dict(scope["headers"])):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"Requests from other websites are refused."})
            return
        await self._app(scope, receive, send)

    def _is_own(self, headers: dict[bytes, bytes]) -> bool:
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if self._names is not None and urlsplit(f"//{host}").hostname not in self._names:
            return False
        return not origin or urlsplit(origin).netloc == host


class FreshFiles:
    """Lets no browser show a served file that it has kept: the next export has the same address."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_fresh(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], (b"cache-control", b"no-store")]}
            await send(message)

        is_file = scope["type"] == "http" and "/file=" in scope["path"]
        await self._app(scope, receive, send_fresh if is_file else send)
