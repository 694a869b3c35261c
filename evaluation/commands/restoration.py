"""The commands about Table 2 of the paper: `restoration`, and `degrade-set`, whose photos other programs restore."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, counted
from dnnlib.flags import PATH, require_effect
from dnnlib.remote.locations import NetworkFile
from evaluation.choices import BASELINES, FURTHER_BASELINES, METHODS, SLIGHT, TRACKS
from evaluation.commands.options import publish_table
from evaluation.commands.table_flags import FORMER, SECTIONS, TableFlags, base_inverter, table_options
from inversion.commands.options import fidelity_option

if TYPE_CHECKING:
    from evaluation.restorers.restorer import Restorer
    from inversion.inverter import Inverter

STAGES = ("encoder", "projector", "quality", "tuning")  # stages of an inversion
SEARCH = "search"  # name of the row of --base


@commands.command("restoration", sections=SECTIONS, former=FORMER)
@table_options
@fidelity_option
@click.option(
    "--method",
    "methods",
    type=click.Choice(list(METHODS), case_sensitive=False),
    multiple=True,
    help="Method, may be repeated.  [default: encoder where there is one, else projector+PTI]",
)
@click.option(
    "--baseline",
    "baselines",
    type=click.Choice([*BASELINES, *FURTHER_BASELINES, "none"]),
    multiple=True,
    default=BASELINES,
    help="What methods have to beat, may be repeated: the degraded photo itself, a classical filter for each track, or "
    "for --track=blur Richardson and Lucy's iterations.",
)
@click.option(
    "--results",
    "others",
    multiple=True,
    metavar="NAME=DIR",
    help="Photos that another method restored from those of degrade-set, as DIR/TRACK/NAME.png; may be repeated.",
)
@click.option("--base", type=NetworkFile(), help="Plain network that is searched for sharp images, as by PULSE.")
@click.option(
    "--track",
    "tracks",
    type=click.Choice((*TRACKS, SLIGHT)),
    multiple=True,
    default=TRACKS,
    help="Kind of degradation, may be repeated; slight: small ones, as in the supplement's Fig. 29.",
)
@click.option(
    "--sheet", type=click.IntRange(min=0), default=16, help="Number of photos in each sheet in --outdir; 0: no sheets."
)
@click.option(
    "--sheet-of",
    type=click.Choice(["first", "extremes"]),
    default="first",
    help="Photos in the sheets: the first ones, or those that gain most and least by restoring, by pd_cifar.",
)
@click.option("--pristine", type=PATH, metavar="FILE", help="NIQE's model, by fit-niqe.  [default: the published one]")
@one_sentence_errors
def restoration_command(
    flags: TableFlags,
    methods: tuple[str, ...],
    baselines: tuple[str, ...],
    others: tuple[str, ...],
    base: str | None,
    tracks: tuple[str, ...],
    sheet: int,
    sheet_of: str,
    pristine: str | None,
) -> None:
    """Table 2 of the paper: restore photos that were blurred, shrunk, made noisy, compressed, or several of these.

    With --outdir there is a sheet for each track and method beside the table. The same command again goes on after the
    last track and method that was finished.

    \b
    python calc_metrics.py restoration --network=qc.safetensors --data=cats256-val.zip --count=100 -o tables
    python calc_metrics.py restoration --network=qc.safetensors --encoder=encoder.safetensors --data=cats256-val.zip \\
        --method=encoder --method=encoder+PTI
    python calc_metrics.py degrade-set --data=cats256-val.zip -o inputs
    python calc_metrics.py restoration --network=qc.safetensors --data=cats256-val.zip --results=NAFNet=outputs
    """
    from evaluation.tables.restoration import RestorationOptions, restoration_table
    from evaluation.tables.restoration_measures import RestorationMeasures
    from inversion.encoders.files import find_encoder
    from torch_utils.precision import with_float64

    folder = flags.parts_folder()
    if flags.outdir is None:
        require_effect(["sheet", "sheet_of"], "without --outdir; add it, or leave it out")
        sheet = 0
    photos = flags.photos
    encoder = flags.encoder or find_encoder(flags.network)
    methods = tuple(dict.fromkeys(methods)) or ("projector+PTI" if encoder is None else "encoder",)
    _check_methods(flags, methods, has_encoder=encoder is not None, searches=base is not None)
    rivals = _baselines(baselines) | _parse_results(others)
    inverters = {method: _method_inverter(flags, method) for method in methods}
    first = next(iter(inverters.values()))
    if base is not None:
        rivals |= {SEARCH: _search(flags, base, first)}
    measures = RestorationMeasures(flags.weights, with_float64(first.device), first.G.img_resolution, pristine)
    options = RestorationOptions(tuple(dict.fromkeys(tracks)), sheet, sheet_of == "extremes")
    publish_table(restoration_table(inverters, photos, options, measures, folder, rivals), flags.outdir)


@commands.command("degrade-set")
@click.option("--data", type=PATH, required=True, metavar="PATH", help="Folder or zip of sharp photos, squares.")
@click.option(
    "--track",
    "tracks",
    type=click.Choice([*TRACKS, SLIGHT, "all"]),
    multiple=True,
    default=("all",),
    help="Kind of degradation, may be repeated.",
)
@click.option(
    "--count",
    "images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of photos, the first ones.  [default: all]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the degradations, as of restoration.")
@click.option("-o", "--outdir", type=PATH, required=True, metavar="DIR", help="Folder of the photos.")
@one_sentence_errors
def degrade_set_command(data: str, tracks: tuple[str, ...], images: int | None, seed: int, outdir: str) -> None:
    """Write the degraded photos of Table 2, with the sharp ones, for methods of other programs.

    DIR/TRACK/NAME.png is degraded, DIR/sharp/NAME.png is the same photo sharp, and DIR/manifest.json says what was done
    to each. `restoration --data --seed --results=METHOD=OUTPUTS` takes what a method makes of them, as
    OUTPUTS/TRACK/NAME.png.

    \b
    python calc_metrics.py degrade-set --data=cats256-val.zip --track=all -o inputs
    """
    from evaluation.degrade_set import write_degrade_set
    from evaluation.photo_sets import PhotoOptions

    named = [name for track in tracks for name in (TRACKS if track == "all" else (track,))]
    chosen = tuple(dict.fromkeys(named))
    count = write_degrade_set(PhotoOptions(data, images, seed=seed), chosen, outdir)
    click.echo(
        f"{outdir}: {counted(count, 'photo')}, sharp and in {counted(len(chosen), 'track')}; "
        "manifest.json says what was done to each"
    )


def _baselines(names: Sequence[str]) -> dict[str, Restorer]:
    """Return the chosen baselines by name; raise UserError where none is chosen among others."""
    from evaluation.restorers.classical import Classical, RichardsonLucy, Unchanged

    if "none" in names and len(names) > 1:
        raise UserError("--baseline=none contradicts the other --baseline; leave one of them out")
    known: dict[str, Restorer] = {"input": Unchanged(), "classical": Classical(), "richardson-lucy": RichardsonLucy()}
    return {name: restorer for name, restorer in known.items() if name in names}


def _parse_results(texts: Sequence[str]) -> dict[str, Restorer]:
    """Return the results of other programs by name, of texts such as `NAFNet=outputs`."""
    from evaluation.restorers.results import OtherResults

    found: dict[str, Restorer] = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise UserError(f"--results={text} is no name and folder; write for example --results=NAFNet=outputs")
        if "/" in name or not name.isprintable() or len(name) > 60:
            raise UserError(f"--results={text} has a name that no sheet can be named by; write for example NAFNet")
        if name in (*METHODS, *BASELINES, *FURTHER_BASELINES, SEARCH, *found):
            raise UserError(f"--results={text} has the name of another row of the table; choose another name")
        found[name] = OtherResults(name, str(Path(folder).expanduser()))
    return found


def _search(flags: TableFlags, base: str, first: Inverter) -> Restorer:
    """Return the search in a plain network, by the projector alone."""
    from evaluation.restorers.inverting import BySearch

    overrides = tuple(text for text in flags.overrides if text.startswith("projector."))
    return BySearch(
        base_inverter(flags, base, first, no_encoder=True, tuning_steps=0, overrides=overrides, fidelity=None)
    )


def _check_methods(flags: TableFlags, methods: Iterable[str], has_encoder: bool, searches: bool) -> None:
    """Raise UserError for a method that lacks its encoder, and for a flag that has no effect on any of the methods."""
    stages = {stage for method in methods for stage in _stages(method)} | ({"projector"} if searches else set())
    named = " and ".join(f"--method={method}" for method in methods)
    if "encoder" in stages and not has_encoder:
        raise UserError(f"{named} needs an encoder, and there is none beside {flags.network}; give --encoder=FILE")
    given = {
        "--encoder": ("encoder", flags.encoder),
        "--projector-steps": ("projector", flags.steps),
        "--space": ("projector", flags.space),
        "--tuning-steps": ("tuning", flags.tuning_steps),
        **{f"--set {text}": (text.partition(".")[0], text) for text in flags.overrides},
    }
    for flag, (stage, value) in given.items():
        if stage in STAGES and stage not in stages and value is not None:
            raise UserError(f"{flag} has no effect with {named}; leave it out, or take a method with {stage}")


def _method_inverter(flags: TableFlags, method: str) -> Inverter:
    """Return the inverter of a method of Table 2, from the flags of the method's stages."""
    stages = _stages(method)
    unused = tuple(f"{stage}." for stage in STAGES if stage not in stages)
    own = dataclasses.replace(
        flags,
        encoder=flags.encoder if "encoder" in stages else None,
        no_encoder="encoder" not in stages,
        steps=flags.steps if "projector" in stages else 0,
        space=flags.space if "projector" in stages else None,
        tuning_steps=flags.tuning_steps if "tuning" in stages else 0,
        overrides=tuple(text for text in flags.overrides if not text.startswith(unused)),
    )
    inverter = own.inverter()
    if "tuning" in stages and inverter.options.tuning is None:
        raise UserError(f"--method={method} tunes the generator, and that in 0 steps; give more, or leave out +PTI")
    return inverter


def _stages(method: str) -> list[str]:
    """Return the stages of a method: encoder (and the search for q) or projector, and tuning."""
    by_encoder, tunes = METHODS[method]
    return (["encoder", "quality"] if by_encoder else ["projector"]) + ["tuning"] * tunes
