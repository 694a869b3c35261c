"""Section 4.6 of the paper: accuracy of linear classifiers that tell blur from a quality code."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import tqdm
from torch import Tensor

from degradations import degrade
from degradations.kernel_sizes import size_range
from degradations.primitive import apply_primitive
from dnnlib.errors import UserError
from evaluation.tables.table import Table, number
from generation.rendering import synthesize
from generation.sampling import noise_of_seeds, ws_of_seeds
from images.ranges import from_levels, to_uint8
from inversion.encoders.encoder import Encoder
from inversion.encoders.files import load_encoder
from inversion.fit_quality import fit_quality
from networks.files import load
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.distributed import World
from torch_utils.linear_classifier import LinearClassifier
from torch_utils.purposes import FOR_CLASSIFICATION

NOT_BLURRY = ("sharp", "noise", "jpeg")  # kinds of images that are not blurred
PAPER = {"blurry or not": 0.979, "5 levels": 0.85, "10 levels": 0.77}
LEVELS = {"5 levels": 5, "10 levels": 10}

Image = np.ndarray  # uint8 [H, W, C]
Degradation = Callable[[Image, np.random.Generator], tuple[Image, float]]  # -> the degraded image and its label


@dataclass(frozen=True)
class ClassifyOptions:
    """How quality codes are computed and classified.

    Attributes:
        train: number of images that the classifiers learn from.
        test: number of other images, which their accuracy is measured on.
        steps: steps of the fit of each code.
        batch: number of images fitted at once.
        seed: seed of the degradations.
        encoder: file of an encoder that computes the codes; None: they are fitted.
    """

    train: int = 1000
    test: int = 200
    steps: int = 60
    batch: int = 32
    seed: int = 0
    encoder: str | None = None


def classify_table(world: World, network: str, options: ClassifyOptions) -> Table:
    """Return the accuracies of classifiers whose only input is the quality code of an image.

    The images are the network's own, degraded by real filters. So their content is known, and only the code has to be
    computed.
    """
    G = load(network, world.device, "stored")
    if G.q_dim == 0:
        raise UserError(f"{network} is plain, without the quality codes that are classified; give a QC network")
    if G.c_dim > 0:
        raise UserError(f"{network} has classes, and quality codes are classified without; give an unconditional one")
    if min(options.train, options.test) < max(LEVELS.values()):
        raise UserError(f"{min(options.train, options.test)} images are too few for 10 levels; give at least 10")
    encoder = None if options.encoder is None else load_encoder(options.encoder, network, G)
    if encoder is not None and encoder.quality is None:
        raise UserError(f"{options.encoder} tells no quality codes; leave out --encoder, and they are fitted")
    kinds = codes_of(G, encoder, blurry_or_not, options, "blurry or not")
    levels = codes_of(G, encoder, blur_strength, options, "levels of blur")
    accuracies = {"blurry or not": accuracy(*kinds, 2, options.train)}
    for name, count in LEVELS.items():
        codes, strengths = levels
        accuracies[name] = accuracy(codes, (strengths * count).long().clamp(max=count - 1), count, options.train)
    rows = [[name, number(value, 3), number(PAPER[name], 3)] for name, value in accuracies.items()]
    source = "an encoder" if encoder else f"{options.steps} steps of optimisation from the known content"
    notes = [
        f"{options.train} images to learn from, {options.test} others to judge; each code by {source}. "
        "By chance: 0.5, 0.2, 0.1."
    ]
    title = "Section 4.6. Accuracy of linear classifiers of the quality code"
    return Table("classify", title, ["", "here", "paper"], rows, notes, {"accuracy": accuracies, "paper": PAPER})


def accuracy(codes: Tensor, labels: Tensor, classes: int, train: int) -> float:
    """Return the accuracy, on the other rows, of a classifier trained on the first `train` rows."""
    classifier = LinearClassifier(codes[:train], labels[:train].long(), classes)
    return classifier.accuracy(codes[train:], labels[train:].long())


def codes_of(
    G: Generator, encoder: Encoder | None, degradation: Degradation, options: ClassifyOptions, what: str
) -> tuple[Tensor, Tensor]:
    """Return codes `[N, q_dim]`, encoded or fitted, and labels `[N]` of degraded images of seeds 0..N-1, on the CPU."""
    count = options.train + options.test
    codes: list[Tensor] = []
    labels: list[float] = []
    for start in tqdm.tqdm(range(0, count, options.batch), desc=what, unit="batch", disable=None):
        seeds = range(start, min(start + options.batch, count))
        ws, noise = ws_of_seeds(G, seeds), noise_of_seeds(G, seeds)
        with torch.no_grad():
            sharp = synthesize(G, Latents(ws), noise)  # [N, C, R, R]
        rngs = [np.random.default_rng((options.seed, FOR_CLASSIFICATION, seed)) for seed in seeds]
        degraded = [degradation(image, rng) for image, rng in zip(to_uint8(sharp), rngs, strict=True)]
        images = np.stack([image for image, _ in degraded])  # [N, R, R, C]
        targets = from_levels(torch.from_numpy(images).permute(0, 3, 1, 2).to(sharp))  # [N, C, R, R]
        if encoder is None:
            q = fit_quality(G, Latents(ws), noise, targets, options.steps, seed=start)
        else:
            with torch.no_grad():
                q = encoder(targets).q
        codes.append(q.cpu())
        labels += [label for _, label in degraded]
    return torch.cat(codes), torch.tensor(labels)


def blurry_or_not(image: Image, rng: np.random.Generator) -> tuple[Image, float]:
    """Return an image that is blurred (1), or sharp, noisy or compressed (0), each half of the time."""
    blurry = rng.random() < 0.5
    kind = "blur" if blurry else NOT_BLURRY[rng.integers(len(NOT_BLURRY))]
    return (image if kind == "sharp" else degrade(image, kind, rng)[0]), float(blurry)


def blur_strength(image: Image, rng: np.random.Generator) -> tuple[Image, float]:
    """Return an image with Gaussian blur, and the blur's strength, 0..1 over the range of training."""
    low, high = size_range(image.shape[1])
    strength = rng.random()
    size = low + strength * (high - low)
    blur = partial(apply_primitive, image, "gaussian_blur", rng)
    return blur(size=size, sigma=0.15 * size + 0.35)[0], strength
