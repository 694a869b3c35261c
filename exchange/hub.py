"""Push networks to a hub (Hugging Face, or a folder), and pull them: `python -m exchange.hub push` and `pull`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.files import real_path, replace_file, sha256, write_text
from dnnlib.flags import PATH
from dnnlib.reading import read_json
from dnnlib.remote import hugging_face
from dnnlib.remote.hugging_face import CANONICAL
from dnnlib.remote.locations import NetworkFile

MANIFEST, CARD = "manifest.json", "README.md"
FORMAT_VERSION = 1


@commands.group()
@commands.version_option
def main() -> None:
    """Publish a network with a model card, or fetch one; a hub is hf://owner/name, or a folder."""


@main.command(cls=commands.Command)
@click.argument("network", type=NetworkFile())
@click.argument("dest")
@click.option("--licence", help="Licence of the network.  [default: that in its header]")
@click.option(
    "--results",
    type=PATH,
    metavar="FILE",
    help="JSON file of results, name to number.  [default: metric-*.jsonl beside the network]",
)
@click.option("--private", is_flag=True, help="Make a new repository private.")
@one_sentence_errors
def push(network: str, dest: str, licence: str | None, results: str | None, private: bool) -> None:
    """Put a network with a model card into hf://owner/name, or into a folder.

    \b
    python -m exchange.hub push runs/qc/network-snapshot-best.safetensors hf://owner/cats
    """
    from exchange.model_card import SAMPLES, model_card
    from exchange.samples import draw_samples
    from networks.describe import describe, results_beside

    address = _address(dest)
    if address is None and private:
        raise UserError(f"--private has no effect on the folder {dest}; leave it out")
    if address is not None and address.file is not None:
        raise UserError(f"{dest} names a file; the network is always called {CANONICAL}, so write {address}")
    facts = describe(network)
    if facts["kind"] != "network":
        raise UserError(f"{network} is of kind {facts['kind']}; only networks are pushed")
    licence = licence or facts["header"].get("licence")
    if not licence:
        raise UserError(f"{network} states no licence; give that of its training data with --licence=NAME")
    measured = results_beside(network) if results is None else _read_results(results)
    location = f"{hugging_face.SCHEME}{address.repository}" if address else str(real_path(dest))
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copyfile(network, folder / CANONICAL)
        write_text(folder / CARD, model_card(facts, licence, measured, location))
        write_text(folder / MANIFEST, _manifest(facts))
        draw_samples(network, folder / SAMPLES)
        if address is None:
            _copy([folder / name for name in (CANONICAL, CARD, MANIFEST, SAMPLES)], Path(dest))
        else:
            hugging_face.upload(address, folder, private, f"{CANONICAL} {facts['sha256'][:12]}")
    click.echo(f"{dest}: {CANONICAL} ({facts['bytes']:,} bytes, sha256 {facts['sha256'][:12]}), {CARD}, {MANIFEST}")


@main.command(cls=commands.Command, former={"--output": "--outdir"})
@click.argument("source")
@click.option("-o", "--outdir", "output", type=PATH, required=True, metavar="FOLDER", help="Folder for the files.")
@one_sentence_errors
def pull(source: str, output: str) -> None:
    """Fetch a network and its model card from hf://owner/name[@revision], or from a folder, and check its hash.

    \b
    python -m exchange.hub pull hf://owner/cats -o cats
    """
    get = _getter(source)
    recorded = _read_manifest(get(MANIFEST), source)
    network = get(CANONICAL)
    actual = sha256(network)
    if actual != recorded:
        raise UserError(
            f"{CANONICAL} of {source} has the SHA-256 {actual[:12]}, its manifest says {recorded[:12]}; "
            "it is damaged or was replaced, so nothing was written"
        )
    _copy([network, get(CARD), get(MANIFEST)], Path(output))
    click.echo(f"{Path(output) / CANONICAL}: sha256 {actual[:12]}, as the manifest says")


def _address(hub: str) -> hugging_face.HubAddress | None:
    """Return the repository that `hub` names; None for a folder."""
    if hub.startswith(hugging_face.SCHEME):
        return hugging_face.parse(hub)
    if "://" in hub:
        raise UserError(f"{hub} is no hub; write {hugging_face.SCHEME}owner/name, or a folder")
    return None


def _getter(source: str) -> Callable[[str], Path]:
    """Return a function from a file's name to its local path; raise UserError where the source is no repository."""
    address = _address(source)
    if address is None:
        folder = Path(source)
        missing = [name for name in (MANIFEST, CANONICAL, CARD) if not (folder / name).is_file()]
        if missing:
            raise UserError(f"{source} is no folder that a network was pushed to: {missing[0]} is missing")
        return lambda name: folder / name
    missing = sorted({MANIFEST, CANONICAL, CARD} - set(hugging_face.list_files(address)))
    if missing:
        raise UserError(f"{source} is no repository that a network was pushed to: {missing[0]} is missing")
    return lambda name: hugging_face.download(address, name)


def _manifest(facts: dict[str, Any]) -> str:
    """Return the text of the manifest, which holds the network's size and hash."""
    files = {CANONICAL: {"sha256": facts["sha256"], "bytes": facts["bytes"]}}
    return json.dumps({"format_version": FORMAT_VERSION, "files": files}, indent=2) + "\n"


def _read_manifest(path: Path, source: str) -> str:
    """Return the network's SHA-256 according to the manifest; raise UserError where that is damaged."""
    try:
        manifest = read_json(path)
        version, recorded = manifest["format_version"], manifest["files"][CANONICAL]["sha256"]
    except (UserError, LookupError, TypeError) as error:
        raise UserError(f"{MANIFEST} of {source} is damaged; push the network again") from error
    if version != FORMAT_VERSION or not isinstance(recorded, str):
        raise UserError(
            f"{MANIFEST} of {source} has format version {version}, this program reads {FORMAT_VERSION}; update the "
            "program, or push the network again"
        )
    return recorded


def _read_results(path: str) -> dict[str, float]:
    """Return the results in a JSON file; raise UserError where it is anything but an object of numbers."""
    try:
        results = read_json(path)
    except UserError as error:
        raise UserError(f"--results={path} cannot be read as JSON ({error.problem})", "check the file") from error
    numbers = isinstance(results, dict) and all(type(value) in (int, float) for value in results.values())
    if not numbers:
        raise UserError(f'--results={path} is not a JSON object of numbers; write {{"fid50k_full sharp": 3.2}}')
    return results


def _copy(paths: list[Path], folder: Path) -> None:
    """Copy files into a folder, each in one step."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {folder} cannot be made ({error.strerror}); choose another") from error
    for path in paths:
        with replace_file(folder / path.name) as temporary:
            shutil.copyfile(path, temporary)


if __name__ == "__main__":
    main()
