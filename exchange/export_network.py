"""Export networks to ONNX, torch.export or a state dict: `python -m exchange.export_network NETWORK -o OUT`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dnnlib import commands
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError, unknown_name
from dnnlib.flags import PATH
from dnnlib.registry import Registry
from dnnlib.remote.locations import NetworkFile
from generation.framing_flags import framing_options, parse_framing

if TYPE_CHECKING:
    from generation.framing import Framing

EXPORTERS = Registry("exchange.exporters", "format")


@commands.command(former={"--truncation": "--trunc", "--noise": "--noise-mode"})
@click.argument("network", type=NetworkFile())
@click.option(
    "-o", "--output", type=PATH, required=True, metavar="FILE", help="File to write; it is replaced in one step."
)
@click.option("--format", "name", help=f"Format: {', '.join(EXPORTERS.names())}.  [default: by the extension]")
@click.option(
    "--part",
    help="Part of the network. onnx and program: synthesis (ws, q to images), mapping (z, c to ws) or encoder (images "
    "to codes); state_dict: G_ema, D_sharp or D_degraded.  [default: the first]",
)
@click.option(
    "--encoder",
    type=NetworkFile(),
    help="Encoder to export, or whose paddings or features the synthesis takes besides.  [default: none]",
)
@click.option(
    "--noise-mode", "noise", type=click.Choice(["const", "none"]), help="Noise of the synthesis.  [default: const]"
)
@click.option("--trunc", "truncation", type=float, help="Truncation psi of the mapping.  [default: 1]")
@framing_options
@commands.version_option
@one_sentence_errors
def main(
    network: str,
    output: str,
    name: str | None,
    part: str | None,
    encoder: str | None,
    noise: str | None,
    truncation: float | None,
    **frame: Any,
) -> None:
    """Write a network as ONNX (.onnx), as a program of torch.export (.pt2), or as a plain state dict (.pt).

    Graphs compute in fp32 for any batch, and are compared with the network before they are written.

    \b
    python -m exchange.export_network qc.safetensors -o qc.onnx
    python -m exchange.export_network qc.safetensors -o mapping.onnx --part=mapping --trunc=0.7
    python -m exchange.export_network qc.safetensors -o encoder.onnx --part=encoder --encoder=encoder.safetensors
    """
    from exchange.exportable import ExportRequest
    from torch_utils.memory import keep_freed_memory

    keep_freed_memory()
    path = Path(output)
    exporter = EXPORTERS.get(name or _by_suffix(path))
    part = part or exporter.PARTS[0]
    if part not in exporter.PARTS:
        raise unknown_name("part", part, exporter.PARTS)
    for flag, value, owner in (("--noise-mode", noise, "synthesis"), ("--trunc", truncation, "mapping")):
        if value is not None and part != owner:
            raise UserError(f"{flag}={value} has no effect on {part}; leave it out, or add --part={owner}")
    if truncation is not None and not math.isfinite(truncation):
        raise UserError(f"--trunc={truncation} must be finite; write for example --trunc=0.7")
    if encoder is not None and part not in ("synthesis", "encoder"):
        raise UserError(f"--encoder={encoder} has no effect on {part}; leave it out, or add --part=encoder")
    if part == "encoder" and encoder is None:
        raise UserError("--part=encoder needs the file of an encoder; give --encoder=FILE")
    psi = 1.0 if truncation is None else truncation
    request = ExportRequest(network, part, noise or "const", psi, encoder, _framing(frame, part))
    click.echo(exporter.export(request, path))


def _framing(flags: dict[str, Any], part: str) -> Framing | None:
    """Return the frame of all images; raise UserError for one that has no rows and columns."""
    framing = parse_framing(flags)
    if framing is None:
        return None
    if part != "synthesis":
        raise UserError(f"{framing.named()} has no effect on {part}; leave it out, or add --part=synthesis")
    for name, value in (("rotate", framing.rotate), ("warp", framing.warp)):
        if value:
            given = f"--{name}={flags[name]}"
            raise UserError(
                f"{given} places pixels one by one, and exported networks place rows and columns; leave out --{name}, "
                "or make such images with generate.py"
            )
    return framing


def _by_suffix(path: Path) -> str:
    """Return the name of the format that a path's extension stands for."""
    suffixes = {EXPORTERS.get(name).SUFFIX: name for name in EXPORTERS.names()}
    if path.suffix not in suffixes:
        raise UserError(
            f"{path} has none of the extensions {', '.join(sorted(suffixes))}; give it one, or say --format=NAME"
        )
    return suffixes[path.suffix]


if __name__ == "__main__":
    main()
