"""The demos' own commands, end to end at 16x16."""

import os
import shlex
import subprocess

import cv2
import pytest
import torch

import generate
import train
from dnnlib.files import sha256
from inversion.encoders.config import EncoderNetworkConfig
from inversion.encoders.encoder import build_encoder
from inversion.encoders.files import save_encoder
from tests.support.networks import quality_generator, write_network
from tests.support.processes import finish, start
from tests.support.runs import ROOT, write_base

RUN_FILES = {"config.json", "log.txt", "stats.jsonl", "reals.png", "training-state.pt"}


def shell(command):
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def commands_of(target, **settings):
    """Return the command lines with which make would make a target of which nothing is there yet."""
    settings = {"READY": "", "PY": "python", **settings}
    said = shell(["make", target, "--dry-run", *(f"{name}={value}" for name, value in settings.items())])
    return said.replace("\\\n", " ").splitlines()


def execute(line):
    """Execute a command line as a shell does, Python's in a warm process; return what it prints."""
    program, *arguments = shlex.split(line)
    if program != "python":
        return shell(["sh", "-c", line])
    code, output, errors = finish(start(arguments))
    assert code == 0, errors
    return output


@pytest.fixture(name="networks")
def _networks(tmp_path):
    """Return a folder with a base network, a QC network and its encoder, all of 16x16."""
    folder = tmp_path / "networks"
    folder.mkdir()
    write_base(folder / "base.safetensors")
    with torch.random.fork_rng():
        torch.manual_seed(4)
        G = quality_generator()
        network = write_network(folder / "qc.safetensors", G)
        config = EncoderNetworkConfig(backbone="resnet34", width=0.125, q_width=0.125, input_size=32)
        save_encoder(folder / "encoder.safetensors", build_encoder(config, G).eval(), G, sha256(network), {})
    return folder


def test_make_demo(tmp_path, networks):
    """Restored photos, samples, a run, and one page that shows them and links what is there."""
    demo = tmp_path / "demo"
    sizes = {
        "DEMO_TRAIN_SIZE": 16,
        "DEMO_TRAIN_IMAGES": 48,
        "DEMO_TRAIN_KIMG": 0.05,
        "DEMO_RESTORE": "--tuning-steps=2",
    }
    files = {"DEMO_NETWORK": networks / "qc.safetensors", "DEMO_BASE": networks / "base.safetensors"}
    said = [execute(line) for line in commands_of("demo", DEMO=demo, **sizes, **files)][-1]
    photos = {path.stem for path in (ROOT / "examples" / "bad-cats").glob("*.png")}
    assert len(photos) == 3
    assert {path.name for path in (demo / "restored" / "restored").iterdir()} == {f"{p}.png" for p in photos}
    assert {path.name for path in (demo / "run").iterdir()} >= RUN_FILES
    assert list((demo / "run").glob("fakes000000*.png"))
    text = (demo / "index.html").read_text()
    linked = [part.split('"')[0] for part in text.split('src="')[1:]]
    assert len(linked) == 3 + 1 + 2 and all((demo / link).is_file() for link in linked)
    overview = cv2.imread(str(demo / "overview.png"))
    assert overview is not None and overview.std() > 5
    commands = [line.strip() for line in said.splitlines()[-3:]]
    assert all(command in text for command in commands) and "invert.py restore --network=cats" in commands[0]


def test_make_demo_from_scratch(tmp_path):
    """Data, base network, QC network, samples, in this order; every command takes the flags that it is given."""
    lines = commands_of("demo-scratch", SCRATCH=tmp_path / "demo")
    commands = [shlex.split(line) for line in lines if line.startswith("python ")]
    names = ["dataset_tool.py", "train.py", "train.py", "generate.py"]
    assert [command[1] for command in commands] == names
    for (_, name, *flags), command in zip(commands[1:], (train.main, train.main, generate.main), strict=True):
        command.make_context(name, flags)
    assert f"--init-from={tmp_path / 'demo' / 'base.safetensors'}" in commands[2]
