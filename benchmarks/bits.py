"""Hashes of what the main commands compute: training in both modes, generating, restoring, exporting.

python -m benchmarks.bits [TREE]

Runs the commands of the source tree TREE (default: this one) on drawn faces of 16x16 pixels, on the CPU with one
thread, and prints a SHA-256 of each part's numbers and one of them all. Two trees that compute the same bits on one
machine print the same hashes; another processor may round differently. Takes two minutes.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import PIL.Image
import torch
from safetensors.torch import load_file

STEPS = 20  # steps of training in each mode, with 8 images each
TINY = [
    *["--preset=demo", "--batch=8", f"--kimg={STEPS * 8 / 1000}", "--snap=1", "--workers=0", "--device=cpu"],
    *["--precision=fp32", "--aug-p=0.3", "--mirror", "--seed=5", "--set=discriminator.mbstd_group_size=4"],
    *["--set=loss.pl_weight=2.0", "--set=generator.channel_max=16", "--set=discriminator.channel_max=16"],
]


@click.command(context_settings={"show_default": True})
@click.argument("tree", default=str(Path(__file__).parents[1]), type=click.Path(exists=True, file_okay=False))
def main(tree: str) -> None:
    """Print the hashes of TREE."""
    with tempfile.TemporaryDirectory() as folder:
        parts = _parts(Path(tree).resolve(), Path(folder))
    for name, value in parts.items():
        click.echo(f"{value}  {name}")
    whole = hashlib.sha256("".join(parts.values()).encode()).hexdigest()
    click.echo(f"{whole}  all")


def _parts(tree: Path, folder: Path) -> dict[str, str]:
    """Run the commands one after the other in `folder`; return the hash of each one's numbers."""
    data, base, qc = folder / "faces.zip", folder / "base", folder / "qc"
    run = _runner(tree)
    run("dataset_tool.py", "--input=drawn:24", "--resolution=16", f"--output={data}")
    run("train.py", f"--outdir={base}", f"--data={data}", *TINY)
    network = _network(base)
    run("train.py", f"--outdir={qc}", f"--data={data}", *TINY, "--mode=qc", f"--init-from={network}")
    quality = _network(qc)
    images, restored = folder / "images", folder / "restored"
    run("generate.py", f"--network={quality}", "--seeds=0-3", "--degradations=2", f"--outdir={images}", "--device=cpu")
    photo = images / "photo.png"
    photo.write_bytes(sorted(images.glob("**/*.png"))[-1].read_bytes())
    tuning = ["--steps=6", "--tuning-steps=4", "--device=cpu"]
    run("invert.py", "restore", f"--network={quality}", "-i", photo, "-o", restored, *tuning)
    exported = folder / "qc.pt"
    module = "exchange.export_network" if (tree / "exchange").is_dir() else "training.export_network"
    run("-m", module, quality, "-o", exported)
    states = [torch.load(path / "training-state.pt", weights_only=True) for path in (base, qc)]
    codes = {path.stem: load_file(path) for path in sorted(restored.glob("**/*codes.safetensors"))}
    return {
        "training, base": hash_of([load_file(network), states[0]]),
        "training, qc": hash_of([load_file(quality), states[1]]),
        "generated images": hash_of(_pixels(images)),
        "restored photo": hash_of([codes, _pixels(restored)]),
        "exported network": hash_of(torch.load(exported, weights_only=True)),
    }


def _runner(tree: Path) -> Callable[..., None]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(*arguments: str | Path) -> None:
        """Run `python ARGUMENTS` in the tree; what it prints is shown where it fails."""
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise click.ClickException(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")

    return run


def _network(run: Path) -> Path:
    return sorted(run.glob("network-snapshot-[0-9]*.safetensors"))[-1]


def _pixels(folder: Path) -> dict[str, np.ndarray]:
    paths = sorted(folder.glob("**/*.png"))
    return {path.relative_to(folder).as_posix(): np.asarray(PIL.Image.open(path, formats=["PNG"])) for path in paths}


def hash_of(numbers: object) -> str:
    """Return a SHA-256 of nested dicts and lists of tensors, arrays and plain values, with their names and shapes.

    Wall-clock times, which no two runs share, are left out by their name.
    """
    digest = hashlib.sha256()
    _add(digest, "", numbers)
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", name: str, value: object) -> None:
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            if "seconds" not in str(key) and "time" not in str(key):
                _add(digest, f"{name}.{key}", value[key])
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _add(digest, f"{name}.{index}", item)
    elif isinstance(value, (torch.Tensor, np.ndarray)):
        array = value.detach().contiguous().numpy() if isinstance(value, torch.Tensor) else np.ascontiguousarray(value)
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    else:
        digest.update(f"{name} {value!r}".encode())


if __name__ == "__main__":
    main()
