"""Print the content of a network file, or the networks of a folder: `python -m exchange.inspect NETWORK_OR_FOLDER`."""

import json
import re
from pathlib import Path
from typing import Any

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import printable
from dnnlib.remote.locations import NetworkFile

NO_CHECKSUMS = "none: the file is older than they are, and damage to its numbers would go unseen"
OF_CODES = ("inversion", "clip")  # kinds of files that hold the codes of images
SHORT = 12  # digits of a SHA-256 in the table of a folder


@commands.command()
@click.argument("location", metavar="NETWORK_OR_FOLDER", type=NetworkFile())
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@commands.version_option
@one_sentence_errors
def main(location: str, as_json: bool) -> None:
    """Show the content of a network file, the networks of a folder with their metrics, or the runs of a folder.

    \b
    python -m exchange.inspect qc.safetensors
    python -m exchange.inspect runs/qc
    python -m exchange.inspect runs
    """
    from networks.describe import describe, snapshots

    if Path(location).is_dir():
        runs = _runs_of(location)
        rows = snapshots(location) if not runs or any(Path(location).glob("*.safetensors")) else []
        if as_json:
            click.echo(json.dumps(rows or runs, indent=2))
        else:
            click.echo("\n\n".join([*([_snapshot_table(rows)] if rows else []), *([_run_table(runs)] if runs else [])]))
    else:
        facts = describe(location)
        if facts["kind"] in OF_CODES:
            facts["codes"] = _codes(location)
        click.echo(json.dumps(facts, indent=2) if as_json else _text(facts))


def _runs_of(location: str) -> list[dict[str, Any]]:
    """Return the runs of a folder that is none itself."""
    from exchange.runs import is_run, runs_below

    return [] if is_run(location) else runs_below(location)


def _run_table(runs: list[dict[str, Any]]) -> str:
    columns = {"of_kimg": "of", "sec_per_kimg": "s/kimg", "best": "best network"}
    return table([columns.get(name, name) for name in runs[0]], [list(run.values()) for run in runs])


def table(columns: list[str], rows: list[list[Any]]) -> str:
    """Return aligned columns; None becomes `-`, and columns of numbers are aligned at the right."""
    cells = [columns] + [["-" if value is None else _cell(value) for value in row] for row in rows]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    numeric = [all(isinstance(row[index], (int, float, type(None))) for row in rows) for index in range(len(columns))]
    lines = []
    for row in cells:
        padded = [f"{c:>{w}}" if right else f"{c:<{w}}" for c, w, right in zip(row, widths, numeric, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5g}" if isinstance(value, float) else printable(str(value))


def _text(facts: dict[str, Any]) -> str:
    """Return the facts about a file, and the table of a network's architecture."""
    size = f"{facts['bytes']:,} bytes"
    lines = [f"{facts['file']}: {facts['kind']}, {size}", f"{'sha256':<16}{facts['sha256']}"]
    if not facts["checksums"]:
        lines.append(f"{'checksums':<16}{NO_CHECKSUMS}")
    if facts["kind"] != "network":
        known = {name: value for name, value in facts["header"].items() if name != "kind"}
        if "codes" in facts:
            known = {"codes": facts["codes"], **known}
        return _lines(lines + [f"{name:<16}{_value(value)}" for name, value in known.items()])
    lines += [f"{name:<16}{value}" for name, value in _summary(facts).items()]
    columns = ["block", "resolution", "channels", "layers", "parameters", "dtype"]
    rows = [[row[name] for name in columns] for row in facts["architecture"]]
    rows = [row + ["yes" if block["degrades"] else ""] for row, block in zip(rows, facts["architecture"], strict=True)]
    total = ["total", None, None, None, facts["generator"]["parameters"], "", ""]
    return _lines([*lines, ""]) + "\n" + table([*columns, "DegradBlock"], [*rows, total])


def _codes(path: str) -> dict[str, str]:
    """Return what a file holds of each image, in words."""
    from torch_utils.checkpoint import tensor_shapes

    shapes = {name: list(shape) for name, shape in tensor_shapes(path).items()}
    codes: dict[str, str] = {name: str(shapes[name][1:]) for name in ("ws", "q") if name in shapes}
    paddings = sorted((name.removeprefix("padding.") for name in shapes if name.startswith("padding.")), key=_natural)
    if paddings:
        codes["padding of"] = " ".join(paddings)
    for name in shapes:
        if name.startswith("features."):
            layer, _, reading = name.removeprefix("features.").partition(".")
            codes[f"features of layer {layer}"] = " ".join([str(shapes[name][1:]), reading]).strip()
    return codes | {"of images": str(next(iter(shapes.get("ws", [])), 0))}


def _natural(name: str) -> tuple[int, str]:
    """Return a key that sorts `b8.conv1` before `b16.conv1`."""
    digits = re.search(r"\d+", name)
    return int(digits[0]) if digits else 0, name


def _lines(lines: list[str]) -> str:
    """Return lines in which what a file says cannot command the terminal."""
    return "\n".join(map(printable, lines))


def _summary(facts: dict[str, Any]) -> dict[str, str]:
    """Return the facts about a network by their headings."""
    from networks.describe import name_of_kind

    header, images, generator, quality = (facts[name] for name in ("header", "images", "generator", "quality"))
    kind = name_of_kind(generator["kind"])
    mode = f"plain {kind}"
    if quality:
        base = "" if generator["kind"] == "stylegan2" else f" on {kind}"
        mode = f"QC{base}, variant {quality['variant']}, q_dim {quality['q_dim']}, last {quality['blocks']} blocks"
    classes = f", {images['c_dim']} classes" if images["c_dim"] else ""
    discriminators = [f"{name} ({count:,} parameters)" for name, count in facts["discriminators"].items()]
    return {
        "mode": mode,
        "images": f"{images['resolution']}x{images['resolution']}, {images['channels']} channels{classes}",
        "codes": f"z_dim {generator['z_dim']}, w_dim {generator['w_dim']}, num_ws {generator['num_ws']}",
        "trained for": f"{_value(header.get('kimg'))} kimg",
        "data": _value(header.get("data")),
        "degradation": _value(header.get("degradation")),
        "subject": header.get("subject") or "not stated",
        "licence": header.get("licence") or "not stated",
        "preprocessing": _value(header.get("preprocessing")),
        "discriminators": ", ".join(discriminators) or "none",
        "imported from": _value(header.get("source")),
        "noise fitted": _value(header.get("noise")),
    }


def _value(value: Any) -> str:
    """Return a value of a header on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(inner)}" for name, inner in value.items())
    return "-" if value is None or value == "" else str(value)


def _snapshot_table(rows: list[dict[str, Any]]) -> str:
    metrics = sorted({name for row in rows for name in row["metrics"]})
    cells = [
        [row["file"], row["kimg"], row["bytes"], row["date"], row["sha256"][:SHORT], *map(row["metrics"].get, metrics)]
        for row in rows
    ]
    return table(["file", "kimg", "bytes", "date", "sha256", *metrics], cells)


if __name__ == "__main__":
    main()
