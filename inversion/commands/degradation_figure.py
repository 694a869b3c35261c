"""The command `degradation-figure`: the paper's Fig. 6, and Fig. 28 of its supplement, for given photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, counted
from dnnlib.flags import PATH
from dnnlib.parsing import existing
from generation.quality_codes import MAX_SEED
from inversion.commands.options import (
    FORMER,
    InverterFlags,
    TuningFlags,
    check_output,
    finish_together,
    network_options,
    photo_sections,
    tuning_options,
)

if TYPE_CHECKING:
    from inversion.inverter import Inverter
    from inversion.photos.reader import PreparedPhoto
    from networks.latents import Latents

SHARES = (0.25, 0.5, 0.75)  # shares of the way between the two degradations
COLUMNS = ("source", "novel", *(f"{share:g}" for share in SHARES), "copied", "reference")


@commands.command("degradation-figure", sections=photo_sections("references", "seed"), former=FORMER)
@click.argument("photos", type=PATH, nargs=-1, required=True, metavar="PHOTO...")
@click.option(
    "--reference",
    "references",
    type=PATH,
    multiple=True,
    required=True,
    metavar="PHOTO",
    help="Photo whose degradation is copied; one for all, or one for each PHOTO.",
)
@click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Seed of the novel degradation; rows count on from it."
)
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="The figure, .png.")
@network_options
@tuning_options
@one_sentence_errors
def degradation_figure_command(
    photos: tuple[str, ...],
    references: tuple[str, ...],
    seed: int,
    output: str,
    inverting: InverterFlags,
    tuning: TuningFlags,
    align: str | None,
) -> None:
    """Draw the figure of degradation synthesis (Fig. 6, and Fig. 28 of the supplement), a row for each photo.

    A row shows the photo, the photo with a novel degradation, three steps from there to the degradation of the
    reference, the photo with that one, and the reference. Rows with a photo that cannot be read, or has no face for
    --align, are skipped; of several faces the largest is taken.

    \b
    python invert.py degradation-figure jpeg.png --reference=noisy.png --seed=5 --network=qc.safetensors -o fig6.png
    """
    from images.figures import check_grid_size, labelled_grid
    from images.sheets import save_png
    from inversion.commands.building import make_inverter, make_reader
    from inversion.photos.encoded import errors_of, read_each, require_other_file, usable
    from inversion.photos.reader import ALL

    if len(references) not in (1, len(photos)):
        raise UserError(
            f"--reference is given {counted(len(references), 'time')} for {counted(len(photos), 'photo')}; "
            f"give one, or {len(photos)}"
        )
    if seed + len(photos) - 1 > MAX_SEED:
        raise UserError(
            f"--seed={seed} leaves no seeds up to {MAX_SEED} for {counted(len(photos), 'photo')}; begin lower"
        )
    path = check_output(output)
    if path.suffix.lower() != ".png":
        raise UserError(f"--output={output} does not end in .png; name it {path.stem}.png")
    require_other_file(output, [*photos, *references])
    inverter = make_inverter(inverting, tuning, needs_quality=True)
    check_grid_size(len(photos), len(COLUMNS), inverter.G.img_resolution)
    files = {name: existing(name, "photo") for name in (*photos, *references)}
    prepared = dict(zip(files, read_each(list(files.values()), make_reader(align, inverter, ALL)), strict=True))
    chosen = references if len(references) > 1 else references * len(photos)
    numbered = enumerate(zip(photos, chosen, strict=True))
    found = usable([_whole_row(prepared, number, *row) for number, row in numbered])
    qualities: dict[str, Latents] = {}
    rows = []
    for row in found:
        if row.reference not in qualities:
            qualities[row.reference] = inverter.codes(row.shown.target.to(inverter.device))
        rows.append(figure_row(inverter, row.source, row.shown, qualities[row.reference], seed + row.number))
    save_png(path, labelled_grid(np.stack(rows), [Path(row.photo).stem for row in found], COLUMNS))
    made = f"{output}: {counted(len(found), 'row')} of {', '.join(COLUMNS)}"
    finish_together(made, errors_of(list(prepared.values())))


@dataclass(frozen=True, eq=False)
class Row:
    """A row of the figure: its number, its photo and reference by name, and what was read of both."""

    number: int
    photo: str
    reference: str
    source: PreparedPhoto
    shown: PreparedPhoto


def _whole_row(
    prepared: Mapping[str, PreparedPhoto | UserError], number: int, photo: str, reference: str
) -> Row | UserError:
    """Return a row, or what is wrong with one of its photos."""
    source, shown = prepared[photo], prepared[reference]
    if isinstance(source, UserError):
        return source
    return shown if isinstance(shown, UserError) else Row(number, photo, reference, source, shown)


def figure_row(
    inverter: Inverter, photo: PreparedPhoto, reference: PreparedPhoto, quality: Latents, seed: int
) -> np.ndarray:
    """Return the images of a row, uint8 `[columns, R, R, 3]`.

    Args:
        inverter: inverter of the photos.
        photo: the source.
        reference: the photo whose degradation is copied.
        quality: codes of its degradation.
        seed: seed of the novel degradation.
    """
    from images.photos import from_network
    from inversion.quality.requality import interpolate_quality, sample_quality

    [inversion] = inverter.invert(photo.target)
    latents = inversion.latents.to(inverter.device)
    novel = sample_quality(inverter.G, latents, [seed])
    images = [photo.image]
    for share in (0.0, *SHARES, 1.0):
        codes = interpolate_quality(latents, novel, quality, share)
        images += list(from_network(inverter.images(inversion, codes)))
    return np.stack([*images, reference.image])
