"""NaN and infinity put at every place of a training after a step, in every kind of run: nothing bad is saved."""

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.campaign.support.commands import Command, finish
from benchmarks.campaign.support.kinds import Kind, Row, for_each_kind, leftovers
from inversion.encoders.trainer import EncoderTrainer
from torch_utils.checksums import named_leaves
from training.trainer import Trainer

STEPS = (3, 4)  # ticks are every other step
LENGTH = "--kimg=0.064"  # 8 steps
Place = Callable[[Any], Tensor | None]


def main(full: bool, seed: int) -> list[Row]:
    """Spoil trainings of each kind, and return a row for each."""
    return for_each_kind(lambda kind, folder: campaign(kind, folder, full), metrics=False)


def campaign(kind: Kind, folder: Path, full: bool) -> Row:
    """Return the row about one kind of run."""
    cases = [(place, value, step) for place in places(kind) for value in (math.nan, math.inf) for step in STEPS]
    if not full:  # each place once
        cases = [case for index, case in enumerate(cases) if index % 4 == index // 4 % 4]
    stopped = healed = resumed = tracebacks = 0
    bad: list[str] = []
    for number, (place, value, step) in enumerate(cases):
        outdir = folder / f"run{number}"
        command = spoiled(kind, outdir, place, value, step)
        tracebacks += command.has_traceback
        stopped += command.code in (1, 2) and "became NaN or infinite" in command.last_line()
        healed += command.code == 0
        bad += [f"{place} {value} after step {step}: {name}" for name in saved_badly(outdir)]
        again = finish(kind.command(outdir, LENGTH), outdir.with_suffix(".again"))
        resumed += again.code == 0 and not leftovers(outdir)
    return {
        "run": kind.name,
        "places": len(places(kind)),
        "cases": len(cases),
        "stopped with the tensor's name": stopped,
        "healed by themselves": healed,
        "files with NaN or infinity": len(bad),
        "continued by the same command": resumed,
        "tracebacks": tracebacks,
        "what was wrong": "; ".join(bad) or "nothing",
    }


def spoiled(kind: Kind, outdir: Path, place: str, value: float, step: int) -> Command:
    """Run a command whose training has one bad number at a place after so many steps."""
    owner = EncoderTrainer if kind.name == "encoder" else Trainer
    find = places(kind)[place]

    def spoil() -> None:
        take, count = owner.step, [0]

        def spoiling_step(trainer: Any, batch: Any) -> None:
            take(trainer, batch)
            count[0] += 1
            tensor = find(trainer)
            if count[0] == step and tensor is not None:
                with torch.no_grad():
                    tensor[(0,) * tensor.ndim] = value

        setattr(owner, "step", spoiling_step)  # noqa: B010 - one name of two types

    return finish(kind.command(outdir, LENGTH), outdir.with_suffix(".out"), spoil)


def saved_badly(outdir: Path) -> Iterator[str]:
    """Yield what is NaN or infinite in the networks and the state of a folder."""
    from safetensors.torch import load_file

    for path in sorted(outdir.glob("*.safetensors")):
        yield from (f"{name} in {path.name}" for name in _not_finite(load_file(path)))
    for path in outdir.glob("*.pt"):
        with contextlib.redirect_stderr(io.StringIO()):
            state = torch.load(path, weights_only=True)
        yield from (f"{name} in {path.name}" for name in _not_finite(state))


def _not_finite(content: Any) -> Iterator[str]:
    for name, leaf in named_leaves(content).items():
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and not leaf.isfinite().all():
            yield name
        if isinstance(leaf, float) and not math.isfinite(leaf):
            yield name


def places(kind: Kind) -> dict[str, Place]:
    """Return where a bad number can be, by name: functions from a trainer to a tensor."""
    if kind.name == "encoder":
        return {
            "encoder": lambda t: next(t.encoder.parameters()),
            "encoder's buffer": lambda t: _buffer(t.encoder, "running_var"),
            "average": lambda t: next(t.encoder_ema.parameters()),
            "average's buffer": lambda t: _buffer(t.encoder_ema, "running_var"),
            "exp_avg": lambda t: _moment(t.optimizer, "exp_avg"),
            "exp_avg_sq": lambda t: _moment(t.optimizer, "exp_avg_sq"),
        }
    both: dict[str, Place] = {
        "G": lambda t: t.G.synthesis.b16.torgb.bias,
        "G, mapping": lambda t: t.G.mapping.fc0.weight,
        "G, w_avg": lambda t: t.G.mapping.w_avg,
        "G, noise_const": lambda t: _buffer(t.G, "noise_const"),
        "G_ema": lambda t: t.G_ema.synthesis.b16.torgb.bias,
        "G_ema, w_avg": lambda t: t.G_ema.mapping.w_avg,
        "G's exp_avg": lambda t: _moment(t.optimizer_g, "exp_avg"),
        "G's exp_avg_sq": lambda t: _moment(t.optimizer_g, "exp_avg_sq"),
        "last D": lambda t: t.streams[-1].D.b4.out.weight,
        "last D, buffer": lambda t: _buffer(t.streams[-1].D, "resample_filter"),
    }
    for index in (0, 1) if kind.name == "qc" else (0,):
        both |= _places_of_stream(index)
    return both | ({"teacher": lambda t: next(t.teacher.parameters())} if kind.name == "qc" else {})


def _places_of_stream(index: int) -> dict[str, Place]:
    return {
        f"D {index}": lambda t: t.streams[index].D.b4.fc.bias,
        f"D {index}'s exp_avg": lambda t: _moment(t.streams[index].optimizer, "exp_avg"),
        f"D {index}'s exp_avg_sq": lambda t: _moment(t.streams[index].optimizer, "exp_avg_sq"),
        f"pl_mean {index}": lambda t: t.streams[index].pl_mean,
        f"augment.p {index}": lambda t: t.streams[index].augment.p,
        f"ADA's counts {index}": lambda t: t.streams[index].strength.seen,
    }


def _buffer(module: torch.nn.Module, ending: str) -> Tensor:
    return next(buffer for name, buffer in module.named_buffers() if name.endswith(ending))


def _moment(optimizer: torch.optim.Optimizer, name: str) -> Tensor:
    return next(iter(optimizer.state.values()))[name]
