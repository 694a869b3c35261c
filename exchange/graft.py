"""The quality code of one file beside the content of another: `python -m exchange.graft QUALITY CONTENT -o FILE`.

DegradBlocks that were trained alone (`--degrad-only`) are offsets of the features of a frozen network. Where that
network is trained on, they fit what comes of it as well, and go on from there in a training of their own. So does an
encoder's network for q where the content of its encoder is trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.flags import PATH
from dnnlib.remote.locations import NetworkFile

if TYPE_CHECKING:
    from torch import Tensor

BASE_DISCRIMINATOR = "D_sharp."
SHARED = ("generator", "images", "preprocessing")  # entries of headers that have to be equal but for the quality code
OWN = ("quality", "precision")  # parts of the generator that a base network has otherwise


@commands.command()
@click.argument("quality", type=NetworkFile())
@click.argument("content", type=NetworkFile())
@click.option("-o", "--output", type=PATH, required=True, help="File to write.")
@commands.version_option
@one_sentence_errors
def main(quality: str, content: str, output: str) -> None:
    """Write the network CONTENT, a plain one, with the quality code of QUALITY, which was made of an earlier CONTENT.

    \b
    python -m exchange.graft runs/qc/network-snapshot-000100.safetensors \\
        runs/base/network-snapshot-000600.safetensors -o qc600.safetensors

    Sharp images are CONTENT's, bit for bit. Degraded ones are about as good as before; `train.py --mode=qc
    --degrad-only --init-from=FILE` trains the DegradBlocks on. An encoder has to be trained anew, or on by --init-from.

    Of two encoders for the same network, QUALITY gives its network for q, and CONTENT all else;
    `invert.py train-encoder --quality-only --init-from=FILE` trains q on.
    """
    from exchange.grafted_encoder import graft_encoder
    from inversion.encoders.files import KIND as ENCODER
    from torch_utils.checkpoint import read_header, save_tensors

    is_encoder = ENCODER in (read_header(quality).get("kind"), read_header(content).get("kind"))
    tensors, header = (graft_encoder if is_encoder else _graft_network)(quality, content)
    save_tensors(output, tensors, header)
    click.echo(f"{output}: {content} with the quality code of {quality}")


def _graft_network(qc: str, base: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of a base network with the DegradBlocks of a QC network."""
    from networks.files import GENERATOR
    from torch_utils.checkpoint import load_tensors, read_header

    header, of_base = read_header(qc), read_header(base)
    _require_fit(qc, header, base, of_base)
    ours, theirs = load_tensors(qc), load_tensors(base)
    _require_same_shapes(qc, ours, base, theirs)
    kept = {name: tensor for name, tensor in ours.items() if not name.startswith(BASE_DISCRIMINATOR)}
    replaced = {name: tensor for name, tensor in theirs.items() if name.startswith(GENERATOR)}
    grafted_on = {"sha256": sha256(base), "kimg": of_base.get("kimg")}
    return kept | replaced, {**header, "grafted_on": grafted_on}


def _require_fit(qc: str, header: dict[str, Any], base: str, of_base: dict[str, Any]) -> None:
    """Raise UserError unless one is a QC network of DegradBlocks, and the other a plain one of its architecture."""
    for path, each in ((qc, header), (base, of_base)):
        if not each.get("generator"):
            raise UserError(f"{path} is no network; give network-snapshot files")
    quality = header["generator"].get("quality")
    if not quality:
        raise UserError(f"{qc} is plain, without a quality code to give; give the QC network first, then the plain one")
    if of_base["generator"].get("quality"):
        raise UserError(f"{base} has a quality code of its own; give a plain network, as --mode=base trains it")
    if quality.get("variant") == "released" or quality.get("injection") in ("concat_z", "concat_w"):
        raise UserError(f"the quality code of {qc} changes weights of its base network; train it anew on {base}")
    for name in SHARED:
        a, b = (_without_own(each.get(name)) for each in (header, of_base))
        if a != b:
            raise UserError(f"{qc} and {base} differ in {name}; give the network that {qc} was made of, trained on")


def _without_own(entry: Any) -> Any:
    """Return an entry of a header without what base networks have otherwise, and without what is not there."""
    if not isinstance(entry, dict):
        return entry
    return {name: value for name, value in entry.items() if name not in OWN and value is not None}


def _require_same_shapes(qc: str, ours: dict[str, Tensor], base: str, theirs: dict[str, Tensor]) -> None:
    """Raise UserError where the base network has a weight that the other lacks, or has in another shape."""
    from networks.files import GENERATOR

    for name, tensor in theirs.items():
        if name.startswith(GENERATOR) and (name not in ours or ours[name].shape != tensor.shape):
            raise UserError(f"{qc} has no {name} as {base} has it; give the network that it was made of, trained on")


if __name__ == "__main__":
    main()
