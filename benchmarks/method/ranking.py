"""Rank sets of images by distances (FID, KID, PR, LPIPS): stronger blur, noise or compression should be further away.

python -m benchmarks.method.ranking --data=afhqcat64-train.zip --other=trucks64.zip
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe
from degradations.primitive import apply_primitive
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import PATH, SETTINGS
from images.datasets.dataset import ImageDataset
from metrics.detector import Detector, load_detector
from metrics.distances.frechet import frechet_distance, moments
from metrics.distances.manifold import precision_recall
from metrics.distances.polynomial_kernel import kernel_distance
from metrics.features import extract, read_rows
from metrics.image_stream import ImageStream
from metrics.weights.directory import WeightsDirectory
from torch_utils.distributed import World, best_device

SIGMAS = (0.4, 0.6, 0.9, 1.3, 2.0)
STRENGTHS: dict[str, tuple[str, list[dict[str, float]], str]] = {  # primitive, parameters, parameter in the heading
    "blur, sigma in px": ("gaussian_blur", [{"size": 6 * sigma + 1, "sigma": sigma} for sigma in SIGMAS], "sigma"),
    "noise, variance": ("gaussian_noise", [{"variance": v} for v in (10, 40, 160, 640, 2560)], "variance"),
    "JPEG, quality": ("jpeg", [{"quality": q} for q in (95, 80, 50, 30, 10)], "quality"),
}
BATCH = 32

Change = Callable[[int, np.ndarray], np.ndarray]  # index, uint8 [H, W, C] -> uint8 [H, W, C]


@click.command(context_settings=SETTINGS)
@click.option("--data", type=PATH, required=True, help="Folder or zip of sharp photos.")
@click.option("--other", type=PATH, help="Folder or zip of photos of something else, of the same size.")
@click.option("--images", type=click.IntRange(min=8), default=2000, help="Number of photos, the first of the set.")
@click.option("--detector", "name", default="cifar", help="Detector whose distances are printed.")
@click.option("--weights-dir", type=PATH, help="Directory of published weights.")
@click.option("--device", help="Device: cuda or cpu.  [default: the best there is]")
@one_sentence_errors
@torch.no_grad()
def main(data: str, other: str | None, images: int, name: str, weights_dir: str | None, device: str | None) -> None:
    """Print distances to one half of the photos: from the other half, degraded more and more, and from other data."""
    chosen = best_device(device)
    detector = load_detector(name, WeightsDirectory.find(weights_dir), chosen)
    dataset = ImageDataset(data)
    half = min(images, dataset.num_images) // 2
    click.echo(f"{half} against {half} photos of {data}; detector {name}; {describe(chosen)}\n")
    click.echo(f"| | {_HEADINGS} |\n|---|{'---|' * 5}")
    first = _features(detector, chosen, dataset, range(half))
    second = range(half, 2 * half)
    click.echo(_row("the other half", first, _features(detector, chosen, dataset, second)))
    for what, (primitive, strengths, parameter) in STRENGTHS.items():
        for parameters in strengths:
            change = partial(_degrade, primitive, parameters)
            rows = _features(detector, chosen, dataset, second, change)
            distance = _perceptual(detector, chosen, dataset, second, change)
            click.echo(_row(f"{what} {parameters[parameter]}", first, rows, distance))
    if other is not None:
        others = ImageDataset(other, resolution=dataset.resolution)
        rows = _features(detector, chosen, others, range(min(half, others.num_images)))
        click.echo(_row(f"other data, {others.name}", first, rows))


_HEADINGS = "Fréchet | kernel x 1000 | precision | recall | perceptual, to the sharp photo"


def _row(label: str, reals: np.ndarray, fakes: np.ndarray, perceptual: float | None = None) -> str:
    """Return a row of the table, from features `[N, D]` and the mean perceptual distance."""
    frechet = frechet_distance(moments(reals), moments(fakes))
    kernel = 1000 * kernel_distance(reals, fakes, np.random.RandomState(0), subsets=20)
    precision, recall = precision_recall(reals, fakes)
    last = "-" if perceptual is None else f"{perceptual:.4f}"
    return f"| {label} | {frechet:.3f} | {kernel:.3f} | {precision:.3f} | {recall:.3f} | {last} |"


def _degrade(primitive: str, parameters: dict[str, float], index: int, image: np.ndarray) -> np.ndarray:
    return apply_primitive(image, primitive, np.random.default_rng(index), **parameters)[0]


def _features(
    detector: Detector,
    device: torch.device,
    dataset: ImageDataset,
    indices: range,
    change: Change = lambda index, image: image,
) -> np.ndarray:
    """Return features `[N, D]` of some images, changed."""
    assert detector.features is not None, f"{detector.name} has no features"

    def batches(start: int, step: int) -> Iterator[Tensor]:
        for at in range(start * BATCH, len(indices), step * BATCH):
            yield torch.stack([_image(dataset, index, change) for index in indices[at : at + BATCH]])

    stream = ImageStream(dataset.name, len(indices), BATCH, batches, dict)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        extract(World(0, 1, device), stream, {"features": detector.features}, {"features": path})
        return np.array(read_rows(path))


def _perceptual(
    detector: Detector, device: torch.device, dataset: ImageDataset, indices: range, change: Change
) -> float | None:
    """Return the mean perceptual distance of changed images to themselves; None where the detector has none."""
    if detector.distances is None:
        return None
    total = 0.0
    for at in range(0, len(indices), BATCH):
        some = indices[at : at + BATCH]
        sharp = torch.stack([_image(dataset, index, lambda _, image: image) for index in some])
        changed = torch.stack([_image(dataset, index, change) for index in some])
        total += detector.distances(sharp.to(device), changed.to(device)).sum().item()
    return total / len(indices)


def _image(dataset: ImageDataset, index: int, change: Change) -> Tensor:
    """Return a changed image, uint8 `[C, H, W]`."""
    pixels = np.ascontiguousarray(dataset.image(index).transpose(1, 2, 0))
    return torch.from_numpy(np.ascontiguousarray(change(index, pixels).transpose(2, 0, 1)))


if __name__ == "__main__":
    main()
