"""Sources of images for tests of metrics: real and stand-in detectors."""

import torch

from images.datasets.dataset import ImageDataset
from metrics.detector import Detector, load_detector
from metrics.image_stream import ImageStream
from metrics.weights.directory import WeightsDirectory

CPU = torch.device("cpu")
NO_WEIGHTS = WeightsDirectory(None)


def cifar():
    return load_detector("cifar", NO_WEIGHTS, CPU)


def stand_in(name="inception", dims=4):
    """Return a detector that sees the means of the quarters of an image; few dimensions need few images."""

    def features(images):
        quarters = torch.nn.functional.adaptive_avg_pool2d(images.float().mean(1), 2).flatten(1)
        return quarters[:, :dims] / 255

    return Detector(
        name=name, resize="none", features=features, probabilities=lambda images: features(images).softmax(1)
    )


def stream_of(images, batch=4, name="given"):
    """Return images uint8 `[N, C, H, W]` as a stream."""

    def batches(first, step):
        yield from images.split(batch)[first::step]

    return ImageStream(name, len(images), batch, batches, lambda: {"images": name})


def all_images(stream):
    return torch.cat(list(stream.batches(0, 1)))


def pixels_of(path):
    """Return the images of a folder or zip, uint8 `[N, C, H, W]`."""
    dataset = ImageDataset(path)
    return torch.stack([torch.from_numpy(dataset.image(index)) for index in range(dataset.num_images)])
