"""The kinds of runs that the campaign harms, tiny ones: 16x16 images, 0.144 kimg, a state each 0.016 kimg."""

import importlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.campaign.support.commands import finish
from dnnlib.errors import UserError
from torch_utils.checkpoint import load_tensors
from torch_utils.checksums import checksums, named_leaves

KIMG = 0.144
COMMON = ["--kimg=0.144", "--tick=0.016", "--snap=3", "--device=cpu", "--mirror", "--seed=1", "--workers=0"]
TRAIN = [
    *["train.py", *COMMON, "--batch=8", "--precision=fp32", "--aug-p=0.3", "--gamma=0.5"],
    *["--set=generator.channel_base=128", "--set=generator.channel_max=8", "--set=generator.z_dim=8"],
    *["--set=generator.w_dim=8", "--set=discriminator.channel_base=128", "--set=discriminator.channel_max=8"],
    *["--set=augment.interval=2", "--set=augment.kimg=1", "--set=loss.pl_interval=2", "--set=loss.r1_interval=3"],
    *["--set=ema.kimg=0.05", "--set=run.state_ticks=1", "--set=run.image_ticks=4"],
]
QC = ["--mode=qc", "--set=generator.quality.q_dim=4", "--set=generator.quality.channels=4"]
ENCODER = [
    *["invert.py", "train-encoder", *COMMON, "--batch=8", "--backbone=resnet34", "--width=0.125", "--input-size=32"],
    *["--set=run.state_ticks=1", "--set=run.image_ticks=4"],
]
# Imported once, so that commands, which are forks, need not: the first optimizer imports torch._dynamo for two seconds.
PRELOADED = ("dataset_tool", "train", "invert", "torch._dynamo")
# Of the records of a run, what differs from one time to the next.
VARYING = ("time", "Timing/", "Resources/", "seconds", "torch", "machine")
# Files that a run may leave beside those that are compared.
UNCOMPARED = ("events.out.tfevents.", "log.txt", "config.json")


Row = dict[str, object]  # row of a table, by the names of columns


@dataclass(frozen=True)
class Kind:
    """One kind of run.

    Attributes:
        name: base, qc or encoder.
        arguments: arguments of the command, without --outdir.
        reference: folder of a run that nothing has disturbed.
    """

    name: str
    arguments: list[str]
    reference: Path

    def command(self, outdir: Path, *extra: str) -> list[str]:
        """Return the command line of a run in a folder."""
        return [*self.arguments, f"--outdir={outdir}", *extra]


def for_each_kind(measure: Callable[[Kind, Path], Row], metrics: bool = True) -> list[Row]:
    """Return the rows of `measure(kind, folder)` for all kinds of runs, each in a folder of its own that goes again."""
    with tempfile.TemporaryDirectory() as folder:
        return [measure(kind, Path(folder) / kind.name) for kind in prepare(Path(folder) / "kinds", metrics)]


def prepare(folder: Path, metrics: bool = True) -> list[Kind]:
    """Return all kinds of runs, each with a reference that is made here."""
    for name in PRELOADED:
        importlib.import_module(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    data = folder / "data.zip"
    _must_work(["dataset_tool.py", "--input=drawn:24", "--resolution=16", f"--output={data}"], folder / "data.out")
    measured = ["--metrics=fd8_cifar"] if metrics else []
    base = Kind("base", [*TRAIN, f"--data={data}", *measured], folder / "base")
    _must_work(base.command(base.reference), folder / "base.out")
    network = newest_network(base.reference)
    qc = Kind("qc", [*TRAIN, *QC, f"--data={data}", f"--init-from={network}"], folder / "qc")
    _must_work(qc.command(qc.reference), folder / "qc.out")
    encoder = Kind(
        "encoder",
        [*ENCODER, f"--data={data}", f"--network={newest_network(qc.reference)}"],
        folder / "encoder",
    )
    _must_work(encoder.command(encoder.reference), folder / "encoder.out")
    return [base, qc, encoder]


def newest_network(outdir: Path) -> Path:
    """Return the last network of a run."""
    return sorted(outdir.glob("network-snapshot-[0-9]*.safetensors"))[-1]


def differences(outdir: Path, reference: Path) -> list[str]:
    """Return what a finished run has other than the reference: files, networks, state, records."""
    names = [_compared(folder) for folder in (outdir, reference)]
    found = [f"{name} missing" for name in sorted(names[1] - names[0])]
    found += [f"{name} left over" for name in sorted(names[0] - names[1])]
    for name in sorted(names[0] & names[1]):
        if content(outdir / name) != content(reference / name):
            found.append(f"{name} differs")
    return found


def content(path: Path) -> Any:
    """Return what is to be the same in two runs of a file."""
    if path.suffix == ".pt":
        return checksums(named_leaves(torch.load(path, weights_only=True)))
    if path.suffix == ".jsonl":
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [{k: v for k, v in record.items() if not k.startswith(VARYING)} for record in records]
    return path.read_bytes()


def damaged(outdir: Path) -> list[str]:
    """Return the networks and states in a folder that cannot be read."""
    bad = []
    for path in outdir.glob("*.safetensors"):
        try:
            load_tensors(path)
        except UserError:
            bad.append(path.name)
    for path in outdir.glob("*.pt"):
        try:
            torch.load(path, weights_only=True)
        except Exception:  # noqa: BLE001 - damaged pickles raise nearly anything
            bad.append(path.name)
    return bad


def leftovers(outdir: Path) -> list[str]:
    """Return the hidden files in a folder."""
    return sorted(path.name for path in outdir.glob(".*"))


def _compared(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(UNCOMPARED)}


def _must_work(arguments: list[str], output: Path) -> None:
    command = finish(arguments, output)
    if command.code != 0:
        raise UserError(f"{' '.join(arguments)} ended with {command.code}: {command.text()[-500:]}")
