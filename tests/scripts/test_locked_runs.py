"""Commands that train: a folder in use, another's run, and data that have changed end them with one sentence."""

import pytest
import torch
from click.testing import CliRunner

import train
from dnnlib.running.lock import FolderLock
from inversion.commands.train_encoder import train_encoder_command
from tests.support.runs import tiny_command, write_images


@pytest.fixture(params=["train", "train-encoder"])
def invoke(request, run_files, network_files, tmp_path):
    """Return a function that runs a command in a folder on data, with more flags."""
    images, base = run_files

    def run(outdir, *extra, data=images):
        if request.param == "train":
            command, flags = train.main, tiny_command(outdir, data, base, "--kimg=0.016", "--tick=0.008")[1:]
        else:
            command = train_encoder_command
            flags = [f"--network={network_files / 'qc.safetensors'}", f"--data={data}", f"--outdir={outdir}"]
            flags += ["--kimg=0.008", "--batch=4", "--backbone=resnet34", "--width=0.0625", "--input-size=32"]
            flags += ["--device=cpu", "--workers=0", "--set=run.image_ticks=1"]
        try:
            return CliRunner().invoke(command, [*flags, *extra])
        finally:
            torch.set_flush_denormal(False)

    return run


def sentence(result):
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ") and result.exit_code == 1, (result.output, result.exception)
    return line


def test_a_folder_in_use_is_left_alone(invoke, tmp_path):
    """Before data and networks are read; --dry-run only looks."""
    with FolderLock(tmp_path):
        result = invoke(tmp_path, data="missing.zip")
        assert f"{tmp_path} is in use by process" in sentence(result)
        assert [path.name for path in tmp_path.iterdir()] == [".run.lock"]
        assert invoke(tmp_path, "--dry-run").exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_its_own_and_knows_its_data(invoke, tmp_path):
    """A whole life: begun, continued on other data, lost, and not begun again over what is left."""
    outdir, data = tmp_path / "run", write_images(tmp_path / "images.zip", 9)
    assert invoke(outdir, data=data).exit_code == 0
    assert not list(outdir.glob(".*"))
    write_images(data, 10)
    longer = "--kimg=0.024"
    said = sentence(invoke(outdir, longer, data=data))
    assert "(images: 9 -> 10; content of the images); put the former data back, or add --allow-data-change" in said
    result = invoke(outdir, longer, "--allow-data-change", data=data)
    assert result.exit_code == 0 and "kimg; the data have changed (images: 9 -> 10; content" in result.output
    (outdir / "training-state.pt").unlink()
    before = {path.name: path.read_bytes() for path in outdir.iterdir()}
    assert "of a run without its training-state.pt, which is not overwritten" in sentence(invoke(outdir, data=data))
    assert before == {path.name: path.read_bytes() for path in outdir.iterdir()}
