"""The guard: which addresses exist, who may call, how much a request may carry, and what answers say."""

import asyncio
from pathlib import Path

import pytest

from web.guard import BODY, ENVELOPE, Guard

FOLDER = Path("/pages/one")
HOSTS = ("127.0.0.1", "localhost", "cats.example.org")
PAGE = b"""<head><meta
 property="og:image"
 content="https://raw.example/x.jpg" />
<meta name="twitter:card" content="x"><meta charset="utf-8"></head>
{"example_inputs": "https://github.com/gradio-app/gradio/raw/x.pdf", "a": 1}"""


async def page(scope, receive, send):
    """Read the whole body, then answer with the page."""
    while (await receive()).get("more_body"):
        pass
    encodings = [value for name, value in scope["headers"] if name == b"accept-encoding"]
    assert not encodings
    length = (b"content-length", str(len(PAGE)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": PAGE[:50], "more_body": True})
    await send({"type": "http.response.body", "body": PAGE[50:]})


def call(path, method="GET", headers=(), body=b"", hosts=HOSTS, upload=1000):
    """Return code, headers and body of the answer to a request."""
    sent, chunks = [], [body[start : start + 4096] for start in range(0, len(body), 4096)] or [b""]

    async def receive():
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message):
        sent.append(message)

    given = {"host": "127.0.0.1:7860", "accept-encoding": "br", **dict(headers)}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    asyncio.run(Guard(page, FOLDER, hosts, upload)(scope, receive, send))
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), content


READ = ["/", "/assets/index.js", "/static/fonts/a.woff2", "/theme.css", "/config", "/gradio_api/queue/data"]
READ += ["/gradio_api/file=/pages/one/abc/image.png", "/gradio_api/heartbeat/abc123", "/favicon.ico"]
WRITE = ["/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/predict"]
ABSENT = ["/monitoring", "/gradio_api/proxy=https://example.org", "/gradio_api/file=https://example.org/a.png"]
ABSENT += [
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=/pages/one/../../etc/passwd",
    "/gradio_api/file=/pages/one2/a",
]
ABSENT += ["/gradio_api/runs", "/gradio_api/run-history/buckets", "/gradio_api/deep_link", "/docs", "/openapi.json"]
ABSENT += ["/gradio_api/vibe-code/", "/gradio_api/dev/reload", "/login", "/gradio_api/stream/a/close"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", path, 200) for path in READ]
    + [("POST", path, 200) for path in WRITE]
    + [("GET", path, 404) for path in [*ABSENT, "/gradio_api/queue/join"]]
    + [("POST", path, 404) for path in [*ABSENT, "/gradio_api/call/open", "/gradio_api/api/open", "/"]]
    + [("PUT", "/", 404), ("DELETE", "/gradio_api/upload", 404)],
)
def test_only_what_the_page_needs_is_there(method, path, status):
    assert call(path, method)[0] == status


@pytest.mark.parametrize(
    ("headers", "hosts", "status"),
    [
        ({"host": "localhost:7860"}, HOSTS, 200),
        ({"host": "CATS.example.org"}, HOSTS, 200),
        ({"host": "evil.example.org"}, HOSTS, 403),  # a name of others that leads to this machine
        ({"host": ""}, HOSTS, 403),
        ({"host": "[::1"}, HOSTS, 403),
        ({"host": "anything:7860"}, (), 200),
        ({"origin": "http://127.0.0.1:7860"}, HOSTS, 200),
        ({"origin": "https://cats.example.org"}, HOSTS, 200),
        ({"origin": "https://evil.example.org"}, HOSTS, 403),
        ({"origin": "null"}, HOSTS, 403),
        ({"host": "box:80", "origin": "http://box:80"}, (), 200),
        ({"host": "box:80", "origin": "http://evil"}, (), 403),
        ({"host": "box:80", "origin": "null"}, (), 403),
    ],
)
def test_pages_of_others_are_kept_away(headers, hosts, status):
    assert call("/gradio_api/upload", "POST", headers, hosts=hosts)[0] == status
    assert call("/", headers=headers, hosts=hosts)[0] == status


def test_bodies_are_bounded():
    photo = 3000
    assert call("/gradio_api/upload", "POST", body=bytes(photo + ENVELOPE), upload=photo)[0] == 200
    status, _, text = call("/gradio_api/upload", "POST", body=bytes(photo + ENVELOPE + 1), upload=photo)
    assert (status, text) == (413, b"at most 0.1 MiB are taken here")
    assert call("/gradio_api/queue/join", "POST", body=bytes(BODY))[0] == 200
    assert call("/gradio_api/queue/join", "POST", body=bytes(BODY + 1))[0] == 413


def test_answers_forbid_everything_from_elsewhere():
    _, headers, _ = call("/gradio_api/queue/data")
    policy = dict(part.strip().split(" ", 1) for part in headers[b"content-security-policy"].decode().split(";"))
    assert policy["default-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
    sources = {source for part in policy.values() for source in part.split()}
    assert sources <= {"'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"}
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_the_page_names_no_other_server():
    _, headers, text = call("/")
    assert text == b'<head><meta charset="utf-8"></head>\n{"example_inputs": "", "a": 1}'
    assert headers[b"content-length"] == str(len(text)).encode()
    assert call("/config")[2] == PAGE


def test_other_protocols_are_left_unanswered():
    asyncio.run(Guard(page, FOLDER, HOSTS, 1)({"type": "websocket"}, None, None))
