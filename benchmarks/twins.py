"""How a QC network's degraded images relate to their sharp twins: same content, less or more detail.

python -m benchmarks.twins --network pretrained/afhqcat64-qc.safetensors --base pretrained/afhqcat64-base.safetensors
"""

from collections.abc import Sequence

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.method.qc_network import load_qc
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import PATH, SETTINGS
from dnnlib.remote.locations import NetworkFile
from generation.quality_codes import seed_code
from generation.sampling import ws_of_seeds
from images.datasets.dataset import ImageDataset
from images.ranges import from_levels
from metrics.distances.content import content_correlation
from networks.files import load

QUARTILES = (0, 25, 50, 75, 100)


@click.command(context_settings=SETTINGS)
@click.option("--network", type=NetworkFile(), required=True, help="QC network whose images are compared.")
@click.option("--base", type=NetworkFile(), help="Network it was trained from, to compare the sharp images with.")
@click.option(
    "--data", type=PATH, help="Folder or zip of real photos, to compare with the training mixture's effect on them."
)
@click.option("--seeds", default=64, help="Number of seeds.")
@click.option("--codes", default=32, help="Number of quality codes.")
@click.option("--quality-scale", default=1.0, help="Factor of every code.")
@one_sentence_errors
@torch.no_grad()
def main(network: str, base: str | None, data: str | None, seeds: int, codes: int, quality_scale: float) -> None:
    """Print content correlation and detail ratio over seeds and codes."""
    G = load_qc(network, torch.device("cpu"))
    ws = ws_of_seeds(G, range(seeds))
    sharp = G.synthesis(ws, noise_mode="const").clamp(-1, 1)
    ratios, twins, others = [], [], []
    for code in range(codes):
        q = torch.as_tensor(seed_code(code, G.q_dim) * quality_scale, dtype=torch.float32)
        q = q.reshape(1, -1).expand(seeds, -1)
        degraded = G.synthesis(ws, q, noise_mode="const").clamp(-1, 1)
        ratios.append((detail(degraded) / detail(sharp)).log().mean().exp().item())
        twins.append(content_correlation(sharp, degraded).mean().item())
        others.append(content_correlation(sharp, degraded.roll(1, 0)).mean().item())
    click.echo(f"content correlation: twins {np.mean(twins):.2f}, another seed's image {np.mean(others):.2f}")
    click.echo(f"detail, degraded over sharp, by code: {_quartiles(ratios)}")
    if base is not None:
        plain = load(base, torch.device("cpu"))
        reference = plain.synthesis(ws_of_seeds(plain, range(seeds)), noise_mode="const").clamp(-1, 1)
        error = ((sharp - reference) / 2).square().mean([1, 2, 3])
        click.echo(f"sharp images against the base network's: {(-10 * error.log10()).mean():.1f} dB PSNR")
    if data is not None:
        click.echo(f"detail, degraded over real, by photo: {_quartiles(_real_ratios(data))}")


def detail(images: Tensor) -> Tensor:
    """Return the energy of the Laplacian of each gray image, `[N]`."""
    laplacian = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    return F.conv2d(images.mean(1, keepdim=True), laplacian).square().mean([1, 2, 3])


def _real_ratios(data: str, count: int = 200) -> list[float]:
    """Return the detail of degraded photos over that of the sharp ones, for photos spread over the data."""
    dataset = ImageDataset(data, degradation="mixture")
    step = max(1, len(dataset) // count)
    pairs = [dataset.pair(index, (7, index)) for index in range(0, step * count, step) if index < len(dataset)]
    levels = [torch.from_numpy(np.stack(images)).double() for images in zip(*pairs, strict=True)]  # [N, C, R, R] each
    sharp, degraded = (from_levels(each).float() for each in levels)
    return (detail(degraded) / detail(sharp)).tolist()


def _quartiles(values: Sequence[float]) -> str:
    return "min {:.2f}, quartiles {:.2f}, {:.2f}, {:.2f}, max {:.2f}".format(*np.percentile(values, QUARTILES))


if __name__ == "__main__":
    main()
