"""Import networks and pSp encoders that others published, such as StyleGAN2: `python -m exchange.import_network`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.flags import PATH
from dnnlib.registry import Registry

if TYPE_CHECKING:
    from torch_utils.untrusted.torch_files import InertFile

SUFFIX = ".safetensors"
FORMATS = Registry("networks.published.formats", "format")


@commands.command()
@click.argument("source", type=PATH, metavar="SOURCE")
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="File to write, NAME.safetensors.")
@click.option("--network", type=PATH, metavar="FILE", help="Imported network that an encoder is for.")
@click.option("--licence", default="", help="Licence of the published network, noted in the file.")
@commands.version_option
@one_sentence_errors
def main(source: str, output: str, network: str | None, licence: str) -> None:
    """Import a published StyleGAN2, QC-StyleGAN, CREPS or pSp encoder. Nothing in SOURCE is run.

    \b
    python -m exchange.import_network ffhq.pkl -o ffhq.safetensors --licence="CC BY-NC 4.0"
    python -m exchange.import_network psp.pt --network=ffhq.safetensors -o encoder.safetensors
    """
    from inversion.encoders import published_psp
    from networks.published.contents import CLASSES
    from torch_utils.untrusted.torch_files import read_inert

    if Path(output).suffix != SUFFIX:
        raise UserError(f"-o {output} does not end in {SUFFIX}; write for example network{SUFFIX}")
    with _naming(source):
        file = read_inert(source, CLASSES)
    provenance = {"licence": licence, "source": {"file": Path(source).name, "sha256": sha256(source)}}
    if published_psp.is_encoder(file.content):
        _import_encoder(source, file, output, network, provenance)
    elif network is not None:
        raise UserError(f"{source} is no encoder of pSp; leave out --network")
    else:
        _import_network(source, file, output, provenance)


def _import_network(source: str, file: InertFile, output: str, provenance: dict[str, Any]) -> None:
    """Write the networks of a file, read by the first format that recognises it."""
    from networks.files import save_network
    from networks.published.assemble import assemble
    from networks.published.contents import shown

    with _naming(source):
        module = _find_format(file)
        published = module.read(file)
        G, discriminators = assemble(published)
    provenance["source"]["format"] = module.DESCRIPTION
    mode = "qc" if G.q_dim > 0 else "base"
    save_network(output, G, discriminators, {"kimg": _kimg(source), "mode": mode, **provenance})
    streams = f"discriminators: {', '.join(discriminators)}" if discriminators else "no discriminator"
    click.echo(f"{output}: {module.DESCRIPTION}, {G.img_resolution}x{G.img_resolution}, {streams}")
    if published.G.unused:
        click.echo(f"left out, since nothing uses them: {', '.join(map(shown, published.G.unused))}")
    click.echo(f"python generate.py --network={output} --seeds=0-7 --grid --outdir=out")


def _import_encoder(source: str, file: InertFile, output: str, network: str | None, provenance: dict[str, Any]) -> None:
    """Write the encoder of a file, for a network that was imported before."""
    from inversion.encoders import published_psp
    from inversion.encoders.files import require_network, save_encoder
    from networks.files import load_generator

    if network is None:
        raise UserError(f"{source} is an encoder; give the network that it is for as --network=FILE")
    require_network(network)
    G, _ = load_generator(network)
    with _naming(source):
        encoder = published_psp.read_encoder(file, G, network)
    provenance["source"]["format"] = published_psp.DESCRIPTION
    save_encoder(output, encoder, G, sha256(network), provenance)
    click.echo(f"{output}: {published_psp.DESCRIPTION}, for {network}")


def _find_format(file: InertFile) -> ModuleType:
    """Return the module of the first format that recognises the content."""
    for name in FORMATS.names():
        module = FORMATS.get(name)
        if module.recognises(file.content):
            return module
    raise UserError(f"is of none of the known formats ({', '.join(FORMATS.names())}); give the file as published")


def _kimg(source: str) -> int | None:
    """Return the training length that the names of snapshots contain; None for another name."""
    match = re.fullmatch(r"network-snapshot-(\d{6})\.pkl", Path(source).name)
    return int(match[1]) if match else None


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Name the file in errors that are raised within."""
    try:
        yield
    except UserError as error:
        cure = "" if "; " in str(error) else "; give a network of a kind that docs/import.md names"
        raise UserError(f"{source} {error}{cure}") from error
    except Exception as error:  # a file may hold anything anywhere
        raise UserError(f"{source} is damaged or of another layout than is known; copy or download it again") from error


if __name__ == "__main__":
    main()
