"""The command `directions`: find directions in w to edit images along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.flags import PATH, gather_flags
from dnnlib.parsing import integers
from dnnlib.remote.locations import NetworkFile
from inversion.directions.methods import METHODS
from inversion.directions.seed_labels import read_labels

if TYPE_CHECKING:
    from inversion.directions.direction import Direction
    from networks.generators.interface import Generator

BY_SCORES = "interfacegan"
SECTIONS = {
    "Network and results": ("network", "outdir", "preview_seeds", "device_name", "batch"),
    "Search": ("method", "count", "layers", "samples", "class_index"),
    "Scores, for interfacegan": ("scorers", "labels", "ends", "without", "list"),
}


@dataclass(frozen=True)
class ScoreFlags:
    """The flags that only InterFaceGAN takes, as they were given.

    Attributes:
        scorers: names or files of scorers.
        labels: files of labels or scores by seed.
        without: files of directions that must not change.
        ends: share of the samples at either end.
    """

    scorers: tuple[str, ...]
    labels: tuple[str, ...]
    without: tuple[str, ...]
    ends: float | None

    def given(self) -> list[str]:
        """Return the flags that were given."""
        values = {
            "--scorer": self.scorers,
            "--labels": self.labels,
            "--without": self.without,
            "--ends": self.ends,
        }
        return [flag for flag, value in values.items() if value not in ((), None)]


def _list_scorers(context: click.Context, parameter: click.Parameter, is_given: bool) -> None:
    """Print the scorers that are always there, and stop, where --list is given."""
    from inversion.directions.scorers import descriptions

    if is_given and not context.resilient_parsing:
        scorers = descriptions()
        width = max(len(name) for name in scorers)
        click.echo("\n".join(f"{name:{width}}  {description}" for name, description in scorers.items()))
        context.exit()


@commands.command("directions", sections=SECTIONS, former={"--preview-seeds": "--seeds"})
@click.option("--network", type=NetworkFile(), required=True, help="A network-snapshot, plain or QC.")
@click.option("--method", type=click.Choice(METHODS.names()), required=True, help="Method that finds the directions.")
@click.option(
    "-o", "--outdir", type=PATH, required=True, help="Folder of the results; files of the same name are replaced."
)
@click.option("-k", "--count", type=click.IntRange(min=1), help="Number of directions of sefa and pca.  [default: 8]")
@click.option("--layers", default="all", metavar="LIST", help="Numbers of the ws that directions apply to, as 0-3.")
@click.option("--samples", type=click.IntRange(min=2), default=10_000, help="Number of w that are sampled.")
@gather_flags("scores", ScoreFlags)
@click.option(
    "--scorer",
    "scorers",
    type=PATH,
    multiple=True,
    metavar="NAME",
    help="For interfacegan: what the direction changes; a name of --list, or FILE.pt in TorchScript, or FILE.pt#3 for "
    "one of several outputs. May be given several times.",
)
@click.option(
    "--labels",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="For interfacegan: labels or scores by seed, .csv or .json.",
)
@click.option("--ends", type=float, help="For interfacegan: share of the samples at either end.  [default: 0.3]")
@click.option(
    "--without", type=PATH, multiple=True, metavar="FILE", help="For interfacegan: a direction that must not change."
)
@click.option(
    "--seeds", "preview_seeds", default="0-2", metavar="LIST", help="Seeds of the images that preview.png shows."
)
@click.option("--class", "class_index", type=int, help="Class of a conditional network.  [default: all classes]")
@click.option("--batch", type=click.IntRange(min=1), help="Images rendered at once.  [default: 64 on a GPU, else 16]")
@click.option("--device", "device_name", help="cuda, mps or cpu.  [default: the best there is]")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_scorers,
    help="Print the names of all scorers, and stop.",
)
@one_sentence_errors
def directions_command(
    network: str,
    method: str,
    outdir: str,
    count: int | None,
    layers: str,
    samples: int,
    scores: ScoreFlags,
    preview_seeds: str,
    class_index: int | None,
    batch: int | None,
    device_name: str | None,
) -> None:
    """Find directions in w that change one thing about an image, for `invert.py edit`.

    sefa takes them from the weights, pca from sampled w, and interfacegan finds what changes a score. Strength 1 of
    each is one standard deviation of sampled w. Besides the directions, preview.png is written, and
    preview-degraded.png for a network with quality codes.

    \b
    python invert.py directions --network=qc.safetensors --method=sefa --layers=0-3 -o directions
    python invert.py directions --network=qc.safetensors --method=interfacegan --scorer=warmth -o directions
    """
    from generation.sampling import check_class
    from inversion.directions.direction import load_direction, parse_layers, require_of_ws, save_direction
    from inversion.directions.previews import check_preview_size
    from inversion.directions.scorers import load_scorer
    from inversion.directions.search import Search, find_directions
    from networks.files import load
    from torch_utils.checkpoint import read_header
    from torch_utils.distributed import best_device
    from torch_utils.memory import keep_freed_memory

    _check_flags(method, count, scores)
    seeds = integers(preview_seeds)
    device = best_device(device_name)
    if device.type == "cpu":
        keep_freed_memory()
    G = load(network, device)
    G.require_own_codes(network)
    if class_index is not None:
        check_class(G, class_index)
    digest = sha256(network)
    search = Search(
        layers=parse_layers(layers, G.num_ws),
        samples=samples,
        class_index=class_index,
        labels={Path(path).stem: read_labels(path) for path in scores.labels},
        scorers=dict(load_scorer(text, device) for text in scores.scorers),
        without=tuple(require_of_ws(load_direction(path, G, digest)) for path in scores.without),
        batch=batch or (16 if device.type == "cpu" else 64),
        count=Search.count if count is None else count,
        ends=Search.ends if scores.ends is None else scores.ends,
    )
    expected = len(search.labels) + len(search.scorers) if method == BY_SCORES else search.count
    check_preview_size(expected * len(seeds), G.img_resolution)
    folder = _make_folder(outdir)
    licence = read_header(network).get("licence")
    directions = [_add_provenance(entry, digest, licence) for entry in find_directions(G, method, search)]
    for direction in directions:
        save_direction(folder / f"{direction.name}.safetensors", direction)
        click.echo(f"{direction.name}.safetensors: {_summary(direction)}")
    _write_previews(folder, G, directions, seeds, class_index)


def _check_flags(method: str, count: int | None, scores: ScoreFlags) -> None:
    """Raise UserError for flags that have no effect with a method, and for InterFaceGAN without scores."""
    given = scores.given()
    if method != BY_SCORES and given:
        raise UserError(f"{given[0]} has no effect with --method={method}; leave it out, or take {BY_SCORES}")
    if method == BY_SCORES and count is not None:
        raise UserError("-k has no effect with --method=interfacegan, which finds one direction for each score")
    if method == BY_SCORES and not (scores.scorers or scores.labels):
        raise UserError("--method=interfacegan needs to know what to look for; add --scorer=warmth or --labels")


def _make_folder(outdir: str) -> Path:
    folder = Path(outdir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make folder {folder}: {error.strerror}; choose another -o") from error
    return folder


def _add_provenance(direction: Direction, digest: str, licence: str | None) -> Direction:
    """Return a direction with the SHA-256 and the licence of its network."""
    details = direction.details if licence is None else direction.details | {"licence": licence}
    return replace(direction, network=digest, details=details)


def _summary(direction: Direction) -> str:
    """Return the numbers of a direction as one line of text."""
    words = [f"strength 1 is {direction.std:.3g} in w"]
    words += [f"{name} {value:.3g}" for name, value in direction.details.items() if isinstance(value, float)]
    return ", ".join(words)


def _write_previews(
    folder: Path, G: Generator, directions: Sequence[Direction], seeds: Sequence[int], class_index: int | None
) -> None:
    from images.sheets import save_png
    from inversion.directions.previews import preview

    sharp, degraded = preview(G, directions, seeds, class_index)
    save_png(folder / "preview.png", sharp)
    if degraded is not None:
        save_png(folder / "preview-degraded.png", degraded)
