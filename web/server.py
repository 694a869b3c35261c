"""Serving the page: its folder, its address, and its end."""

import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from dnnlib.errors import UserError, one_line
from web.guard import Guard
from web.studio import Studio

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")
LAST_SECONDS = 1  # that requests have when the page ends


@dataclass(frozen=True)
class Address:
    """Where the page is.

    Attributes:
        host: name or number of the machine that is listened on.
        port: port that is listened on; 0: any that is free.
        public_url: address at which a proxy shows the page; None: there is none.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    public_url: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.public_url or "http://localhost")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UserError(f"--public-url={self.public_url} is no address; write for example https://example.org/cats")

    @property
    def names(self) -> set[str]:
        """Names by which the page may be called; empty: any, as where every network is listened on."""
        if self.host in EVERYWHERE:
            return set()
        public = urlsplit(self.public_url).hostname if self.public_url else None
        return {*LOOPBACK, self.host, *([public] if public else [])}

    def listen(self) -> socket.socket:
        """Return a socket that listens; raise UserError where that is not possible."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family)
        except OSError as error:
            raise UserError(
                f"--host={self.host} --port={self.port} cannot be listened on: {one_line(error)}",
                "choose another port, or --port=0 for any that is free",
            ) from error


def serve(studio: Studio, address: Address, folder: Path) -> None:
    """Serve the page until a signal ends it.

    Args:
        studio: the network.
        address: address to listen on.
        folder: folder that `page_folder` returned.

    Raises UserError where the address cannot be listened on.
    """
    with address.listen() as listener:
        server = make_server(studio, address, folder)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"The page is at {address.public_url or f'http://{shown}:{port}/'} until Ctrl-C")
        with ending(server):
            server.run(sockets=[listener])


def make_server(studio: Studio, address: Address, folder: Path) -> "uvicorn.Server":
    """Return the server of the page, whose files are in `folder`."""
    import gradio as gr
    import uvicorn
    from fastapi import FastAPI
    from gradio import processing_utils

    from web.page import CSS, build_page, theme
    from web.results import Results

    processing_utils.async_ssrf_protected_get = _fetch_nothing
    page = build_page(studio, Results(folder))
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page,
        "",
        footer_links=[],
        run_history=False,
        root_path=address.public_url,
        show_error=False,
        max_file_size=studio.limits.bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=CSS,
    )
    guard = Guard(app, folder, address.names, studio.limits.bytes)
    config = uvicorn.Config(
        guard,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    return uvicorn.Server(config)


@contextlib.contextmanager
def page_folder() -> Iterator[Path]:
    """Yield a new folder, in which this process puts all files that have no other place; remove it at the end.

    Gradio makes its own folder when it is imported, so that happens here. It reports no use, and looks for no newer
    version.

    Raises UserError where Gradio is not installed.
    """
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="qc-stylegan-web-")))
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    # Gradio imports matplotlib where that is installed, which keeps its fonts.
    places = dict.fromkeys(("GRADIO_TEMP_DIR", "GRADIO_EXAMPLES_CACHE", "MPLCONFIGDIR"), str(folder))
    os.environ.update(places, GRADIO_ANALYTICS_ENABLED="False")
    try:
        _import_gradio()
        yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def ending(server: "uvicorn.Server") -> Iterator[None]:
    """Let signals end a server, and the program go on behind it."""

    def end(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    previous = {number: signal.signal(number, end) for name in names if (number := getattr(signal, name, None))}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _import_gradio() -> None:
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise UserError(f"the page needs Gradio ({one_line(error)})", "pip install 'gradio>=6.31,<7'") from error


async def _fetch_nothing(url: str) -> Any:
    """Take the place of Gradio's download of files that requests name by their addresses."""
    raise UserError("files of other servers are not fetched", "send the file itself")
