"""The command `pair-direction`: a direction from a photo before and after a change (Bai et al. 2022, Fig. S9)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, counted
from dnnlib.files import sha256
from dnnlib.flags import PATH
from dnnlib.parsing import existing
from inversion.commands.options import (
    FORMER,
    InverterFlags,
    check_codes,
    check_output,
    codes_option,
    finish_together,
    network_options_but,
    photo_sections,
    space_option,
)

if TYPE_CHECKING:
    from inversion.photos.encoded import EncodedPhoto

SUFFIX = ".safetensors"


@commands.command("pair-direction", sections=photo_sections("moved"), former=FORMER)
@click.argument("photos", type=PATH, nargs=-1, required=True, metavar="BEFORE AFTER...")
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="File of the direction, for edit.")
@click.option(
    "--space",
    "moved",
    type=click.Choice(["padding", "ws"]),
    required=True,
    help="What the direction moves: padding (glasses, fringes and whatever has its place), or ws (style).",
)
@network_options_but(space_option)
@codes_option
@one_sentence_errors
def pair_direction_command(
    photos: tuple[str, ...],
    output: str,
    moved: Literal["padding", "ws"],
    inverting: InverterFlags,
    align: str | None,
    codes: str | None,
) -> None:
    """Make a direction for `edit` of a photo before and after a change; of several pairs it is the mean.

    Give one photo before and one after, more of such pairs, or two folders with photos of the same names. Strength 1 is
    the whole change. Pairs with a photo that cannot be read, or has no face for --align, are skipped; of several
    faces the largest is taken.

    \b
    python invert.py pair-direction bare.jpg glasses.jpg --space=padding --network=qc.safetensors \\
        -o glasses.safetensors
    python invert.py edit --direction=glasses.safetensors --strength=1 --network=qc.safetensors -i photos -o edited
    """
    from inversion.commands.building import make_inverter, make_reader
    from inversion.directions.direction import save_direction
    from inversion.directions.pairs import pair_direction
    from inversion.photos.encoded import encode_photos, errors_of, usable
    from inversion.photos.reader import ALL
    from torch_utils.checkpoint import read_header

    path = check_output(output)
    if path.suffix.lower() != SUFFIX:
        raise UserError(f"--output={output} does not end in {SUFFIX}; name it {path.stem}{SUFFIX}")
    pairs = photo_pairs(photos)
    check_codes(codes)
    inverter = make_inverter(inverting, None, needs_quality=False)
    reader = make_reader(align, inverter, ALL)
    sides = []
    for side, source in enumerate(photos[:2]):
        files = [pair[side] for pair in pairs]
        folder = Path(source) if Path(source).is_dir() else files[0]
        sides.append(encode_photos(files, folder, inverter, reader, codes))
    found = usable([whole_pair(before, after) for before, after in zip(*sides, strict=True)])
    codes_before, codes_after = ([pair[side].latents for pair in found] for side in range(2))
    licence = read_header(inverting.network).get("licence")
    details: dict[str, Any] = {"pairs": len(found)} | ({} if licence is None else {"licence": licence})
    direction = pair_direction(
        inverter.G, codes_before, codes_after, moved, path.stem, sha256(inverter.network), details
    )
    save_direction(path, direction)
    made = f"{output}: a direction in {moved} from {len(found)} pair{'s' * (len(found) > 1)}"
    finish_together(made, [error for side in sides for error in errors_of(side)])


def whole_pair(
    before: EncodedPhoto | UserError, after: EncodedPhoto | UserError
) -> tuple[EncodedPhoto, EncodedPhoto] | UserError:
    """Return a pair of photos, or what is wrong with one of them."""
    if isinstance(before, UserError):
        return before
    return after if isinstance(after, UserError) else (before, after)


def photo_pairs(paths: Sequence[str]) -> list[tuple[Path, Path]]:
    """Return pairs of photos: two by two, or those of two folders whose names are the same but for their endings.

    Raises UserError for a photo without partner.
    """
    folders = [Path(path).is_dir() for path in paths]
    if any(folders) and not (all(folders) and len(paths) == 2):
        raise UserError("folders come in two, one of photos before and one after; give those alone")
    if any(folders):
        before, after = (_by_name(Path(path)) for path in paths)
        alone = sorted(before.keys() ^ after.keys())
        if alone:
            here, there = paths if alone[0] in before else reversed(paths)
            raise UserError(f"{alone[0]} of {here} has no partner in {there}; give folders with the same names")
        return [(file, after[name]) for name, file in before.items()]
    if len(paths) % 2:
        raise UserError(
            f"{counted(len(paths), 'photo')} cannot be divided into pairs; give one before and one after each change"
        )
    return [
        (existing(before, "photo"), existing(after, "photo"))
        for before, after in zip(paths[::2], paths[1::2], strict=True)
    ]


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the photos of a folder by their names below it without endings; raise UserError where two are alike."""
    from images.photos import photo_files

    files = photo_files(folder)
    names = {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}
    if len(names) < len(files):
        twice = next(file for file in files if file not in names.values())
        raise UserError(f"{folder} has two photos called {twice.stem}; keep one of them")
    return names
