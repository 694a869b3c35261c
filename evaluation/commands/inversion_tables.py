"""The commands that make tables of inverted photos: `restoration`, `inversion`, `stability`, `editability`."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import prepare_directory, sha256
from dnnlib.flags import SETTINGS
from dnnlib.remote.locations import NetworkFile
from evaluation.job import prepare_device
from evaluation.tables.editability import COUNT, REACH, EditOptions, editability_table
from evaluation.tables.inversion import RECIPE, DegradedPhotos, PhotoOptions, inversion_table
from evaluation.tables.restoration import METHODS, NEEDED_BY_LPIPS, TRACKS, Judge, RestorationOptions, restoration_table
from evaluation.tables.stability import StabilityOptions, stability_table
from evaluation.tables.table import Table, write_table
from inversion.commands.options import finite, make_inverter
from inversion.directions.direction import Direction, load_direction
from inversion.directions.scorers import load_scorer
from inversion.directions.search import Search, find_directions
from inversion.inverter import Inverter
from metrics.pairs import load_measure
from metrics.weights.directory import WeightsDirectory
from torch_utils.precision import with_float64

_INVERTER = ("network", "encoder", "steps", "tuning_steps", "perceptual", "overrides", "weights_dir", "device")
_PHOTOS = ("data", "images", "batch", "seed")
_OPTIONS = [
    click.option("--network", type=NetworkFile(), required=True, help="A QC network."),
    click.option("--encoder", type=NetworkFile(), help="Of this network.  [default: the projector alone]"),
    click.option("--data", required=True, metavar="PATH", help="Sharp photos, folder or zip, of the network's size."),
    click.option("--images", type=click.IntRange(min=1), metavar="N", help="The first N photos.  [default: all]"),
    click.option("--steps", type=click.IntRange(min=0), help="Of the projector.  [default: 150; 0 after an encoder]"),
    click.option("--tuning-steps", type=click.IntRange(min=0), help="At most; 0: none.  [default: 100]"),
    click.option("--perceptual", default="cifar", help="Distance of both, such as lpips_alex."),
    click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Such as tuning.stop_psnr=35."),
    click.option("--batch", type=click.IntRange(min=1), default=4, help="Photos at once."),
    click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the degradations."),
    click.option("--weights-dir", metavar="DIR", help="Published weights.  [default: $QC_STYLEGAN_WEIGHTS]"),
    click.option("--device", help="cuda, mps or cpu.  [default: the best there is]"),
    click.option("-o", "--outdir", default="tables", help="Where the table goes, and what is finished of it."),
]


def _shared(command: Callable) -> Callable:
    """Add the options that all these tables have."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("restoration", context_settings=SETTINGS)
@_shared
@click.option(
    "--method",
    "methods",
    type=click.Choice(list(METHODS), case_sensitive=False),
    multiple=True,
    help="May be repeated.  [default: encoder+PTI where there is an encoder, else projector+PTI]",
)
@click.option("--track", "tracks", type=click.Choice(TRACKS), multiple=True, default=TRACKS, help="May be repeated.")
@click.option("--sheet", type=click.IntRange(min=0), default=16, help="Photos that the sheets show; 0: no sheets.")
@click.option("--pristine", metavar="FILE", help="NIQE's model, by fit-niqe.  [default: the published one]")
@one_sentence_errors
def restoration_command(methods, tracks, sheet, pristine, outdir, **flags):
    """Table 2 of the paper: restore photos that were blurred, shrunk, made noisy, compressed, or several of these.

    Beside the table there is a sheet for each track and method. The same command again goes on after the last track
    and method that was finished.

    \b
    python calc_metrics.py restoration --network=qc.safetensors --data=cats256-val.zip --images=100 -o tables
    python calc_metrics.py restoration --network=qc.safetensors --encoder=encoder.safetensors --data=cats256-val.zip \\
        --method=encoder --method=encoder+PTI
    """
    prepare_directory(outdir)
    photos = _photos(flags)
    methods = dict.fromkeys(methods or ["projector+PTI" if flags["encoder"] is None else "encoder+PTI"])
    _check_methods(flags, methods)
    inverters = {method: _method_inverter(flags, method) for method in methods}
    first = next(iter(inverters.values()))
    weights = WeightsDirectory.find(flags["weights_dir"])
    judge = Judge(weights, with_float64(first.device), first.G.img_resolution, pristine)
    options = RestorationOptions(tuple(dict.fromkeys(tracks)), sheet)
    _publish(restoration_table(inverters, photos, options, judge, outdir), outdir)


@click.command("inversion", context_settings=SETTINGS)
@_shared
@one_sentence_errors
def inversion_command(outdir, **flags):
    """Section 4.3 of the paper: how close reconstructions come to photos with several degradations."""
    prepare_directory(outdir)
    inverter = _inverter(flags)
    photos = DegradedPhotos(_photos(flags), RECIPE, inverter.G)
    _publish(inversion_table(inverter, photos, outdir), outdir)


