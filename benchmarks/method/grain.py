"""Whether a QC network's degraded images have the noise and the JPEG blocks of really degraded photos.

python -m benchmarks.method.grain --network pretrained/afhqcat64-qc.safetensors --data afhqcat64-train.zip

Each image's grain is what a Gaussian of sigma 1 px takes from it: its standard deviation in grey levels, over images
(a mixture has some without any noise and some with much), and its correlations in the noisiest quarter of the images,
with the right neighbour (white noise has -0.1 to 0 after the Gaussian is taken off) and between red and green.
Blockiness is the mean step across borders of JPEG's 8x8 grid over that elsewhere.
"""

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
from generation.rendering import render
from generation.sampling import ws_of_seeds
from images.datasets.dataset import ImageDataset
from images.ranges import round_levels, to_levels
from networks.generators.interface import Generator
from networks.latents import Latents

PERCENTILES = (10, 25, 50, 75, 90)
GRID = 8
BATCH = 64


@click.command(context_settings=SETTINGS)
@click.option("--network", type=NetworkFile(), required=True, help="QC network whose images are measured.")
@click.option(
    "--data", type=PATH, required=True, help="Folder or zip of sharp photos, which are degraded for comparison."
)
@click.option("--recipe", default="mixture", help="Recipe that degrades them.")
@click.option("--images", type=click.IntRange(2), default=512, help="Number of images on either side.")
@one_sentence_errors
@torch.no_grad()
def main(network: str, data: str, recipe: str, images: int) -> None:
    """Print statistics of grain and blocks."""
    torch.manual_seed(0)  # noise of the images
    G = load_qc(network, torch.device("cpu"))
    sharp, degraded = generated(G, images)
    photos, bad = real(data, recipe, images)
    for name, batch in {"photos": photos, recipe: bad, "G(w, 0)": sharp, "G(w, q)": degraded}.items():
        click.echo(f"{name:10} {summary(batch)}")


def generated(G: Generator, count: int) -> tuple[Tensor, Tensor]:
    """Return `G(w, 0)` and `G(w, q)` in grey levels, `[N, C, R, R]` each, with fresh noise and a code an image."""
    sharp, degraded = [], []
    for first in range(0, count, BATCH):
        seeds = range(first, min(first + BATCH, count))
        q = torch.from_numpy(np.concatenate([seed_code(seed, G.q_dim) for seed in seeds])).float()  # [n, q_dim]
        latents = Latents(ws_of_seeds(G, seeds))
        images = render(G, latents, [None, q], G.synthesis.make_noise("random", len(seeds)))
        sharp.append(round_levels(to_levels(images[0])).float())
        degraded.append(round_levels(to_levels(images[1])).float())
    return torch.cat(sharp), torch.cat(degraded)


def real(data: str, recipe: str, count: int) -> tuple[Tensor, Tensor]:
    """Return photos and the same degraded, in grey levels, `[N, C, R, R]` each."""
    dataset = ImageDataset(data, degradation=recipe)
    step = max(1, len(dataset) // count)
    pairs = [dataset.pair(index, (7, index)) for index in range(0, min(len(dataset), step * count), step)]
    sharp, degraded = (torch.from_numpy(np.stack(images)).float() for images in zip(*pairs, strict=True))
    return sharp, degraded


def summary(images: Tensor) -> str:
    """Return the statistics of images in grey levels as a line."""
    grain = grain_of(images)  # [N, C, R, R]
    deviation = grain.square().mean((1, 2, 3)).sqrt()  # [N]
    noisy = grain[deviation >= deviation.quantile(0.75)]
    lag = correlation(noisy[..., :-1], noisy[..., 1:])
    colour = correlation(noisy[:, 0], noisy[:, 1]) if images.shape[1] == 3 else float("nan")
    grains = "/".join(f"{value:.1f}" for value in np.percentile(deviation.numpy(), PERCENTILES))
    blocks = np.percentile(blockiness(images).numpy(), (50, 95))
    return (
        f"grain p10/25/50/75/90 {grains}, noisiest: lag-1 {lag:+.2f}, red-green {colour:+.2f}; "
        f"blockiness p50 {blocks[0]:.2f}, p95 {blocks[1]:.2f}"
    )


def grain_of(images: Tensor) -> Tensor:
    """Return `[N, C, R, R]` images less their Gaussian of sigma 1 px."""
    taps = torch.exp(-0.5 * torch.arange(-3.0, 4.0).square())
    taps = taps / taps.sum()
    planes = F.pad(images.flatten(0, 1)[:, None], (3, 3, 3, 3), mode="reflect")
    smooth = F.conv2d(F.conv2d(planes, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))
    return images - smooth.view_as(images)


def correlation(a: Tensor, b: Tensor) -> float:
    """Return the correlation of two tensors of mean zero."""
    return ((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()).item()


def blockiness(images: Tensor) -> Tensor:
    """Return, for each image, the mean step across borders of the 8x8 grid over the mean step elsewhere, `[N]`."""
    steps = [images.diff(dim=dim).abs().mean(1) for dim in (2, 3)]  # [N, R - 1, R] and [N, R, R - 1]
    along = [steps[0].mean(2), steps[1].mean(1)]  # [N, R - 1] each
    means = torch.stack(along).mean(0)
    border = torch.arange(means.shape[1]) % GRID == GRID - 1
    return means[:, border].mean(1) / means[:, ~border].mean(1).clamp(min=1e-6)


if __name__ == "__main__":
    main()
