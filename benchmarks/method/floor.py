"""How near a QC network's degraded images could come to degraded photos, and how near they are.

python -m benchmarks.method.floor --network pretrained/afhqcat64-qc.safetensors --data afhqcat64-train.zip

The network's sharp images, degraded by the recipe itself, are what perfect DegradBlocks would draw. Printed for these
and for G(w, q): the Frechet distance (CIFAR features) to degraded photos, and to such images of another draw; and how
much of the content changes, the mean squared difference of the means of 8x8 cells (in [-1, 1]).
"""

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe
from benchmarks.method.grain import generated, real
from benchmarks.method.qc_network import load_qc
from degradations.batched.degrade import degrade
from degradations.batched.tasks import plan_numbered
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import PATH, SETTINGS
from dnnlib.remote.locations import NetworkFile
from images.ranges import from_levels
from metrics.detector import Detector, load_detector
from metrics.distances.frechet import Moments, frechet_distance, moments
from metrics.weights.directory import WeightsDirectory
from training.losses import content_loss

BATCH = 100
SEED = 7


@click.command(context_settings=SETTINGS)
@click.option("--network", type=NetworkFile(), required=True, help="QC network whose images are measured.")
@click.option("--data", type=PATH, required=True, help="Folder or zip of sharp photos.")
@click.option("--recipe", default="balanced", help="Recipe that degrades photos and images.")
@click.option("--images", type=click.IntRange(2), default=1000, help="Number of images of each kind.")
@one_sentence_errors
@torch.no_grad()
def main(network: str, data: str, recipe: str, images: int) -> None:
    """Print the distances of perfectly degraded images and of the network's."""
    torch.manual_seed(SEED)
    detector = load_detector("cifar", WeightsDirectory(None), torch.device("cpu"))
    photos = gaussian(detector, real(data, recipe, images)[1])
    sharp, degraded = generated(load_qc(network, torch.device("cpu")), images)
    plans = [plan_numbered(recipe, seed, range(images), sharp.shape[-1]) for seed in (SEED, SEED + 1)]
    perfect, again = (degrade(sharp.byte(), each) for each in plans)
    own = gaussian(detector, again)
    click.echo(describe(torch.device("cpu")))
    for name, batch in {recipe: perfect.float(), "G(w, q)": degraded}.items():
        of_images = gaussian(detector, batch)
        click.echo(
            f"{name:10} to degraded photos {frechet_distance(of_images, photos):.2f}, "
            f"to G(w, 0) degraded {frechet_distance(of_images, own):.2f}, "
            f"change of content {content_loss(from_levels(sharp), from_levels(batch)):.4f}"
        )


def gaussian(detector: Detector, images: Tensor) -> Moments:
    """Return the Gaussian of the features of images in grey levels, `[N, C, R, R]`."""
    assert detector.features is not None, f"the detector {detector.name} has no features"
    return moments(np.concatenate([detector.features(rows).numpy() for rows in images.split(BATCH)]))


if __name__ == "__main__":
    main()
