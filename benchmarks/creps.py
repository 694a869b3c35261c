"""Time the parts of a CREPS generator at several sizes: lines, fusion and decoders, refinement.

python -m benchmarks.creps [--preset creps512 --resolution 512 | --network F] [--scale 1 --scale 2]
"""

import json
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor

from benchmarks.machine import Operations, describe, prepare, seconds
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.flags import PATH, SETTINGS
from dnnlib.remote.locations import NetworkFile
from generation.framing import Framing
from networks.config import Dtype
from networks.files import ImageFormat, build_generator, load_generator, with_precision
from networks.generators.creps.synthesis import CrepsSynthesis
from networks.generators.interface import Content, Generator
from networks.latents import Latents
from networks.resolutions import DTYPES
from torch_utils.distributed import best_device
from training import presets


@click.command(context_settings=SETTINGS)
@click.option(
    "--network", type=NetworkFile(), help="CREPS network; without one, fresh weights of a preset, which take as long."
)
@click.option("--preset", type=click.Choice(list(presets.PRESETS)), default="creps128", help="Preset of the network.")
@click.option("--resolution", default=128, help="Side of the preset's images.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", help="Precision.")
@click.option("--batch", default=1, help="Number of images at once.")
@click.option(
    "--scale", "scales", type=float, multiple=True, default=[1.0, 2.0, 4.0], help="Factor of the side; repeated."
)
@click.option("--repeats", default=5, help="Number of calls that are timed.")
@click.option("--device", default=None, help="Device: cuda, mps or cpu.  [default: the best there is]")
@click.option("--json", "json_path", type=PATH, default=None, help="JSON file for the numbers.")
@one_sentence_errors
def main(
    network: str | None,
    preset: str,
    resolution: int,
    precision: Dtype,
    batch: int,
    scales: tuple[float, ...],
    repeats: int,
    device: str | None,
    json_path: str | None,
) -> None:
    """Print milliseconds of each part, its operations, and its share of the rate of a large matrix product."""
    chosen = best_device(device)
    prepare(chosen)
    G = _fresh(preset, resolution) if network is None else load_generator(network)[0]
    if not isinstance(G.synthesis, CrepsSynthesis):
        raise UserError(f"{network} is of kind {G.config.kind}; give a network that was trained with --generator=creps")
    G = with_precision(G, precision).to(chosen)
    assert isinstance(G.synthesis, CrepsSynthesis), "the kind stays"
    rate = matrix_rate(chosen, DTYPES[precision])
    click.echo(f"{describe(chosen)}; {precision}, a large matrix product runs at {rate / 1e9:.0f} GFLOP/s")
    click.echo(f"{'side':>6}{'part':>14}{'ms':>10}{'GFLOP':>9}{'of rate':>9}")
    records = []
    for scale in scales:
        for part, run in _parts(G, G.synthesis, batch, Framing(scale=scale)).items():
            with Operations() as operations:
                run()
            time, side = seconds(run, chosen, repeats), int(G.img_resolution * scale)
            records.append({"side": side, "part": part, "seconds": time, "operations": operations.count})
            share = operations.count / time / rate
            click.echo(f"{side:>6}{part:>14}{time * 1e3:>10.2f}{operations.count / 1e9:>9.2f}{share:>9.0%}")
    if json_path:
        Path(json_path).write_text(
            json.dumps({"machine": describe(chosen), "rate": rate, "records": records}, indent=2)
        )


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations a second of a large matrix product: the bound of layers at each place."""
    side = 1024 if device.type == "cpu" else 8192
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / seconds(lambda: a @ b, device)


def _fresh(preset: str, resolution: int) -> Generator:
    config = presets.as_creps(presets.build(preset, resolution)).generator
    return build_generator(config, ImageFormat(resolution, 3, 0)).eval().requires_grad_(False)


def _parts(G: Generator, synthesis: CrepsSynthesis, batch: int, framing: Framing) -> dict[str, Callable[[], object]]:
    """Return the calls that are timed, by name; each goes on from what the one before has made."""
    coords = framing.coordinates(G)

    @torch.no_grad()
    def up_to(block: int, start: Content | None = None) -> Content:
        if start is None:
            return synthesis.content(Latents(ws), [], block, coords)
        return synthesis.run(start, block)[0]

    @torch.no_grad()
    def strips() -> list[Tensor]:
        return list(synthesis.strips(ws, coords))

    with torch.no_grad():
        ws = G.mapping(torch.randn(batch, G.z_dim, device=G.device), G.labels_in_turn(batch))
    lines = up_to(synthesis.compose_at)
    composed = up_to(synthesis.compose_at + 1, lines)
    return {
        "lines": lambda: up_to(synthesis.compose_at),
        "composition": lambda: up_to(synthesis.compose_at + 1, lines),
        "refinement": lambda: up_to(synthesis.num_blocks, composed),
        "all, in strips": strips,
    }


if __name__ == "__main__":
    main()
