"""The guard before the page: only the page's own addresses, no others' pages, bounded requests, nothing from elsewhere.

Gradio answers at many more addresses than the page needs, among them some that fetch what others name or that talk to
a hub. What is not listed here does not exist.
"""

import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dnnlib.limits import KIB, MIB

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

API = "/gradio_api"
UPLOAD = f"{API}/upload"
READ = re.compile(
    rf"/|/(assets|static)/.*|/(theme\.css|config|favicon\.ico|robots\.txt|manifest\.json)"
    rf"|{API}/(info|startup-events|theme\.css|queue/data|upload_progress|heartbeat/\w+)"
)
WRITE = re.compile(rf"{API}/(upload|queue/join|run/predict|cancel|reset)/?")
BODY = 1 * MIB  # bytes of a request that carries no photo
ENVELOPE = 64 * KIB  # bytes around the photos in a request
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
# Addresses of others in the page's text, which browsers do not follow: for previews, and of examples of files.
PREVIEW = re.compile(rb'\s*<meta\s+(?:property|name)="(?:og|twitter):[^>]*>')
EXAMPLE = re.compile(rb'"https://[^"]*gradio-app[^"]*"')


class TooLargeError(Exception):
    """A request has a body beyond its limit."""


class Guard:
    """ASGI application that lets through what the page needs.

    Args:
        app: the page.
        folder: folder whose files may be fetched.
        hosts: names by which the page may be called; empty: any.
        upload_bytes: most bytes of the photos in one request.
    """

    def __init__(self, app: App, folder: Path, hosts: Collection[str], upload_bytes: int) -> None:
        self.app = app
        self.files = f"{API}/file={folder.as_posix()}/"
        self.hosts = {host.lower() for host in hosts}
        self.upload_bytes = upload_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it to the page."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
        refusal = self._refusal(scope["method"], scope["path"], headers)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        # Nothing is compressed: on this machine that only takes time, and the page's text is looked at.
        scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0].lower() != b"accept-encoding"]}
        answer = _Answer(send, is_page=scope["path"] == "/")
        limit = self.upload_bytes + ENVELOPE if scope["path"].startswith(UPLOAD) else BODY
        try:
            await self.app(scope, _bounded(receive, limit), answer)
        except TooLargeError:
            if not answer.has_begun:
                await _answer(send, 413, f"at most {limit / MIB:.1f} MiB are taken here")

    def _refusal(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return code and reason of what is not let through."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.hosts and _name(host) not in self.hosts:
            return 403, "this page is not called by that name; see --public-url"
        if origin is not None and _netloc(origin) != host.lower() and _name(_netloc(origin)) not in self.hosts:
            return 403, "another page may not use this one"
        is_read, is_write = method in ("GET", "HEAD"), method == "POST"
        if (is_read and (READ.fullmatch(path) or self._is_file(path))) or (is_write and WRITE.fullmatch(path)):
            return None
        return 404, "there is nothing here"

    def _is_file(self, path: str) -> bool:
        return path.startswith(self.files) and ".." not in path.split("/")


class _Answer:
    """Sends what the page answers with `HEADERS`, and the page itself without the addresses of others."""

    def __init__(self, send: Send, is_page: bool) -> None:
        self.send = send
        self.is_page = is_page
        self.has_begun = False
        self.start: Message = {}
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            self.start = {**message, "headers": [*message["headers"], *ours]}
            self.has_begun = True
            if not self.is_page:
                await self.send(self.start)
        elif not self.is_page:
            await self.send(message)
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                await self._send_page()

    async def _send_page(self) -> None:
        body = EXAMPLE.sub(b'""', PREVIEW.sub(b"", self.body))
        headers = [pair for pair in self.start["headers"] if pair[0].lower() != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        await self.send({**self.start, "headers": [*headers, length]})
        await self.send({"type": "http.response.body", "body": body})


def _bounded(receive: Receive, limit: int) -> Receive:
    """Return `receive` that raises TooLargeError once a body has more bytes than `limit`."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise TooLargeError
        return message

    return bounded


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def _netloc(origin: str) -> str:
    return origin.partition("://")[2].lower()


def _name(netloc: str) -> str:
    """Return the host in `host:port`, lower case and without the brackets of IPv6; empty for nonsense."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""