@click.command("stability", context_settings=SETTINGS)
@_shared
@click.option("--direction", "directions", multiple=True, metavar="FILE", help="[default: SeFa's first three]")
@click.option("--magnitude", type=float, callback=finite, default=3.0, help="Of the edits, to both sides.")
@click.option("--repetitions", type=click.IntRange(min=2), default=3, help="Of inversion and editing.")
@one_sentence_errors
def stability_command(directions, magnitude, repetitions, outdir, **flags):
    """Section 4.7 of the paper: how alike edited photos are when all is done again with another seed."""
    prepare_directory(outdir)
    inverter = _inverter(flags)
    photos = DegradedPhotos(_photos(flags), RECIPE, inverter.G)
    found = [_direction(path, inverter) for path in directions]
    found = found or find_directions(inverter.G, "sefa", Search(count=3))
    options = StabilityOptions(tuple(found), magnitude, repetitions)
    weights = WeightsDirectory.find(flags["weights_dir"])
    names = ["psnr", "pd_cifar"] + ["lpips_alex"] * all(weights.has(name) for name in NEEDED_BY_LPIPS)
    measures = {name: load_measure(name, weights, with_float64(inverter.device)) for name in names}
    _publish(stability_table(inverter, photos, options, measures, outdir), outdir)


@click.command("editability", context_settings=SETTINGS)
@_shared
@click.option(
    "--scorer",
    "text",
    required=True,
    metavar="NAME",
    help="What the edits change: a name of `invert.py directions --list`, or FILE.pt in TorchScript.",
)
@click.option("--direction", metavar="FILE", help="Of the edits.  [default: InterFaceGAN's for the scorer]")
@click.option("--samples", type=click.IntRange(min=2), default=10_000, help="w by which that direction is found.")
@click.option("--magnitudes", type=click.IntRange(min=2), default=COUNT, help="How many, from -reach to reach.")
@click.option("--reach", type=float, callback=finite, default=REACH, help="The largest magnitude.")
@one_sentence_errors
def editability_command(text, direction, samples, magnitudes, reach, outdir, **flags):
    """Table 3 of the paper's supplement: how much edits change what they are to change.

    \b
    python calc_metrics.py editability --network=qc.safetensors --data=cats256-val.zip --images=100 --scorer=warmth
    """
    prepare_directory(outdir)
    inverter = _inverter(flags)
    photos = DegradedPhotos(_photos(flags), RECIPE, inverter.G)
    name, scorer = load_scorer(text, inverter.device)
    if direction is not None:
        found = _direction(direction, inverter)
    else:
        [found] = find_directions(inverter.G, "interfacegan", Search(samples=samples, scorers={name: scorer}))
    path = Path(text.partition("#")[0])
    scorer_settings = {"scorer": text, "sha256": sha256(path) if path.is_file() else None}
    options = EditOptions(found, name, scorer, scorer_settings, reach, magnitudes)
    _publish(editability_table(inverter, photos, options, outdir), outdir)


def _photos(flags: dict[str, Any]) -> PhotoOptions:
    return PhotoOptions(**{name: flags[name] for name in _PHOTOS})


def _inverter(flags: dict[str, Any], **changes: Any) -> Inverter:
    """Return the inverter of the flags, some of them changed."""
    own = {name: flags[name] for name in _INVERTER} | changes
    inverter = make_inverter({**own, "space": None, "stop_psnr": None}, needs_quality=True)
    prepare_device(inverter.device)
    return inverter


def _check_methods(flags: dict[str, Any], methods: Iterable[str]) -> None:
    """Raise UserError for a method that lacks what it needs, and for a flag that concerns none of them."""
    stages = {stage for method in methods for stage in _stages(method)}
    named = " and ".join(f"--method={method}" for method in methods)
    if "encoder" in stages and flags["encoder"] is None:
        raise UserError(f"{named} needs an encoder; give --encoder=FILE")
    given = {
        "--encoder": ("encoder", flags["encoder"]),
        "--steps": ("projector", flags["steps"]),
        "--tuning-steps": ("tuning", flags["tuning_steps"]),
        **{f"--set {text}": (text.partition(".")[0], text) for text in flags["overrides"]},
    }
    for flag, (stage, value) in given.items():
        if stage in ("encoder", "projector", "tuning") and stage not in stages and value is not None:
            raise UserError(f"{flag} has no effect with {named}; leave it out, or take a method with {stage}")


def _method_inverter(flags: dict[str, Any], method: str) -> Inverter:
    """Return the inverter of a method of Table 2, which takes of the flags what concerns it."""
    stages = _stages(method)
    without = {"encoder": {"encoder": None}, "projector": {"steps": 0}, "tuning": {"tuning_steps": 0}}
    unused = [stage for stage in without if stage not in stages]
    changes = {name: value for stage in unused for name, value in without[stage].items()}
    overrides = [text for text in flags["overrides"] if not text.startswith(tuple(f"{stage}." for stage in unused))]
    inverter = _inverter(flags, **changes, overrides=overrides)
    if "tuning" in stages and inverter.options.tuning is None:
        raise UserError(f"--method={method} tunes the generator, and that in 0 steps; give more, or leave out +PTI")
    return inverter


def _stages(method: str) -> list[str]:
    """Return what a method consists of: encoder or projector, and tuning."""
    by_encoder, tunes = METHODS[method]
    return ["encoder" if by_encoder else "projector"] + ["tuning"] * tunes


def _direction(path: str, inverter: Inverter) -> Direction:
    return load_direction(path, inverter.G, sha256(inverter.network))


def _publish(table: Table, outdir: str) -> None:
    click.echo(table.markdown())
    write_table(table, outdir)
