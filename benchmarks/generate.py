"""Time the generation of images, part by part, as the paper's Table 3 does for the whole.

python -m benchmarks.generate [--preset paper256 --resolution 256 | --network F]
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor

from benchmarks.machine import describe, prepare, seconds
from dnnlib.cli import one_sentence_errors
from dnnlib.errors import UserError
from dnnlib.flags import PATH, SETTINGS
from dnnlib.remote.locations import NetworkFile
from evaluation.tables.runtime import PAPER
from networks.config import Dtype, GeneratorConfig, QualityConfig, Variant
from networks.files import KINDS, ImageFormat, build_generator, load_generator, with_precision
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.distributed import best_device
from training import presets
from training.loop import allow_tf32

DEFAULT_PRECISIONS: tuple[Dtype, ...] = ("fp32", "bf16")


@click.command(context_settings=SETTINGS)
@click.option(
    "--network", type=NetworkFile(), help="QC network; without one, fresh weights of a preset, which take as long."
)
@click.option("--preset", type=click.Choice(list(presets.PRESETS)), default="paper256", help="Preset of the networks.")
@click.option("--resolution", default=256, help="Side of the preset's images.")
@click.option("--generator", type=click.Choice(KINDS.names()), help="Kind of the preset's generator.")
@click.option("--variant", default="paper", help="Variant of the preset's DegradBlocks.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Precision, may be repeated.  [default: fp32, bf16]",
)
@click.option("--batch", "batches", multiple=True, default=[1, 8, 32], help="Batch size, may be repeated.")
@click.option("--repeats", default=10, help="Number of calls that are timed.")
@click.option("--device", default=None, help="Device: cuda, mps or cpu.  [default: the best there is]")
@click.option("--json", "json_path", type=PATH, default=None, help="JSON file for the numbers.")
@one_sentence_errors
def main(
    network: str | None,
    preset: str,
    resolution: int,
    generator: str | None,
    variant: Variant,
    precisions: tuple[Dtype, ...],
    batches: tuple[int, ...],
    repeats: int,
    device: str | None,
    json_path: str | None,
) -> None:
    """Print milliseconds a call, and how many a second: of the mapping, sharp images, degraded ones, pairs of both."""
    chosen = best_device(device)
    prepare(chosen)
    config = presets.build(preset, resolution)
    config = presets.as_creps(config) if generator == "creps" else config
    G = _fresh(config.generator, variant, resolution) if network is None else load_generator(network)[0]
    if G.q_dim == 0:
        raise UserError(f"{network} is plain, and degraded images are timed as well; give a QC network")
    click.echo(f"{describe(chosen)}; {G.img_resolution}x{G.img_resolution}, channels {G.config.channel_base}")
    click.echo(f"{'':<6}{'batch':>6}{'part':>10}{'ms a call':>11}{'a second':>10}")
    column = {256: 0, 512: 1}.get(G.img_resolution)
    paper = None if column is None else PAPER["QC-StyleGAN"][column]
    records = []
    for precision in precisions or DEFAULT_PRECISIONS:
        allow_tf32(presets.with_precision(config, precision))
        mixed = with_precision(G, precision).to(chosen)
        for batch in batches:
            for part, run in _parts(mixed, batch, chosen).items():
                time = seconds(run, chosen, repeats)
                record = {"precision": precision, "batch": batch, "part": part, "seconds": time}
                records.append(record | {"per_second": batch / time})
                click.echo(f"{precision:<6}{batch:>6}{part:>10}{time * 1e3:>11.2f}{batch / time:>10.1f}")
            if json_path:  # each time, since the next may take too much memory or time
                report = {"machine": describe(chosen), "resolution": G.img_resolution, "paper": paper}
                Path(json_path).write_text(json.dumps(report | {"records": records}, indent=2))
    if paper is not None:
        click.echo(f"The paper's Table 3 has {paper} s for an image of this size.")


def _fresh(config: GeneratorConfig, variant: Variant, resolution: int) -> Generator:
    """Return a generator with fresh weights."""
    config = dataclasses.replace(config, quality=QualityConfig(variant=variant))
    return build_generator(config, ImageFormat(resolution, 3, 0)).eval().requires_grad_(False)


def _parts(G: Generator, batch: int, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """Return the calls that are timed, by name; each goes from latents on the device to images there."""
    z, q = torch.randn(batch, G.z_dim, device=device), torch.randn(batch, G.q_dim, device=device)
    c = G.labels_in_turn(batch)  # [N, c_dim] or None
    noise = G.synthesis.make_noise("const", batch)

    @torch.no_grad()
    def pair() -> Tensor:
        ws = G.mapping(z, c)  # [N, num_ws, w_dim]
        return G.synthesis.twins(G.synthesis.content(Latents(ws), noise), q)[0]

    return {
        "mapping": torch.no_grad()(lambda: G.mapping(z, c)),
        "sharp": torch.no_grad()(lambda: G(z, c, noise=noise)),
        "degraded": torch.no_grad()(lambda: G(z, c, q=q, noise=noise)),
        "pair": pair,
    }


if __name__ == "__main__":
    main()
