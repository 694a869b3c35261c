"""A web server on this machine, for tests, and the mark of tests of the page."""

import contextlib
import http.server
import importlib.util
import threading

import pytest

needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="Gradio is not installed (the extra web)"
)


@contextlib.contextmanager
def serving(handler):
    """Yield a server that answers by the class `handler`, with its `address` http://127.0.0.1:PORT."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
