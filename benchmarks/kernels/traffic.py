"""Count what the phases of a training step launch on a GPU, and what that reads and writes; needs no GPU.

python -m benchmarks.kernels.traffic [--preset paper256 --resolution 256 --batch 32 --precision bf16]
"""

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import click
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.training.configs import by_mode, step_config
from benchmarks.training.memory import META, ShapesTrainer
from benchmarks.training.steps import phases
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import PATH, SETTINGS
from networks.files import ImageFormat
from networks.resolutions import DTYPES
from torch_utils.cuda import operators, outer_product
from torch_utils.cuda.launch import Launch
from torch_utils.distributed import World
from training import presets
from training.config import TrainConfig

# They give tensors without a launch.
_WITHOUT_LAUNCH = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided", "detach", "lift_fresh")


class Traffic(TorchDispatchMode):
    """A context that counts operations on tensors without memory, each as one launch; views are none.

    Attributes:
        launches: how many there were.
        own: how many of them are kernels of our own.
        bytes: what they read and write, each tensor of a launch once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0
        self.own = 0
        self.bytes = 0

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func.overloadpacket.__name__ not in _WITHOUT_LAUNCH:
            self._count((args, kwargs, result))
        return result

    def execute(self, launch: Launch, tensors: list[Tensor | None]) -> None:
        """Count a launch of our own instead of executing it."""
        self.own += 1
        self._count(tensors)

    def step(self, optimizer: torch.optim.Adam) -> None:
        """Count a fused step of Adam instead of taking it: it reads four tensors a weight and writes three."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None]
        self.launches += 1
        self.bytes += 7 * sum(weight.nbytes for weight in weights)

    def _count(self, tensors: Any) -> None:
        found = {id(leaf): leaf for leaf in tree_leaves(tensors) if isinstance(leaf, Tensor)}.values()
        self.launches += 1
        self.bytes += sum(min(each.nbytes, each.untyped_storage().nbytes()) for each in found)


@contextlib.contextmanager
def counted(with_kernels: bool) -> Iterator[Traffic]:
    """Count what is computed within a `with` statement, as on a GPU with or without kernels of our own."""
    traffic = Traffic()
    pretended: dict[str, Any] = {
        "DEVICE_TYPE": META.type,
        "_ready": lambda device: with_kernels,
        "execute": traffic.execute,
    }
    with (
        mock.patch.multiple(operators, **pretended),
        mock.patch.object(outer_product, "find", lambda f: None),
        mock.patch.object(torch.optim.Adam, "step", lambda optimizer: traffic.step(optimizer)),
        traffic,
    ):
        yield traffic


def measure(config: TrainConfig, images: ImageFormat) -> Iterator[dict[str, Any]]:
    """Yield launches and bytes of each phase, without and with kernels."""
    for with_kernels in (False, True):
        trainer = ShapesTrainer(config, images, World(0, 1, META))
        for name, phase in phases(trainer).items():
            with counted(with_kernels) as traffic:
                phase()
            numbers = {"launches": traffic.launches, "own": traffic.own, "bytes": traffic.bytes}
            yield {"phase": name, "kernels": with_kernels} | numbers


@click.command(context_settings=SETTINGS)
@click.option("--preset", type=click.Choice(list(presets.PRESETS)), default="paper256", help="Preset of networks.")
@click.option("--resolution", default=256, help="Side of the images.")
@click.option("--batch", default=32, help="Number of images in a step.")
@click.option("--precision", type=click.Choice(sorted(DTYPES)), default="bf16", help="Type of the high resolutions.")
@click.option("--mode", type=click.Choice(["base", "qc"]), default="qc", help="Without or with a quality code.")
@click.option("--json", "json_path", type=PATH, default=None, help="JSON file for the numbers.")
@one_sentence_errors
def main(preset: str, resolution: int, batch: int, precision: Any, mode: str, json_path: str | None) -> None:
    """Print launches, those of our own kernels among them, and gigabytes read and written, phase by phase."""
    images = ImageFormat(resolution, 3, 0)
    with tempfile.TemporaryDirectory() as folder:
        config = step_config(resolution, precision, preset, batch, None, None, None, "none")
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, fused_optimizer=False))
        [config] = by_mode(config, images, [mode], ["paper"], Path(folder), torch.device("cpu")).values()
        records = list(measure(config, images))
    click.echo(f"{'phase':<18}{'kernels':>8}{'launches':>10}{'our own':>9}{'GB':>9}")
    for record in records:
        numbers = f"{record['launches']:>10}{record['own']:>9}{record['bytes'] / 1e9:>9.1f}"
        click.echo(f"{record['phase']:<18}{'yes' if record['kernels'] else 'no':>8}{numbers}")
    if json_path:
        Path(json_path).write_text(json.dumps({"records": records}, indent=2))


if __name__ == "__main__":
    main()
