"""The commands that make tables of inverted photos: `restoration`, `inversion`, `stability`, `editability`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import prepare_directory, sha256
from dnnlib.flags import PATH, Command, Decorator, add_options, gather_flags, require_effect
from dnnlib.remote.locations import NetworkFile
from evaluation.choices import COUNT, METHODS, REACH, TRACKS
from evaluation.commands.options import device_option
from evaluation.tables.table import Table, write_table
from inversion.commands.options import InverterFlags, TuningFlags, check_finite, check_output, fidelity_option
from metrics.weights.directory import WeightsDirectory
from metrics.weights.option import weights_dir_option

if TYPE_CHECKING:
    from evaluation.photo_sets import DegradedPhotos, PhotoOptions
    from inversion.inverter import Inverter

SECTIONS = {
    "Network and data": ("network", "encoder", "encoders", "no_encoder", "data", "images", "degradation", "outdir"),
    "What is measured": (
        *("methods", "tracks", "fidelity", "sheet", "pristine", "directions", "direction", "magnitude", "repetitions"),
        *("text", "samples", "magnitudes", "reach"),
    ),
    "Running": ("batch", "seed", "device", "weights_dir"),
    "Expert: the search for codes, and tuning": ("steps", "tuning_steps", "perceptual", "overrides"),
}
FORMER = {"--images": "--count", "--steps": "--projector-steps"}
STAGES = ("encoder", "projector", "quality", "tuning")  # of an inversion


@dataclass(frozen=True, kw_only=True)
class TableFlags:
    """The flags that all these tables have, as they were given; None leaves a choice to the program.

    Attributes:
        network: file of the QC network.
        encoder: file of an encoder for this network; None: the one beside it, if there is one.
        data: folder or zip of sharp photos.
        images: number of photos; None: all.
        steps: steps of the projector.
        tuning_steps: largest number of tuning steps; 0: no tuning.
        perceptual: name of the perceptual distance.
        overrides: arguments of --set.
        batch: number of photos inverted at once.
        seed: seed of the degradations.
        weights_dir: directory of published weights.
        device: name of the device.
        outdir: folder of the table.
        no_encoder: whether the projector works alone.
        fidelity: how much restored photos keep of the photo, in the table of restoration.
    """

    network: str
    encoder: str | None = None
    data: str
    images: int | None
    steps: int | None
    tuning_steps: int | None
    perceptual: str
    overrides: tuple[str, ...]
    batch: int
    seed: int
    weights_dir: str | None
    device: str | None
    outdir: str
    no_encoder: bool = False
    fidelity: float | None = None

    @property
    def photos(self) -> PhotoOptions:
        """The photos of the table."""
        from evaluation.photo_sets import PhotoOptions

        return PhotoOptions(self.data, self.images, self.batch, self.seed)

    @property
    def weights(self) -> WeightsDirectory:
        """The directory of published weights."""
        return WeightsDirectory.find(self.weights_dir)

    def inverter(self, needs_quality: bool = True) -> Inverter:
        """Return the inverter of the flags, with its device prepared."""
        from evaluation.job import prepare_device
        from inversion.commands.building import make_inverter

        inverting = InverterFlags(
            network=self.network,
            encoder=self.encoder,
            no_encoder=self.no_encoder,
            steps=self.steps,
            perceptual=self.perceptual,
            overrides=self.overrides,
            weights_dir=self.weights_dir,
            device=self.device,
            fidelity=self.fidelity,
        )
        inverter = make_inverter(inverting, TuningFlags(tuning_steps=self.tuning_steps), needs_quality)
        prepare_device(inverter.device)
        return inverter


_ENCODER = click.option(
    "--encoder", type=NetworkFile(), help="Encoder for this network.  [default: the one in its folder]"
)
_OPTIONS = [
    click.option("--network", type=NetworkFile(), required=True, help="QC network that photos are inverted into."),
    _ENCODER,
    click.option(
        "--data", type=PATH, required=True, metavar="PATH", help="Folder or zip of sharp photos of the network's size."
    ),
    click.option(
        "--count",
        "images",
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of photos, the first ones.  [default: all]",
    ),
    click.option(
        "--projector-steps",
        "steps",
        type=click.IntRange(min=0),
        help="Steps of the projector.  [default: 150; 0 after an encoder]",
    ),
    click.option("--tuning-steps", type=click.IntRange(min=0), help="Most steps of tuning; 0: none.  [default: 100]"),
    click.option(
        "--perceptual", default="cifar", help="Perceptual distance of projector and tuning, such as lpips_alex."
    ),
    click.option(
        "--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Any option of a stage: tuning.stop_psnr=35."
    ),
    click.option("--batch", type=click.IntRange(min=1), default=4, help="Number of photos inverted at once."),
    click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the degradations."),
    weights_dir_option,
    device_option,
    click.option("-o", "--outdir", type=PATH, default="tables", help="Folder of the table and of its finished parts."),
]


def _table_options(command: Command, without: Decorator | None = None) -> Command:
    """Add the options that all these tables have; the command receives them as `flags: TableFlags`."""
    options = [option for option in _OPTIONS if option is not without]
    return add_options(gather_flags("flags", TableFlags)(command), options)


@commands.command("restoration", sections=SECTIONS, former=FORMER)
@_table_options
@fidelity_option
@click.option(
    "--method",
    "methods",
    type=click.Choice(list(METHODS), case_sensitive=False),
    multiple=True,
    help="Method, may be repeated.  [default: encoder where there is one, else projector+PTI]",
)
@click.option(
    "--track",
    "tracks",
    type=click.Choice(TRACKS),
    multiple=True,
    default=TRACKS,
    help="Kind of degradation, may be repeated.",
)
@click.option("--sheet", type=click.IntRange(min=0), default=16, help="Number of photos in each sheet; 0: no sheets.")
@click.option("--pristine", type=PATH, metavar="FILE", help="NIQE's model, by fit-niqe.  [default: the published one]")
@one_sentence_errors
def restoration_command(
    flags: TableFlags, methods: tuple[str, ...], tracks: tuple[str, ...], sheet: int, pristine: str | None
) -> None:
    """Table 2 of the paper: restore photos that were blurred, shrunk, made noisy, compressed, or several of these.

    Beside the table there is a sheet for each track and method. The same command again goes on after the last track
    and method that was finished.

    \b
    python calc_metrics.py restoration --network=qc.safetensors --data=cats256-val.zip --count=100 -o tables
    python calc_metrics.py restoration --network=qc.safetensors --encoder=encoder.safetensors --data=cats256-val.zip \\
        --method=encoder --method=encoder+PTI
    """
    from evaluation.tables.restoration import RestorationMeasures, RestorationOptions, restoration_table
    from inversion.encoders.files import find_encoder
    from torch_utils.precision import with_float64

    prepare_directory(flags.outdir)
    photos = flags.photos
    encoder = flags.encoder or find_encoder(flags.network)
    methods = tuple(dict.fromkeys(methods)) or ("projector+PTI" if encoder is None else "encoder",)
    _check_methods(flags, methods, has_encoder=encoder is not None)
    inverters = {method: _method_inverter(flags, method) for method in methods}
    first = next(iter(inverters.values()))
    measures = RestorationMeasures(flags.weights, with_float64(first.device), first.G.img_resolution, pristine)
    options = RestorationOptions(tuple(dict.fromkeys(tracks)), sheet)
    _publish(restoration_table(inverters, photos, options, measures, flags.outdir), flags.outdir)


@commands.command("inversion", sections=SECTIONS, former=FORMER)
@functools.partial(_table_options, without=_ENCODER)
@click.option(
    "--encoder",
    "encoders",
    type=NetworkFile(),
    multiple=True,
    help="Encoder to be compared with others, may be repeated.  [default: the table of Section 4.3]",
)
@click.option("--degradation", default="none", help="With --encoder: recipe that degrades the photos, or none.")
@click.option("--sheet", type=PATH, metavar="FILE", help="With --encoder: figure of photos and reconstructions, .png.")
@one_sentence_errors
def inversion_command(flags: TableFlags, encoders: tuple[str, ...], degradation: str, sheet: str | None) -> None:
    """Section 4.3 of the paper: how close reconstructions come to photos with several degradations.

    With --encoder, any encoders over any photos, of which the middle squares are taken: SSIM, PSNR, MSE, LPIPS (or
    pd_cifar), ID, Frechet distance and seconds, a row for each encoder; without tuning unless --tuning-steps is given.

    \b
    python calc_metrics.py inversion --network=qc.safetensors --data=cats256-val.zip --count=100
    python calc_metrics.py inversion --network=qc.safetensors --encoder=psp.safetensors \\
        --encoder=feature-style.safetensors --data=photos --sheet=encoders.png
    """
    from evaluation.photo_sets import SquarePhotos
    from evaluation.tables.encoders import EncoderMeasures, encoders_sheet, encoders_table
    from evaluation.tables.inversion import inversion_table
    from images.sheets import save_png
    from inversion.photos.encoded import names_of
    from torch_utils.precision import with_float64

    if not encoders:
        require_effect(["degradation", "sheet"], "without --encoder; add it, or leave it out")
        inverter, photos = _open(flags)
        _publish(inversion_table(inverter, photos, flags.outdir), flags.outdir)
        return
    if sheet is not None and check_output(sheet, "--sheet").suffix.lower() != ".png":
        raise UserError(f"--sheet={sheet} does not end in .png; name it {Path(sheet).stem}.png")
    prepare_directory(flags.outdir)
    flags = dataclasses.replace(flags, tuning_steps=flags.tuning_steps or 0)
    inverters = {
        name: dataclasses.replace(flags, encoder=encoder).inverter(needs_quality=False)
        for name, encoder in zip(names_of([Path(encoder) for encoder in encoders]), encoders, strict=True)
    }
    first = next(iter(inverters.values()))
    squares = SquarePhotos(flags.photos, None if degradation == "none" else degradation, first.G)
    measures = EncoderMeasures(flags.weights, with_float64(first.device))
    _publish(encoders_table(inverters, squares, measures, flags.outdir), flags.outdir)
    if sheet is not None:
        save_png(sheet, encoders_sheet(inverters, squares))
        click.echo(f"{sheet} shows the photos and their reconstructions")


@commands.command("stability", sections=SECTIONS, former=FORMER)
@_table_options
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
@click.option(
    "--repetitions", type=click.IntRange(min=2), default=3, help="Number of times that photos are inverted and edited."
)
@one_sentence_errors
def stability_command(flags: TableFlags, directions: tuple[str, ...], magnitude: float, repetitions: int) -> None:
    """Section 4.7 of the paper: how similar edited photos are when all is done again with another seed."""
    from evaluation.tables.restoration import NEEDED_BY_LPIPS
    from evaluation.tables.stability import StabilityOptions, stability_table
    from inversion.commands.building import make_direction
    from inversion.directions.search import Search, find_directions
    from metrics.pairs import load_measure
    from torch_utils.precision import with_float64

    inverter, photos = _open(flags)
    chosen = tuple(make_direction(path, inverter) for path in directions)
    chosen = chosen or tuple(find_directions(inverter.G, "sefa", Search(count=3)))
    options = StabilityOptions(chosen, magnitude, repetitions)
    weights = flags.weights
    names = ["psnr", "pd_cifar"] + ["lpips_alex"] * all(weights.has(name) for name in NEEDED_BY_LPIPS)
    measures = {name: load_measure(name, weights, with_float64(inverter.device)) for name in names}
    _publish(stability_table(inverter, photos, options, measures, flags.outdir), flags.outdir)


@commands.command("editability", sections=SECTIONS, former=FORMER)
@_table_options
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
@one_sentence_errors
def editability_command(
    flags: TableFlags, text: str, direction: str | None, samples: int, magnitudes: int, reach: float
) -> None:
    """Table 3 of the paper's supplement: how much edits change the property that they are meant for.

    \b
    python calc_metrics.py editability --network=qc.safetensors --data=cats256-val.zip --count=100 --scorer=warmth
    """
    from evaluation.tables.editability import EditOptions, editability_table
    from inversion.commands.building import make_direction
    from inversion.directions.scorers import load_scorer
    from inversion.directions.search import Search, find_directions

    inverter, photos = _open(flags)
    name, scorer = load_scorer(text, inverter.device)
    if direction is not None:
        chosen = make_direction(direction, inverter)
    else:
        [chosen] = find_directions(inverter.G, "interfacegan", Search(samples=samples, scorers={name: scorer}))
    path = Path(text.partition("#")[0])
    scorer_settings = {"scorer": text, "sha256": sha256(path) if path.is_file() else None}
    options = EditOptions(chosen, name, scorer, scorer_settings, reach, magnitudes)
    _publish(editability_table(inverter, photos, options, flags.outdir), flags.outdir)


def _open(flags: TableFlags) -> tuple[Inverter, DegradedPhotos]:
    """Return the inverter and the multiple-degraded photos of the flags; raise UserError where these do not fit."""
    from evaluation.photo_sets import RECIPE, DegradedPhotos

    prepare_directory(flags.outdir)
    inverter = flags.inverter()
    return inverter, DegradedPhotos(flags.photos, RECIPE, inverter.G)


def _check_methods(flags: TableFlags, methods: Iterable[str], has_encoder: bool) -> None:
    """Raise UserError for a method that lacks its encoder, and for a flag that has no effect on any of the methods."""
    stages = {stage for method in methods for stage in _stages(method)}
    named = " and ".join(f"--method={method}" for method in methods)
    if "encoder" in stages and not has_encoder:
        raise UserError(f"{named} needs an encoder, and there is none beside {flags.network}; give --encoder=FILE")
    given = {
        "--encoder": ("encoder", flags.encoder),
        "--projector-steps": ("projector", flags.steps),
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


def _publish(table: Table, outdir: str) -> None:
    """Print a table, and write it to a folder."""
    click.echo(table.markdown())
    write_table(table, outdir)
