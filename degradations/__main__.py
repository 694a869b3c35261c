"""Degrade one photo: `python -m degradations PHOTO --degradation mixture --seed 3 -o out.png`.

`python -m degradations --statistics --degradation mixture` prints how often a recipe does what.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from degradations.images import MAX_SIDE
from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import real_path
from dnnlib.flags import PATH, require_effect

if TYPE_CHECKING:
    from degradations import Applied


@commands.command(former={"--recipe": "--degradation"})
@click.argument("photo", type=PATH, required=False)
@click.option(
    "--degradation", "recipe", metavar="NAME", help="Name of the mixture or track to apply  [default: mixture]"
)
@click.option("--primitive", metavar="NAME", help="Name of a single degradation to apply instead of a recipe")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of all random numbers")
@click.option("-o", "--output", type=PATH, help="PNG file to write.  [default: PHOTO-NAME-SEED.png in this folder]")
@click.option("--statistics", is_flag=True, help="Print what share of images gets which degradation, and no photo")
@click.option(
    "--width", type=click.IntRange(1, MAX_SIDE), default=256, help="With --statistics: side of the images in pixels"
)
@commands.version_option
@one_sentence_errors
def main(
    photo: str | None,
    recipe: str | None,
    primitive: str | None,
    seed: int,
    output: str | None,
    statistics: bool,
    width: int,
) -> None:
    """Degrade PHOTO, write the result as PNG and print what was done as JSON."""
    if statistics:
        if photo is not None:
            raise UserError(f"--statistics are those of a recipe, without a photo; leave out {photo}")
        require_effect(["primitive", "output"], "with --statistics")
        print_statistics(recipe or "mixture", width, seed)
        return
    require_effect(["width"], "without --statistics")
    if photo is None:
        raise UserError("no photo is given; write PHOTO, or --statistics for what a recipe does")
    degrade_photo(photo, recipe, primitive, seed, output)


def print_statistics(recipe: str, width: int, seed: int) -> None:
    """Print the shares of a recipe's plans, and the ranges of what they draw."""
    from degradations.statistics import PLANS, drawn_ranges, plan_shares

    click.echo(f"{recipe} at {width} px, {PLANS} images, seed {seed}")
    for name, share in plan_shares(recipe, width, seed).items():
        click.echo(f"  {name:<32}{100 * share:6.1f} %")
    for name, (low, high) in drawn_ranges(recipe, width, seed).items():
        click.echo(f"  {name:<32}{low:g} to {high:g}")


def degrade_photo(photo: str, recipe: str | None, primitive: str | None, seed: int, output: str | None) -> None:
    """Degrade a photo, write the result, and print what was done."""
    from images.origin import DERIVED, distance, read_head
    from images.photos import read_gray_or_colour
    from images.sheets import save_png

    if recipe is not None and primitive is not None:
        raise UserError("--degradation and --primitive exclude each other; give one of them")
    kind, name = ("primitive", primitive) if primitive is not None else ("recipe", recipe)
    name = "mixture" if name is None else name
    image, record = run(read_gray_or_colour(photo), kind, name, np.random.default_rng(seed))
    source = Path(photo)
    dest = Path(f"{source.stem}-{name}-{seed}.png" if output is None else output)
    check_output(dest, source)
    save_png(dest, image, max(DERIVED, distance(read_head(photo)) + 1))
    applied = [entry.to_json() for entry in record]
    click.echo(json.dumps({"output": str(dest), kind: name, "seed": seed, "applied": applied}, indent=2))


def run(image: np.ndarray, kind: str, name: str, rng: np.random.Generator) -> tuple[np.ndarray, list[Applied]]:
    """Degrade uint8 [H, W, C] by the recipe or the primitive (`kind`) called `name`."""
    from degradations import apply_primitive, degrade

    if kind == "recipe":
        return degrade(image, name, rng)
    degraded, applied = apply_primitive(image, name, rng)
    return degraded, [applied]


def check_output(output: Path, photo: Path) -> None:
    """Raise UserError unless `output` is a PNG file other than the photo itself."""
    if output.suffix.lower() != ".png":
        raise UserError(f"the output {output} is not a .png file, the one format written; name it {output.stem}.png")
    if real_path(output) == real_path(photo):
        raise UserError(f"the output {output} is the photo itself; choose another name for -o")


if __name__ == "__main__":
    main(prog_name="python -m degradations")
