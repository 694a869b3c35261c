"""The command that serves the page: its help is quick, and what it refuses is one sentence."""

import re
import socket
import subprocess
import sys

import pytest

import app
from tests.support.commands import refused
from tests.support.runs import ROOT
from tests.support.web import needs_gradio
from web.server import Address


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "GRADIO_EXAMPLES_CACHE"):
        monkeypatch.setenv(name, "")  # the command sets them


def test_help_loads_neither_torch_nor_gradio():
    code = (
        "import sys, app; from click.testing import CliRunner; print(CliRunner().invoke(app.main, ['--help']).output); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'gradio', 'cv2', 'PIL')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "--max-seconds" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--max-mb=0"], "--max-mb is 0.0, must be above 0 and at most 512"),
        (["--max-seconds=nan"], "--max-seconds is nan, must be above 0 and finite"),
        (["--public-url=cats"], "--public-url=cats is no address; write for example https://example.org/cats"),
        (
            ["--public-url=file:///etc"],
            "--public-url=file:///etc is no address; write for example https://example.org/cats",
        ),
    ],
)
def test_values_are_refused_before_anything_is_loaded(network_files, flags, sentence):
    assert refused(app.main, f"--network={network_files / 'qc.safetensors'}", *flags) == sentence


@needs_gradio
def test_plain_networks_are_refused(network_files):
    sentence = refused(app.main, f"--network={network_files / 'plain.safetensors'}", "--device=cpu")
    assert sentence.endswith("is plain, without the quality code that this needs; give a QC network")


@needs_gradio
def test_a_missing_direction_is_refused(network_files):
    network, encoder = network_files / "qc.safetensors", network_files / "encoders" / "encoder.safetensors"
    flags = [f"--network={network}", f"--encoder={encoder}", "--device=cpu", "--sefa=0", "--direction=absent.npy"]
    assert refused(app.main, *flags) == "direction absent.npy does not exist; check the path"


@needs_gradio
def test_a_port_in_use_is_refused(network_files):
    network, encoder = network_files / "qc.safetensors", network_files / "encoders" / "encoder.safetensors"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = [f"--network={network}", f"--encoder={encoder}", "--device=cpu", "--sefa=0", f"--port={port}"]
        sentence = refused(app.main, *flags)
    assert re.fullmatch(
        rf"--host=127.0.0.1 --port={port} cannot be listened on: Address already in use.*; "
        "choose another port, or --port=0 for any that is free",
        sentence,
    )


def test_gradio_is_named_where_it_is_missing(network_files, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert refused(app.main, f"--network={network_files / 'qc.safetensors'}") == (
        "the page needs Gradio (import of gradio halted; None in sys.modules); pip install 'gradio>=6.31,<7'"
    )


@pytest.mark.parametrize(
    ("address", "names"),
    [
        (Address(), {"127.0.0.1", "localhost", "::1"}),
        (Address("box.local"), {"127.0.0.1", "localhost", "::1", "box.local"}),
        (Address(public_url="https://example.org/cats"), {"127.0.0.1", "localhost", "::1", "example.org"}),
        (Address("0.0.0.0"), set()),
        (Address("::"), set()),
    ],
)
def test_the_page_is_called_by_its_names_alone(address, names):
    assert address.names == names


def test_the_page_is_on_loopback_unless_asked():
    with Address(port=0).listen() as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
