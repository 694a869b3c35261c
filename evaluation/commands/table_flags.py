"""The flags that the tables of inverted photos share, and the inverter and the photos that are made of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dnnlib.cache import cache_folder, private_folder
from dnnlib.errors import UserError
from dnnlib.files import prepare_directory
from dnnlib.flags import PATH, Command, Decorator, add_options, gather_flags
from dnnlib.remote.locations import NetworkFile
from evaluation.commands.options import device_option, outdir_option
from inversion.commands.options import InverterFlags, TuningFlags, space_option
from metrics.weights.directory import WeightsDirectory
from metrics.weights.option import weights_dir_option

if TYPE_CHECKING:
    from evaluation.photo_sets import DegradedPhotos, PhotoOptions
    from inversion.inverter import Inverter

SECTIONS = {
    "Network and data": ("network", "encoder", "encoders", "no_encoder", "data", "images", "degradation", "outdir"),
    "What is measured": (
        *("methods", "baselines", "others", "base", "tracks", "fidelity", "sheet", "sheet_of", "pristine"),
        *("directions", "direction", "magnitude", "yielding", "repetitions", "mask", "videos"),
        *("text", "samples", "magnitudes", "reach"),
    ),
    "Running": ("batch", "seed", "device", "weights_dir"),
    "Expert: the search for codes, and tuning": ("steps", "space", "tuning_steps", "perceptual", "overrides"),
}
FORMER = {"--images": "--count", "--steps": "--projector-steps"}


@dataclass(frozen=True, kw_only=True)
class TableFlags:
    """The flags that all these tables have, as they were given; None leaves a choice to the program.

    Attributes:
        network: file of the QC network.
        encoder: file of an encoder for this network; None: the one beside it, if there is one.
        data: folder or zip of sharp photos.
        images: number of photos; None: all.
        steps: steps of the projector.
        space: latent space of the projector, `w` or `w+`.
        tuning_steps: largest number of tuning steps; 0: no tuning.
        perceptual: name of the perceptual distance.
        overrides: arguments of --set.
        batch: number of photos inverted at once.
        seed: seed of the degradations.
        weights_dir: directory of published weights.
        device: name of the device.
        outdir: folder of the table; None: it is printed alone.
        no_encoder: whether the projector works alone.
        fidelity: how much restored photos keep of the photo, in the table of restoration.
    """

    network: str
    encoder: str | None = None
    data: str
    images: int | None
    steps: int | None
    space: str | None = None
    tuning_steps: int | None
    perceptual: str
    overrides: tuple[str, ...]
    batch: int
    seed: int
    weights_dir: str | None
    device: str | None
    outdir: str | None
    no_encoder: bool = False
    fidelity: float | None = None

    @property
    def photos(self) -> PhotoOptions:
        """The photos of the table."""
        from evaluation.photo_sets import PhotoOptions

        return PhotoOptions(self.data, self.images, self.batch, self.seed)

    def parts_folder(self) -> Path:
        """Return the folder of finished parts, from which a command that was stopped goes on: the table's, or a cache.

        Raises UserError where it cannot be written to.
        """
        return private_folder(cache_folder("tables")) if self.outdir is None else prepare_directory(self.outdir)

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
            space=self.space,
            perceptual=self.perceptual,
            overrides=self.overrides,
            weights_dir=self.weights_dir,
            device=self.device,
            fidelity=self.fidelity,
        )
        inverter = make_inverter(inverting, TuningFlags(tuning_steps=self.tuning_steps), needs_quality)
        prepare_device(inverter.device)
        return inverter


encoder_option = click.option(
    "--encoder", type=NetworkFile(), help="Encoder for this network.  [default: the one in its folder]"
)
_OPTIONS = [
    click.option("--network", type=NetworkFile(), required=True, help="QC network that photos are inverted into."),
    encoder_option,
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
    space_option,
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
    outdir_option,
]


base_option = click.option(
    "--base", type=NetworkFile(), help="Plain network that the same photos are inverted into, as a baseline."
)


def base_inverter(flags: TableFlags, base: str, inverter: Inverter, **changes: Any) -> Inverter:
    """Return the inverter of a plain network, to compare with that of the QC network; `changes` are of other flags.

    Raises UserError for a network with quality codes, and for one of another size.
    """
    plain = dataclasses.replace(flags, network=base, encoder=None, **changes).inverter(needs_quality=False)
    if plain.G.q_dim > 0:
        raise UserError(f"--base={base} has a quality code; give the plain network that it was trained from")
    theirs, ours = ((G.img_resolution, G.img_channels) for G in (plain.G, inverter.G))
    if theirs != ours:
        raise UserError(
            f"--base={base} makes images of {theirs[0]} px and {theirs[1]} channels, --network of {ours[0]} px and "
            f"{ours[1]}; give one of that size"
        )
    return plain


def table_options(command: Command, without: Decorator | None = None) -> Command:
    """Add the options that all these tables have; the command receives them as `flags: TableFlags`."""
    options = [option for option in _OPTIONS if option is not without]
    return add_options(gather_flags("flags", TableFlags)(command), options)


def open_photos(flags: TableFlags) -> tuple[Inverter, DegradedPhotos]:
    """Return the inverter and the multiple-degraded photos of the flags; raise UserError where these do not fit."""
    from evaluation.photo_sets import RECIPE, DegradedPhotos

    flags.parts_folder()  # can it be written to
    inverter = flags.inverter()
    return inverter, DegradedPhotos(flags.photos, RECIPE, inverter.G)
