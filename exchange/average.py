"""The mean of networks, as of snapshots of one run: `python -m exchange.average FILE FILE -o FILE`.

Weights along one training lie around better ones; their mean does what a slower moving average would have done, when it
was not kept. It holds for networks that share a past, and for no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, counted
from dnnlib.files import sha256
from dnnlib.flags import PATH
from dnnlib.remote.locations import NetworkFile

if TYPE_CHECKING:
    from torch import Tensor

SHARED = ("generator", "discriminator", "images", "preprocessing")  # entries of headers that have to be equal


@commands.command()
@click.argument("sources", type=NetworkFile(), nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, help="File to write.")
@commands.version_option
@one_sentence_errors
def main(sources: tuple[str, ...], output: str) -> None:
    """Write the mean of the weights of two or more networks of one architecture.

    \b
    python -m exchange.average runs/base/network-snapshot-0001{40,45,50}.safetensors -o mean.safetensors

    Average networks of one run, or of runs that began with the same network; the mean of others shows nothing. The
    header is that of the last one, with a note of all (`mean_of`).
    """
    from torch_utils.checkpoint import read_header, save_tensors

    if len(sources) < 2:
        raise UserError(f"{sources[0]} is the only network; a mean needs two or more")
    headers = [read_header(source) for source in sources]
    for source, header in zip(sources, headers, strict=True):
        _require_alike(source, header, sources[-1], headers[-1])
    mean = _mean_weights(sources)
    kimgs = [header.get("kimg") for header in headers]
    noted = [{"sha256": sha256(source), "kimg": kimg} for source, kimg in zip(sources, kimgs, strict=True)]
    save_tensors(output, mean, {**headers[-1], "mean_of": noted})
    click.echo(f"{output}: the mean of {counted(len(sources), 'network')}")


def _mean_weights(sources: Sequence[str]) -> dict[str, Tensor]:
    """Return the mean of each weight of some networks, float32; UserError where one has other weights."""
    from torch_utils.checkpoint import load_tensors

    total = {name: tensor.double() for name, tensor in load_tensors(sources[-1]).items()}
    shapes = {name: tensor.shape for name, tensor in total.items()}
    for source in sources[:-1]:
        tensors = load_tensors(source)
        if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
            raise UserError(f"{source} has other weights than {sources[-1]}; average networks of one architecture")
        total = {name: tensor + tensors[name] for name, tensor in total.items()}
    return {name: (tensor / len(sources)).float() for name, tensor in total.items()}


def _require_alike(source: str, header: dict[str, Any], last: str, header_of_last: dict[str, Any]) -> None:
    """Raise UserError for a network of another architecture than the last one's, and for a file that is none."""
    if "generator" not in header:
        raise UserError(f"{source} is no network; give network-snapshot files")
    for name in SHARED:
        if header.get(name) != header_of_last.get(name):
            raise UserError(f"{source} and {last} differ in {name}; average networks of one architecture")


if __name__ == "__main__":
    main()
