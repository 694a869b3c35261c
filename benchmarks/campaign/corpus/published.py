"""Files that others publish: weights of detectors, TorchScript, networks of other programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import safetensors.torch
import torch

from benchmarks.campaign.corpus.readers import Reader, digest
from dnnlib.errors import UserError
from exchange import import_network
from networks.files import ImageFormat, build_discriminator, load_generator
from tests.support import stand_ins
from tests.support.networks import SMALL_D, small_generator
from torch_utils.checkpoint import load_tensors
from torch_utils.untrusted.state_dicts import load_state_dict
from torch_utils.untrusted.torchscript import load_torchscript

RGB = ImageFormat(16, 3, 0)
WEIGHTS = {"a.weight": torch.randn(8, 4), "a.bias": torch.randn(8), "b.weight": torch.randn(3, 8)}


class Layers(torch.nn.Module):
    """A network of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 8)
        self.second = torch.nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the product of the layers, for `x [N, features]`."""
        return self.second(torch.relu(self.first(x)))


def _read_weights(path: Path) -> str:
    return digest(load_state_dict(path))


def _write_torchscript(path: Path) -> None:
    torch.jit.script(Layers().eval()).save(path)


def _read_torchscript(path: Path) -> str:
    module = load_torchscript(path, torch.device("cpu"))
    return digest(dict(module.state_dict()), module(torch.ones(1, 4)).detach())


def _import(path: Path) -> str:
    """Import a published network by its command."""
    output = path.with_name("imported.safetensors")
    result = click.testing.CliRunner().invoke(import_network.main, [str(path), "-o", str(output)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code != 0:
        raise UserError(result.output.strip().removeprefix("Error: "))
    load_generator(output)
    found = digest(load_tensors(output))
    output.unlink()
    return found


def _ada() -> Any:
    return stand_ins.ada_content(small_generator().eval(), build_discriminator(SMALL_D, RGB))


def _port() -> Any:
    state, average = stand_ins.port_generator(small_generator().eval())
    return {"g_ema": state, "latent_avg": average}


def _tensorflow() -> Any:
    G = stand_ins.tf_generator(small_generator().eval())
    return (G, stand_ins.tf_discriminator(build_discriminator(SMALL_D, RGB)), G)


def _pickled(content: Callable[[], Any]) -> Callable[[Path], Any]:
    return lambda path: stand_ins.write_pickle(path, content())


def _saved(content: Callable[[], Any], **options: bool) -> Callable[[Path], None]:
    return lambda path: torch.save(content(), path, **options)


def _old() -> dict[str, bool]:
    return {"_use_new_zipfile_serialization": False}


READERS = [
    Reader("weights .pt", "w.pt", _saved(lambda: WEIGHTS), _read_weights, True),
    Reader("weights .pth before torch 1.6", "w.pth", _saved(lambda: WEIGHTS, **_old()), _read_weights, False),
    Reader(
        "weights .safetensors",
        "w.safetensors",
        lambda path: safetensors.torch.save_file(WEIGHTS, path),
        _read_weights,
        False,
    ),
    Reader("TorchScript", "m.pt", _write_torchscript, _read_torchscript, True),
    Reader("import: StyleGAN2-ADA .pkl", "n.pkl", _pickled(_ada), _import, False),
    Reader("import: StyleGAN2 of TensorFlow .pkl", "n.pkl", _pickled(_tensorflow), _import, False),
    Reader("import: PyTorch port .pt", "n.pt", _saved(_port), _import, True),
    Reader("import: state dict .pt", "n.pt", _saved(lambda: small_generator().state_dict()), _import, True),
]
