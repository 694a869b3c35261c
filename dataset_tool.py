"""Make a dataset archive from a folder, a zip, CIFAR-10, MNIST, LSUN, or from nothing (`--input=drawn:1000`)."""

import logging
import os
import sys
from collections.abc import Sequence

import click

from dnnlib import commands
from dnnlib.cli import OneLine, one_sentence_errors, prepare_console
from dnnlib.errors import UserError, counted
from dnnlib.flags import PATH
from dnnlib.parsing import floats
from images.containers.shards import shard_paths
from images.convert import CROPS, FILTERS, Shape
from images.datasets.conversion import FORMATS, Conversion
from images.datasets.sources import DRAWN_SIZE, open_source
from images.datasets.writer import Options, write_dataset

NAMED_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}

SECTIONS = {
    "Source": ("source", "labels", "max_images", "on_bad_image", "workers"),
    "Archive": ("dest", "overwrite", "resolution", "crop", "filter_name", "gray", "background", "file_format"),
}


@commands.command(
    help=__doc__, sections=SECTIONS, former={"--source": "--input", "--dest": "--output", "--max-images": "--count"}
)
@click.option(
    "-i",
    "--input",
    "source",
    type=PATH,
    required=True,
    help="Folder, zip, tar, several of those (cats-{000..015}.tar), CIFAR-10, MNIST, an LSUN lmdb folder, or drawn:N.",
)
@click.option(
    "-o",
    "--output",
    "dest",
    type=PATH,
    required=True,
    help="New archive (OUT.zip or OUT.tar), range of archives (OUT-{000..015}.tar), or new folder.",
)
@click.option("--overwrite", is_flag=True, help="Replace archives that are there.")
@click.option("--resolution", type=click.IntRange(min=4), help="Side in pixels, a power of two.  [default: keep]")
@click.option(
    "--crop", type=click.Choice(CROPS), default="none", help="Part of an image to keep where it is not square."
)
@click.option(
    "--filter", "filter_name", type=click.Choice(list(FILTERS)), help="Filter for resizing.  [default: lanczos]"
)
@click.option("--count", "max_images", type=click.IntRange(min=1), help="Stop after that many images.")
@click.option("--labels", type=click.Choice(["auto", "folders", "none"]), default="auto", help="Source of the labels.")
@click.option("--background", default="white", help="Colour behind transparent pixels: white, black or R,G,B.")
@click.option(
    "--format", "file_format", type=click.Choice(list(FORMATS)), default="png", help="Format of the files written."
)
@click.option("--on-bad-image", type=click.Choice(["fail", "skip"]), default="fail", help="Treatment of damaged files.")
@click.option(
    "--workers", type=click.IntRange(0, 256), default=0, help="Processes that convert images; the result is the same."
)
@click.option(
    "--gray/--rgb", default=None, help="Make all images gray, or all RGB.  [default: RGB, unless all are gray]"
)
@commands.version_option
@one_sentence_errors
def convert(
    source: str,
    dest: str,
    overwrite: bool,
    resolution: int | None,
    crop: str,
    filter_name: str | None,
    max_images: int | None,
    labels: str,
    background: str,
    file_format: str,
    on_bad_image: str,
    gray: bool | None,
    workers: int,
) -> None:
    if resolution is not None and resolution & (resolution - 1):
        lower = 1 << (resolution.bit_length() - 1)
        raise UserError(f"--resolution {resolution} is not a power of two; try {lower} or {2 * lower}")
    if filter_name is not None and resolution is None:
        raise UserError(f"--filter={filter_name} has no effect without --resolution; add it, or leave --filter out")
    how = Conversion(
        shape=Shape(resolution, crop, filter_name or "lanczos"),
        mode=None if gray is None else "L" if gray else "RGB",
        background=_colour(background),
        file_format=file_format,
        skip_bad_images=on_bad_image == "skip",
    )
    if os.path.exists(source) and os.path.exists(dest) and os.path.samefile(source, dest):
        raise UserError(f"--output {dest} is the source itself; choose another name")
    if not overwrite:
        _require_free(dest)
    images = open_source(source, labels, drawn_size=resolution or DRAWN_SIZE)
    record = write_dataset(images, dest, Options(how, max_images, workers))
    click.echo(f"{dest}: {counted(record['num_images'], 'image')} of {record['resolution']}x{record['resolution']}")


def _require_free(dest: str) -> None:
    """Raise UserError for an archive that is there already: making it may have taken hours."""
    there = next((path for path in shard_paths(dest) if path.is_file()), None)
    if there is not None:
        raise UserError(f"{there} exists already; name --output otherwise, or add --overwrite to replace it")


def _colour(text: str) -> tuple[int, int, int]:
    if text in NAMED_COLOURS:
        return NAMED_COLOURS[text]
    levels = floats(text, 3, "--background")
    if not all(level in range(256) for level in levels):
        raise UserError(f"--background {text} has levels outside 0..255; write for example 255,255,255")
    red, green, blue = (int(level) for level in levels)
    return red, green, blue


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code. Errors are one sentence on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(message)s"))
    logging.basicConfig(handlers=[handler])
    prepare_console()
    try:
        convert.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        print(f"Error: {error.format_message()}", file=sys.stderr)
        return error.exit_code
    except SystemExit as end:
        return int(end.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
