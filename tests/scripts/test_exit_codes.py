"""One rule for the exit codes of all commands: 0 done, 1 a sentence about the input, 2 wrong use, 130 Ctrl-C."""

import os
import signal

import click
import pytest
from click.testing import CliRunner

from dnnlib import cli
from dnnlib.cli import one_sentence_errors
from dnnlib.running.stop import StopRequest, stoppable
from qc_stylegan.program import program
from tests.support.commands import all_commands

NETWORK, PHOTOS = "--network={networks}/qc.safetensors", ["-i", "absent.png", "-o", "out"]
# For each command what it can only answer with a sentence.
REFUSED = {
    "train": ["--data=absent.zip", "-o", "run", "--device=cpu"],
    "generate": [NETWORK, "--seeds=x"],
    "train-encoder": [NETWORK, "--data=absent.zip", "-o", "run", "--device=cpu"],
    "restore": [NETWORK, *PHOTOS],
    "encode": [NETWORK, *PHOTOS],
    "edit": [NETWORK, "--direction=absent.safetensors", *PHOTOS],
    "degrade": [NETWORK, "--to=sharp", *PHOTOS],
    "degradation-figure": ["absent.png", "--reference=absent.png", NETWORK, "-o", "figure.png"],
    "video": ["-i", "absent.mp4", "-o", "result.mp4", NETWORK],
    "directions": [NETWORK, "--method=sefa", "--class=1", "-o", "found"],
    "mix": ["--style=absent", "--content=absent", NETWORK, "-o", "out"],
    "interpolate": ["absent.png", "absent.png", NETWORK, "-o", "way.png"],
    "pair-direction": ["absent.png", "absent.png", "--space=ws", NETWORK, "-o", "found.safetensors"],
    "web": [NETWORK, "--max-mb=-1"],
    "metrics": [NETWORK, "--data=absent.zip", "--metrics=fid_cifar"],
    "metrics weights": ["--fetch=nothing"],
    "metrics table1": ["--base={networks}/qc.safetensors", "--qc={networks}/qc.safetensors", "--data=absent.zip"],
    "metrics classify": [NETWORK, "--data=absent"],
    "metrics content-mismatch": ["--network={networks}/plain.safetensors"],
    "metrics runtime": [NETWORK, "--device=tpu"],
    "metrics scales": [NETWORK, "--device=tpu"],
    "metrics pairs": ["absent", "absent"],
    "metrics niqe": ["absent"],
    "metrics fit-niqe": ["absent", "-o", "model.npz"],
    "metrics fit-noise": [NETWORK, "--data=absent", "-o", "x.safetensors"],
    "metrics identity-consistency": ["absent.mp4"],
    "metrics restoration": [NETWORK, "--data=absent"],
    "metrics degrade-set": ["--data=absent", "-o", "set"],
    "metrics inversion": [NETWORK, "--data=absent"],
    "metrics stability": [NETWORK, "--data=absent"],
    "metrics editability": [NETWORK, "--data=absent", "--scorer=absent"],
    "dataset": ["-i", "absent", "-o", "data.zip"],
    "degradations": ["absent.png"],
    "inspect": ["absent.safetensors"],
    "plot": ["absent", "-o", "curves.png"],
    "import": ["absent.pkl", "-o", "x.safetensors"],
    "export": ["absent.safetensors", "-o", "x.onnx"],
    "average": ["absent.safetensors", "absent2.safetensors", "-o", "x.safetensors"],
    "graft": ["absent.safetensors", "absent2.safetensors", "-o", "x.safetensors"],
    "slim": ["absent.safetensors", "-o", "x.safetensors"],
    "hub push": ["absent.safetensors", "me/cats"],
    "hub pull": ["nothing", "-o", "x.safetensors"],
    "doctor": [],
}
COMMANDS = {" ".join(path): command for path, command in all_commands(program)}
GROUPS = {name for name, command in COMMANDS.items() if isinstance(command, click.Group)} - {"metrics"}


def run(name, arguments, networks):
    filled = [argument.format(networks=networks) for argument in arguments]
    return CliRunner().invoke(program, [*name.split(), *filled])


def test_the_table_has_all_commands():
    assert set(REFUSED) == set(COMMANDS) - GROUPS


@pytest.mark.parametrize(
    "name", sorted(set(REFUSED) - {"doctor"})
)  # which tells of all that is missing, and has no input
def test_a_sentence_ends_a_command_with_1(name, network_files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(name, REFUSED[name], network_files)
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert (result.exit_code, len(lines)) == (1, 1), (result.output, result.exception)


@pytest.mark.parametrize("name", REFUSED)
def test_ctrl_c_ends_a_command_with_130(name, network_files, tmp_path, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "prepare_console", interrupt)
    result = run(name, REFUSED[name], network_files)
    assert (result.exit_code, result.stderr) == (130, "Stopped by SIGINT\n"), (result.output, result.exception)


@pytest.mark.parametrize("name", [*REFUSED, *GROUPS])
def test_wrong_use_ends_a_command_with_2(name):
    assert run(name, ["--no-such-flag"], "").exit_code == 2
    assert run(name, ["--help"], "").exit_code == 0


def test_ctrl_c_during_a_download_ends_with_130(monkeypatch):
    def interrupt(location):
        raise KeyboardInterrupt

    monkeypatch.setattr("dnnlib.remote.locations.locate", interrupt)
    result = run("restore", ["--network=https://example.org/x.safetensors", *PHOTOS], "")
    assert (result.exit_code, result.stderr) == (130, "Stopped by SIGINT\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("is_unfinished", [True, False])
def test_what_was_stopped_and_saved_is_not_done(number, is_unfinished):
    @click.command()
    @one_sentence_errors
    @stoppable
    def train():
        with StopRequest() as stop:
            os.kill(os.getpid(), number)
            stop.is_unfinished = is_unfinished

    assert CliRunner().invoke(train).exit_code == (128 + number if is_unfinished else 0)
