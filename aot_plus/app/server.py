"""Serves the page on this machine, for the person at it and nobody else."""

import os
import shutil
from typing import Any
from urllib.parse import urlsplit

from aot_plus.app.session import Session
from aot_plus.utils.errors import ConfigError
from evaluation.files import writing

__all__ = ["LOCAL", "serve"]

LOCAL = "127.0.0.1"
_EVERYWHERE = ("0.0.0.0", "::", "")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def serve(session: Session, host: str = LOCAL, port: int | None = None) -> tuple[str, Any]:
    """Starts the page in threads of its own.

    Args:
        session: what the page shows.
        host: the address to listen at.
        port: None takes the first free one from 7860.

    Returns:
        The page's address, and Gradio's blocks, to ``close``.

    Raises:
        ConfigError: if it cannot listen there.
    """
    uploads = session.projects / ".uploads"
    with writing(uploads):
        shutil.rmtree(uploads, ignore_errors=True)
        uploads.mkdir(parents=True)
    # Before Gradio is imported: it reads them then. It asks the network for nothing.
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(uploads),
        "HF_HUB_OFFLINE": "1",
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), *_LOCAL_NAMES))),
    }
    from starlette.middleware import Middleware

    from aot_plus.app.look import page_head, page_style, page_theme
    from aot_plus.app.page import build_page

    blocks = build_page(session, uploads)
    try:
        _, address, _ = blocks.launch(
            server_name=host,
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
            app_kwargs={"middleware": [Middleware(OwnPageOnly, host=host)]},
        )
    except OSError as error:
        raise ConfigError(f"--host {host} --port {port}: cannot listen there ({error})") from error
    return address, blocks


class OwnPageOnly:
    """Refuses what other pages in the same browser ask: of another origin, or under a strange host name.

    A page from anywhere can send requests to 127.0.0.1, and can have its own name lead there.
    """

    def __init__(self, app: Any, host: str) -> None:
        self._app = app
        self._names = None if host in _EVERYWHERE else {*_LOCAL_NAMES, host}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and not self._is_own(dict(scope["headers"])):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"This page is for its own machine only."})
            return
        await self._app(scope, receive, send)

    def _is_own(self, headers: dict[bytes, bytes]) -> bool:
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if self._names is not None and urlsplit(f"//{host}").hostname not in self._names:
            return False
        return not origin or urlsplit(origin).netloc == host
