"""Smaller files for shipping: numbers in half precision, and no discriminators: `python -m exchange.slim FILE -o FILE`.

Networks and encoders alike. An encoder names the network that it is for by that file's SHA-256, so that a slim network
needs its encoder made anew with `--for-network`.
"""

import os

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.flags import PATH
from dnnlib.remote.locations import NetworkFile

DISCRIMINATORS = "D_"


@commands.command()
@click.argument("source", type=NetworkFile())
@click.option("-o", "--output", type=PATH, required=True, help="File to write.")
@click.option("--subject", help="What the images show, such as `cat faces`, for the header.  [default: as it is]")
@click.option("--licence", help="Licence for the header.  [default: as it is]")
@click.option(
    "--keep-discriminators", is_flag=True, help="Keep the discriminators, so that training can start from it."
)
@click.option("--for-network", type=NetworkFile(), help="Slim network that a slim encoder is for.")
@click.option("--photos", type=PATH, metavar="PATH", help="Photos that an encoder is measured on anew, for its header.")
@commands.version_option
@one_sentence_errors
def main(
    source: str,
    output: str,
    subject: str | None,
    licence: str | None,
    keep_discriminators: bool,
    for_network: str | None,
    photos: str | None,
) -> None:
    """Write a network or an encoder with half of its bytes; a generator stays whole where images would change.

    They would where a pixel differs by more than a grey level; without a discriminator to halve that is refused.

    \b
    python -m exchange.slim runs/qc/network-snapshot-000200.safetensors -o cats.safetensors --subject="cat faces"
    python -m exchange.slim runs/encoder/encoder-000100.safetensors -o cats-encoder.safetensors \\
        --for-network=cats.safetensors

    An encoder of a plain network may be given to a QC network that was made of it with --degrad-only, as the sharp
    images are the same; q is then fitted to each photo.
    """
    from exchange.encoder_headers import header_for_network, measure_anew
    from exchange.slimming import halve, save_network_halved
    from inversion.encoders.files import KIND as ENCODER
    from torch_utils.checkpoint import load_tensors, read_header, save_tensors

    header = read_header(source)
    header |= {key: value for key, value in {"subject": subject, "licence": licence}.items() if value is not None}
    tensors = load_tensors(source)
    if header.get("kind") == ENCODER:
        header = header_for_network(source, header, tensors, for_network)
    elif for_network is not None or photos is not None:
        flag = "--photos" if for_network is None else "--for-network"
        raise UserError(f"{flag} is for encoders, and {source} is a network; leave it out")
    if not keep_discriminators and "generator" in header:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(DISCRIMINATORS)}
        header["discriminator"] = None
    note = ""
    if "generator" in header:
        note = save_network_halved(source, tensors, header, output)
    else:
        save_tensors(output, {name: halve(name, tensor) for name, tensor in tensors.items()}, header)
    if for_network is not None and photos is not None:
        measure_anew(output, for_network, photos)
    click.echo(f"{output}: {os.path.getsize(output):,} bytes, {source} has {os.path.getsize(source):,}{note}")


if __name__ == "__main__":
    main()
