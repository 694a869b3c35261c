"""`calc_metrics.py weights`: list published weights, and fetch those that are missing."""

from pathlib import Path

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, unknown_name
from dnnlib.files import sha256
from dnnlib.flags import PATH
from dnnlib.remote.fetch import fetch as download
from metrics.weights.directory import DEFAULT_DIRECTORY, VARIABLE, WeightsDirectory
from metrics.weights.published import PUBLISHED, PublishedFile, published_file

ALL = "all"


@commands.command("weights")
@click.option(
    "--weights-dir",
    type=PATH,
    metavar="DIR",
    help=f"Directory of the files.  [default: ${VARIABLE}, or {DEFAULT_DIRECTORY}]",
)
@click.option("--fetch", "names", metavar="NAME", multiple=True, help="Name to download, or all; may be repeated.")
@click.option("--sha256", default="", metavar="HEX", help="SHA-256 of a single --fetch, or its first digits.")
@one_sentence_errors
def weights(weights_dir: str | None, names: tuple[str, ...], sha256: str) -> None:
    """List the published weights that metrics can use; download them only where --fetch says so.

    Nothing else ever downloads anything. The embedded detector (fd_cifar) needs none of these files.
    """
    directory = WeightsDirectory.find(weights_dir)
    if sha256 and (len(names) != 1 or ALL in names):
        raise UserError("--sha256 says what one file must be; give it with exactly one --fetch=NAME")
    for entry in _chosen(names):
        if entry.url or ALL not in names:
            _fetch(directory, entry, sha256 or entry.sha256_prefix)
        else:
            click.echo(_by_hand(directory, entry))
    click.echo(f"in {directory.directory}:\n")
    for entry in PUBLISHED.values():
        click.echo("\n".join(_lines(directory, entry)))


def _chosen(names: tuple[str, ...]) -> list[PublishedFile]:
    """Return the files to fetch, each once; raise UserError for unknown names before any is fetched."""
    for name in names:
        if name not in (ALL, *PUBLISHED):
            raise unknown_name("file of weights", name, (ALL, *PUBLISHED))
    return list(PUBLISHED.values()) if ALL in names else [published_file(name) for name in dict.fromkeys(names)]


def _fetch(directory: WeightsDirectory, entry: PublishedFile, sha256: str) -> None:
    """Download a file, unless it is there and has the right hash."""
    if directory.has(entry.name) and _is_right(directory.path(entry.name), sha256):
        click.echo(f"{entry.name} is there already")
    elif not entry.url:
        raise UserError(_by_hand(directory, entry))
    else:
        assert directory.directory is not None, "--weights-dir has a default"
        path = directory.directory / entry.saved_as
        download(entry.url, path, sha256=sha256, label=entry.name)
        click.echo(f"{entry.name}: {path}")


def _by_hand(directory: WeightsDirectory, entry: PublishedFile) -> str:
    return (
        f"{entry.name} has no address that a program could fetch it from; "
        f"get {entry.filenames[0]} by hand from {entry.page} and put it into {directory.directory}"
    )


def _is_right(path: Path, prefix: str) -> bool:
    return sha256(path).startswith(prefix.lower())


def _lines(directory: WeightsDirectory, entry: PublishedFile) -> list[str]:
    """Return the lines about an entry: the file's state, its purpose and its origin."""
    if directory.has(entry.name):
        path = directory.path(entry.name)
        right = _is_right(path, entry.sha256_prefix)
        state = [path.name, "there" if right else f"DAMAGED, fetch it again: --fetch={entry.name}"]
        state += [f"{path.stat().st_size:,} bytes", f"sha256 {sha256(path)[:16]}"]
    else:
        state = [" or ".join(entry.filenames), "missing", entry.size]
    return [
        f"{entry.name:<13} {', '.join(state)}",
        f"{'':<13} for {entry.purpose}",
        f"{'':<13} {entry.url or entry.page} ({entry.licence})",
    ]
