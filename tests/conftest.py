"""Shared by all tests: where the reference numbers are, and one thread of arithmetic a process."""

import gc
import json
import os
import sys
from pathlib import Path

import pytest

from dnnlib import remarks

# The tests' tensors are small, and processes at work beside them would slow two threads down. torch reads this when it
# is imported, here and in the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

GOLDEN_DIR = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent / "golden"))


def pytest_configure(config):
    """Prepare a process that runs tests; one that hands them out need not spend seconds on imports."""
    if config.getoption("dist", "no") != "no":
        return
    gc.disable()  # while tests are collected, which throws nothing away but would be searched again and again
    import hypothesis
    import torch

    torch.set_num_threads(1)
    # Examples may share a folder, and the first one may wait for an import.
    checks = [hypothesis.HealthCheck.function_scoped_fixture]
    hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=checks)
    hypothesis.settings.load_profile("tests")


def pytest_collection_modifyitems(items):
    """Begin with tests marked `long`: one that was left for the end would keep one process busy and the others idle."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish():
    """Leave modules and tests, which stay to the end, out of what the collector searches and what forks copy.

    It searches the rest as often as the little memory of tiny networks asks for.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session):
    """Fork the server of warm processes, if tests use it, before this process has run any."""
    if session.config.getoption("dist", "no") == "no" and "tests.support.processes" in sys.modules:
        from tests.support.processes import fork_server

        capture = session.config.pluginmanager.getplugin("capturemanager")
        capture.resume_global_capture()  # for what its processes print, too
        fork_server()
        capture.suspend_global_capture()
    return (yield)


@pytest.fixture(autouse=True)
def _no_remarks_so_far():
    """Let each test see the remarks that a command gives once."""
    remarks.forget()


@pytest.fixture(scope="session")
def golden():
    """Return a reader: `golden(name)` gives (arrays, cases) of one reference file."""
    import numpy as np

    def read(name):
        arrays = np.load(GOLDEN_DIR / f"{name}.npz")
        return arrays, json.loads(bytes(arrays["cases"]))

    return read


@pytest.fixture(scope="session")
def run_files(tmp_path_factory):
    """Return images and a base network for tiny runs; no test changes them."""
    from tests.support.runs import write_base, write_images

    folder = tmp_path_factory.mktemp("runs")
    return write_images(folder / "images.zip"), write_base(folder / "base.safetensors")


@pytest.fixture
def precision_of_cuda():
    """Yield what has torch's switches for tf32, and leave these as they were."""
    import torch

    owners = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [owner.allow_tf32 for owner in owners]
    yield owners
    for owner, value in zip(owners, before, strict=True):
        owner.allow_tf32 = value


@pytest.fixture(scope="session")
def network_files(tmp_path_factory):
    """Return a folder with networks of 16x16 pixels and an encoder; no test changes it.

    The networks are qc, another called other, a plain one, and classes, which has five of them; the encoder is qc's,
    and lies in another folder, where commands do not look for it.
    """
    import torch

    from tests.support.encoders import write_encoder
    from tests.support.networks import conditional_generator, quality_generator, small_generator, write_network

    folder = tmp_path_factory.mktemp("networks")
    with torch.random.fork_rng():
        torch.manual_seed(4)
        qc = quality_generator()
        generators = {"qc": qc, "other": quality_generator(), "plain": small_generator()}
        for name, G in {**generators, "classes": conditional_generator(5)}.items():
            write_network(folder / f"{name}.safetensors", G, licence="CC0")
        (folder / "encoders").mkdir()
        write_encoder(folder / "encoders" / "encoder.safetensors", qc, folder / "qc.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _fixed_seed():
    import torch

    torch.manual_seed(0)
    yield
    torch.set_flush_denormal(False)  # training sets it for its whole process
