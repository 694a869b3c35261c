"""The commands that make tables of edited photos: `stability`, `editability`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.flags import PATH, require_effect
from evaluation.choices import COUNT, REACH
from evaluation.commands.options import publish_table
from evaluation.commands.table_flags import (
    FORMER,
    SECTIONS,
    TableFlags,
    base_inverter,
    base_option,
    open_photos,
    table_options,
)
from inversion.commands.options import check_finite, check_output
from inversion.commands.yielding import yielding_of, yielding_option

if TYPE_CHECKING:
    from inversion.inverter import Inverter

SHEET_ROWS = 4  # photos in the figure of edits


@commands.command("stability", sections=SECTIONS, former=FORMER)
@table_options
@click.option(
    "--direction",
    "directions",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Direction of edits, may be repeated.  [default: SeFa's first three]",
)
@click.option(
    "--magnitude", type=float, callback=check_finite, default=3.0, help="Magnitude of the edits, to both sides."
)
@yielding_option
@click.option(
    "--repetitions", type=click.IntRange(min=2), default=3, help="Number of times that photos are inverted and edited."
)
@click.option(
    "--mask",
    type=PATH,
    metavar="auto|DIR",
    help="Measure the face alone besides: an ellipse where aligned faces are, or masks with the photos' names.",
)
@click.option(
    "--videos",
    type=click.IntRange(min=0),
    default=0,
    help="Number of photos, the first ones, whose repetitions are shown in a video; the paper has six of each.",
)
@one_sentence_errors
def stability_command(
    flags: TableFlags,
    directions: tuple[str, ...],
    magnitude: float,
    yielding: float | None,
    repetitions: int,
    mask: str | None,
    videos: int,
) -> None:
    """Section 4.7 of the paper: how similar edited photos are when all is done again with another seed.

    \b
    python calc_metrics.py stability --network=qc.safetensors --data=cats256-val.zip --mask=auto
    python calc_metrics.py stability --network=qc.safetensors --data=cats256-val.zip --repetitions=6 --videos=4 \\
        -o tables
    """
    from evaluation.tables.restoration_measures import NEEDED_BY_LPIPS
    from evaluation.tables.stability import StabilityOptions, stability_table
    from inversion.commands.building import make_direction
    from inversion.directions.search import Search, find_directions
    from metrics.pairs import load_measure
    from torch_utils.precision import with_float64

    if flags.outdir is None:
        require_effect(["videos"], "without --outdir; add it, or leave it out")
    inverter, photos = open_photos(flags)
    chosen = tuple(make_direction(path, inverter) for path in directions)
    chosen = chosen or tuple(find_directions(inverter.G, "sefa", Search(count=3)))
    options = StabilityOptions(chosen, magnitude, repetitions, mask, videos, yielding_of(yielding, inverter))
    weights = flags.weights
    names = ["psnr", "pd_cifar"] + ["lpips_alex"] * all(weights.has(name) for name in NEEDED_BY_LPIPS)
    measures = {name: load_measure(name, weights, with_float64(inverter.device)) for name in names}
    publish_table(stability_table(inverter, photos, options, measures, flags.parts_folder()), flags.outdir)


@commands.command("editability", sections=SECTIONS, former=FORMER)
@table_options
@click.option(
    "--scorer",
    "text",
    type=PATH,
    required=True,
    metavar="NAME",
    help="Scorer of the edited property: a name of `invert.py directions --list`, or FILE.pt in TorchScript.",
)
@click.option(
    "--direction", type=PATH, metavar="FILE", help="Direction of the edits.  [default: InterFaceGAN's for the scorer]"
)
@click.option(
    "--samples", type=click.IntRange(min=2), default=10_000, help="Number of w that this default is computed from."
)
@click.option(
    "--magnitudes", type=click.IntRange(min=2), default=COUNT, help="Number of magnitudes, from -reach to reach."
)
@click.option("--reach", type=float, callback=check_finite, default=REACH, help="Largest magnitude.")
@yielding_option
@base_option
@click.option("--sheet", type=PATH, metavar="FILE", help="With --base: figure of edits by both networks, .png.")
@one_sentence_errors
def editability_command(
    flags: TableFlags,
    text: str,
    direction: str | None,
    samples: int,
    magnitudes: int,
    reach: float,
    yielding: float | None,
    base: str | None,
    sheet: str | None,
) -> None:
    """Table 3 of the paper's supplement: how much edits change the property that they are meant for.

    \b
    python calc_metrics.py editability --network=qc.safetensors --data=cats256-val.zip --count=100 --scorer=warmth
    """
    from evaluation.tables.editability import EditOptions, editability_table, edits_sheet
    from images.sheets import save_png
    from inversion.commands.building import make_direction
    from inversion.directions.scorers import load_scorer
    from inversion.directions.search import Search, find_directions

    if base is None:
        require_effect(["sheet"], "without --base; add it, or leave it out")
    if sheet is not None and check_output(sheet, "--sheet").suffix.lower() != ".png":
        raise UserError(f"--sheet={sheet} does not end in .png; name it {Path(sheet).stem}.png")
    inverter, photos = open_photos(flags)
    yields = yielding_of(yielding, inverter)
    name, scorer = load_scorer(text, inverter.device)
    path = Path(text.partition("#")[0])
    scorer_settings = {"scorer": text, "sha256": sha256(path) if path.is_file() else None}

    def edits(of: Inverter) -> EditOptions:
        if direction is not None:
            chosen = make_direction(direction, of)
        else:
            [chosen] = find_directions(of.G, "interfacegan", Search(samples=samples, scorers={name: scorer}))
        return EditOptions(chosen, name, scorer, scorer_settings, reach, magnitudes, yields)

    options = edits(inverter)
    if base is None:
        publish_table(editability_table(inverter, photos, options, flags.parts_folder()), flags.outdir)
        return
    plain = base_inverter(flags, base, inverter)
    of_plain = edits(plain)
    publish_table(editability_table(inverter, photos, options, flags.parts_folder(), (plain, of_plain)), flags.outdir)
    if sheet is not None:
        save_png(sheet, edits_sheet(inverter, plain, photos, (options, of_plain), SHEET_ROWS))
        click.echo(f"{sheet} shows edits by both networks")
