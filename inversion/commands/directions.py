"""The command that finds editing directions: `invert.py directions`."""

from dataclasses import replace
from pathlib import Path

import click

from dnnlib.cli import wrong_use_errors
from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.parsing import integers
from dnnlib.remote.locations import NetworkFile
from generation.sampling import check_class
from images.sheets import save_png
from inversion.directions.direction import Direction, load_direction, parse_layers, save_direction
from inversion.directions.previews import check_preview_size, preview
from inversion.directions.scorers import descriptions, load_scorer
from inversion.directions.search import METHODS, Search, find_directions
from inversion.directions.seed_labels import read_labels
from networks.files import load
from networks.generators.interface import Generator
from torch_utils.checkpoint import read_header
from torch_utils.distributed import best_device
from torch_utils.memory import keep_freed_memory

BY_SCORES = "interfacegan"


def _list_scorers(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        found = descriptions()
        width = max(len(name) for name in found)
        click.echo("\n".join(f"{name:{width}}  {description}" for name, description in found.items()))
        context.exit()


@click.command("directions", context_settings={"show_default": True, "max_content_width": 120})
@click.option("--network", type=NetworkFile(), required=True, help="A network-snapshot, plain or QC.")
@click.option("--method", type=click.Choice(METHODS.names()), required=True, help="How they are found.")
@click.option("-o", "--outdir", required=True, help="Where the files go; those of the same name are replaced.")
@click.option("-k", "--count", type=click.IntRange(min=1), help="Directions of sefa and pca.  [default: 8]")
@click.option("--layers", default="all", metavar="LIST", help="Numbers of the ws that they apply to, such as 0-3.")
@click.option("--samples", type=click.IntRange(min=2), default=10_000, help="w that are sampled.")
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    metavar="NAME",
    help="Of interfacegan: what the direction changes; a name of --list, or FILE.pt in TorchScript, or FILE.pt#3 for "
    "one of several outputs. May be given several times.",
)
@click.option(
    "--labels", multiple=True, metavar="FILE", help="Of interfacegan: labels or scores by seed, .csv or .json."
)
@click.option("--ends", type=float, help="Of interfacegan: share of the samples at either end.  [default: 0.3]")
@click.option("--without", multiple=True, metavar="FILE", help="Of interfacegan: a direction that must not change.")
@click.option("--preview-seeds", default="0-2", metavar="LIST", help="Whose images preview.png shows.")
@click.option("--class", "class_index", type=int, help="Of a conditional network.  [default: all classes]")
@click.option("--batch", type=click.IntRange(min=1), help="Images at once.  [default: 64 on a GPU, else 16]")
@click.option("--device", help="cuda, mps or cpu.  [default: the best there is]")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list_scorers, help="Of all scorers.")
@wrong_use_errors
def directions_command(network, method, outdir, layers, preview_seeds, device, class_index, samples, batch, **flags):
    """Find directions in w that change one thing about an image, for `invert.py edit`.

    sefa takes them from the weights, pca from sampled w, and interfacegan looks for what changes a score. Strength 1 of
    each is one standard deviation of sampled w. Besides the directions there is preview.png, and preview-degraded.png
    where the network knows degradations.

    \b
    python invert.py directions --network=qc.safetensors --method=sefa --layers=0-3 -o directions
    python invert.py directions --network=qc.safetensors --method=interfacegan --scorer=warmth -o directions
    """
    _check_flags(method, flags)
    seeds = integers(preview_seeds)
    device = best_device(device)
    if device.type == "cpu":
        keep_freed_memory()
    G = load(network, device)
    if class_index is not None:
        check_class(G, class_index)
    digest = sha256(network)
    search = Search(
        layers=parse_layers(layers, G.num_ws),
        samples=samples,
        class_index=class_index,
        labels={Path(path).stem: read_labels(path) for path in flags["labels"]},
        scorers=dict(load_scorer(text, device) for text in flags["scorers"]),
        without=tuple(load_direction(path, G, digest) for path in flags["without"]),
        batch=batch or (16 if device.type == "cpu" else 64),
        **{name: flags[name] for name in ("count", "ends") if flags[name] is not None},
    )
    found = len(search.labels) + len(search.scorers) if method == BY_SCORES else search.count
    check_preview_size(found * len(seeds), G.img_resolution)
    folder = _made(outdir)
    licence = read_header(network).get("licence")
    directions = [_with_provenance(entry, digest, licence) for entry in find_directions(G, method, search)]
    for direction in directions:
        save_direction(folder / f"{direction.name}.safetensors", direction)
        click.echo(f"{direction.name}.safetensors: {_summary(direction)}")
    _write_previews(folder, G, directions, seeds, class_index)


def _check_flags(method, flags):
    """Refuse flags that have no effect with a method, and InterFaceGAN with nothing to look for."""
    of_scores = {"--scorer": "scorers", "--labels": "labels", "--without": "without", "--ends": "ends"}
    given = [flag for flag, name in of_scores.items() if flags[name] not in ((), None)]
    if method != BY_SCORES and given:
        raise click.UsageError(f"{given[0]} has no effect with --method={method}; leave it out, or take {BY_SCORES}")
    if method == BY_SCORES and flags["count"] is not None:
        raise click.UsageError("-k has no effect with --method=interfacegan, which finds one direction for each score")
    if method == BY_SCORES and not (flags["scorers"] or flags["labels"]):
        raise click.UsageError("--method=interfacegan needs to know what to look for; add --scorer=warmth or --labels")


def _made(outdir) -> Path:
    folder = Path(outdir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make folder {folder}: {error.strerror}; choose another -o") from error
    return folder


def _with_provenance(direction: Direction, digest: str, licence: str | None) -> Direction:
    details = direction.details if licence is None else direction.details | {"licence": licence}
    return replace(direction, network=digest, details=details)


def _summary(direction: Direction) -> str:
    """Return what is known about a direction, for a person."""
    words = [f"strength 1 is {direction.std:.3g} in w"]
    words += [f"{name} {value:.3g}" for name, value in direction.details.items() if isinstance(value, float)]
    return ", ".join(words)


def _write_previews(folder: Path, G: Generator, directions: list[Direction], seeds, class_index) -> None:
    sharp, degraded = preview(G, directions, seeds, class_index)
    save_png(folder / "preview.png", sharp)
    if degraded is not None:
        save_png(folder / "preview-degraded.png", degraded)
