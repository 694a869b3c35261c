"""Serve a web page to restore and edit photos, and to see images from seeds; on this machine alone, and offline."""

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import PATH, LocalPath
from dnnlib.remote.locations import NetworkFile

SECTIONS = {
    "Photos": ("network", "encoder", "no_encoder", "steps", "align", "faces", "directions", "sefa"),
    "Address": ("host", "port", "public_url"),
    "Limits": ("max_mb", "max_megapixels", "max_seconds"),
    "Machine": ("device",),
}


@commands.command(sections=SECTIONS)
@click.option("--network", type=NetworkFile(), required=True, help="QC network that photos are inverted into.")
@click.option("--encoder", type=NetworkFile(), help="Encoder for this network.  [default: the one in its folder]")
@click.option("--no-encoder", is_flag=True, help="Use no encoder: the projector searches, which takes minutes.")
@click.option("--steps", type=click.IntRange(min=0), help="Steps of the projector.  [default: 150; 0 after an encoder]")
@click.option(
    "--align",
    type=LocalPath(may_be_empty=True),
    metavar="DETECTOR",
    help="Cut out the faces: cat, human, or a YuNet .onnx file.  [default: the middle square]",
)
@click.option(
    "--faces",
    type=click.Choice(["all", "largest"]),
    default="all",
    help="With --align: all faces of a photo, which is then shown whole, or the largest alone.",
)
@click.option(
    "--direction",
    "directions",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Direction to edit along, as invert.py directions writes it; may be repeated.",
)
@click.option("--sefa", type=click.IntRange(0, 16), default=4, help="Directions found in the network itself (SeFa).")
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0: all networks of this machine.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, help="Port to listen on; 0: any that is free.")
@click.option("--public-url", metavar="URL", help="Address at which a proxy shows the page.")
@click.option("--max-mb", type=float, default=20.0, help="Largest file of a photo, in MiB.")
@click.option("--max-megapixels", type=float, default=50.0, help="Most pixels of a photo, in millions.")
@click.option("--max-seconds", type=float, default=120.0, help="Longest time that a request takes, without waiting.")
@click.option("--device", help="Device: cuda, mps or cpu.  [default: the best there is]")
@commands.version_option
@one_sentence_errors
def main(
    network: str,
    encoder: str | None,
    no_encoder: bool,
    steps: int | None,
    align: str | None,
    faces: str,
    directions: tuple[str, ...],
    sefa: int,
    host: str,
    port: int,
    public_url: str | None,
    max_mb: float,
    max_megapixels: float,
    max_seconds: float,
    device: str | None,
) -> None:
    """Serve a web page: drop a photo and see it restored, edit it, copy degradations, make images from seeds.

    The page is for this machine alone unless --host says otherwise, needs no other server, and keeps its files in a
    folder that is removed at the end. It needs Gradio: pip install 'gradio>=6.31,<7'.

    \b
    python app.py --network=cats
    python app.py --network=qc.safetensors --direction=warmth.safetensors --align=cat --port=8080
    """
    from inversion.commands.options import InverterFlags  # these take seconds, which --help need not
    from web.limits import Limits
    from web.server import Address, page_folder, serve
    from web.studio import Studio

    address, limits = Address(host, port, public_url), Limits(max_mb, max_megapixels, max_seconds)
    inverting = InverterFlags(network, encoder, no_encoder, steps, device=device)
    with page_folder() as folder:
        serve(Studio(inverting, align, directions, sefa, limits, faces), address, folder)


if __name__ == "__main__":
    main()
