"""Section 4.6 of the paper: accuracy of linear classifiers that tell a degradation from a quality code."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import tqdm
from torch import Tensor

from dnnlib.errors import UserError, counted
from evaluation.choices import KINDS
from evaluation.degradation_labels import Degradation, graded, present_or_not
from evaluation.photo_sets import PhotoOptions, SquarePhotos
from evaluation.tables.table import Table, number
from generation.rendering import stored_noise, synthesize
from generation.sampling import noise_of_seeds, ws_of_seeds
from images.ranges import from_levels, to_uint8
from inversion.encoders.encoder import Encoder
from inversion.encoders.files import find_encoder, load_encoder
from inversion.quality.fit_quality import QualityOptions, fit_quality
from networks.files import load
from networks.generators.interface import Generator
from networks.latents import Latents
from torch_utils.distributed import World
from torch_utils.linear_classifier import LinearClassifier
from torch_utils.purposes import FOR_CLASSIFICATION

PRESENT = "present or not"
LEVELS = {"5 levels": 5, "10 levels": 10}
PAPER = {"blur": {PRESENT: 0.979, "5 levels": 0.85, "10 levels": 0.77}}


@dataclass(frozen=True)
class ClassifyOptions:
    """How quality codes are computed and classified.

    Attributes:
        train: number of images that the classifiers learn from.
        test: number of other images, which their accuracy is measured on.
        steps: steps of the fit of each code.
        batch: number of images fitted at once.
        seed: seed of the degradations.
        encoder: file of an encoder that computes the codes; None: they are fitted, or with `data` the one beside.
        data: folder or zip of sharp photos that are degraded; None: the network's own images.
        kinds: kinds of degradation, of `evaluation.choices.KINDS`.
    """

    train: int = 1000
    test: int = 200
    steps: int = 60
    batch: int = 32
    seed: int = 0
    encoder: str | None = None
    data: str | None = None
    kinds: tuple[str, ...] = KINDS


class Source(Protocol):
    """Images and their quality codes.

    Attributes:
        description: origin of the images and the codes, in words.
    """

    description: str

    def sharp(self, numbers: range) -> np.ndarray:
        """Return the images of these numbers before they are degraded, uint8 `[N, R, R, C]`."""
        ...

    def codes(self, numbers: range, degraded: Tensor) -> Tensor:
        """Return the codes `[N, q_dim]` of degraded images `[N, C, R, R]` in [-1, 1]."""
        ...


class OwnImages:
    """The network's own images of seeds, so that their content is known, and only the code has to be found.

    Args:
        G: QC network.
        encoder: what tells the codes; None: they are fitted.
        steps: steps of the fit.
    """

    def __init__(self, G: Generator, encoder: Encoder | None, steps: int) -> None:
        self.G = G
        self.encoder = encoder
        self.steps = steps
        way = "an encoder" if encoder else f"{counted(steps, 'step')} of optimisation from the known content"
        self.description = f"the network's own images; each code by {way}"

    def sharp(self, numbers: range) -> np.ndarray:
        """Return the sharp images of seeds, uint8 `[N, R, R, C]`."""
        with torch.no_grad():
            return to_uint8(synthesize(self.G, Latents(ws_of_seeds(self.G, numbers)), noise_of_seeds(self.G, numbers)))

    def codes(self, numbers: range, degraded: Tensor) -> Tensor:
        """Return the codes `[N, q_dim]` of degraded images `[N, C, R, R]` in [-1, 1]."""
        if self.encoder is not None:
            return _encoded(self.encoder, degraded)
        latents, noise = Latents(ws_of_seeds(self.G, numbers)), noise_of_seeds(self.G, numbers)
        return fit_quality(self.G, latents, noise, degraded, QualityOptions(self.steps, compare="pixels"))


class PhotoImages:
    """Photos, those to learn from others than those to judge by; each is degraded several times where they are few.

    Args:
        G: QC network.
        encoder: what tells the codes, or only those of the content, to which the others are fitted.
        steps: steps of such a fit.
        data: folder or zip of the photos.
        train: number of images to learn from, numbered 0..train - 1.
        test: number of images to judge by, which follow.

    Raises UserError for a single photo.
    """

    def __init__(self, G: Generator, encoder: Encoder, steps: int, data: str, train: int, test: int) -> None:
        self.photos = SquarePhotos(PhotoOptions(data), None, G)
        self.G = G
        self.encoder = encoder
        self.steps = steps
        self.train = train
        there = len(self.photos)
        if there < 2:
            raise UserError(f"{data} has a single photo, and classifiers are judged by others than they learn from")
        share = train / (train + test)
        self.learned = train if there >= train + test else min(max(round(there * share), 1), there - 1)
        self.judged = min(test, there - self.learned)
        way = (
            "an encoder"
            if encoder.quality is not None
            else f"{counted(steps, 'step')} of optimisation after an encoder of w"
        )
        self.description = (
            f"{counted(self.learned, 'photo')} to learn from and {self.judged} to judge by; each code by {way}"
        )

    def sharp(self, numbers: range) -> np.ndarray:
        """Return the photos of these numbers, uint8 `[N, R, R, C]`."""
        return self.photos.images([self.photo_of(number) for number in numbers]).permute(0, 2, 3, 1).numpy()

    def codes(self, numbers: range, degraded: Tensor) -> Tensor:
        """Return the codes `[N, q_dim]` of degraded photos `[N, C, R, R]` in [-1, 1]."""
        if self.encoder.quality is not None:
            return _encoded(self.encoder, degraded)
        with torch.no_grad():
            latents = self.encoder(degraded)
        noise = stored_noise(self.G, len(degraded))
        return fit_quality(self.G, latents, noise, degraded, QualityOptions(self.steps, candidates=0))

    def photo_of(self, image: int) -> int:
        """Return which photo is degraded as this image."""
        if image < self.train:
            return image % self.learned
        return self.learned + (image - self.train) % self.judged


def classify_table(world: World, network: str, options: ClassifyOptions) -> Table:
    """Return the accuracies of classifiers whose only input is the quality code of an image."""
    G = load(network, world.device, "stored")
    if G.q_dim == 0:
        raise UserError(f"{network} is plain, without the quality codes that are classified; give a QC network")
    if G.c_dim > 0:
        raise UserError(f"{network} has classes, and quality codes are classified without; give an unconditional one")
    if min(options.train, options.test) < max(LEVELS.values()):
        raise UserError(f"{counted(min(options.train, options.test), 'image')} cannot show 10 levels; give at least 10")
    source = _source(G, network, options)
    accuracies = {kind: accuracies_of(source, G.device, kind, options) for kind in options.kinds}
    rows = [
        [f"{kind}: {name}", number(value, 3), number(1 / LEVELS.get(name, 2), 1), number(_paper(kind, name), 3)]
        for kind, values in accuracies.items()
        for name, value in values.items()
    ]
    notes = [
        f"{options.train} degraded images to learn from, {options.test} others to judge by: {source.description}. "
        "Levels divide the range of training: of Gaussian blur's size, the noise's standard deviation, JPEG's quality."
    ]
    title = "Section 4.6. Accuracy of linear classifiers of the quality code"
    numbers = {"accuracy": accuracies, "paper": PAPER}
    return Table("classify", title, ["", "here", "by chance", "paper"], rows, notes, numbers)


def accuracies_of(source: Source, device: torch.device, kind: str, options: ClassifyOptions) -> dict[str, float]:
    """Return the accuracies for one kind of degradation: whether it is there, and of which level."""
    codes, present = codes_of(source, device, present_or_not(kind), options, f"{kind} or not")
    accuracies = {PRESENT: accuracy(codes, present, 2, options.train)}
    codes, strengths = codes_of(source, device, graded(kind), options, f"levels of {kind}")
    for name, count in LEVELS.items():
        accuracies[name] = accuracy(codes, (strengths * count).long(), count, options.train)
    return accuracies


def accuracy(codes: Tensor, labels: Tensor, classes: int, train: int) -> float:
    """Return the accuracy, on the other rows, of a classifier trained on the first `train` rows."""
    classifier = LinearClassifier(codes[:train], labels[:train].long(), classes)
    return classifier.accuracy(codes[train:], labels[train:].long())


def codes_of(
    source: Source, device: torch.device, degradation: Degradation, options: ClassifyOptions, what: str
) -> tuple[Tensor, Tensor]:
    """Return codes `[N, q_dim]` and labels float64 `[N]` of degraded images, on the CPU."""
    count = options.train + options.test
    codes: list[Tensor] = []
    labels: list[float] = []
    for start in tqdm.tqdm(range(0, count, options.batch), desc=what, unit="batch", disable=None):
        numbers = range(start, min(start + options.batch, count))
        rngs = [np.random.default_rng((options.seed, FOR_CLASSIFICATION, number)) for number in numbers]
        degraded = [degradation(image, rng) for image, rng in zip(source.sharp(numbers), rngs, strict=True)]
        images = torch.from_numpy(np.stack([image for image, _ in degraded]))  # [N, R, R, C]
        codes.append(source.codes(numbers, from_levels(images.permute(0, 3, 1, 2)).to(device)).cpu())
        labels += [label for _, label in degraded]
    return torch.cat(codes), torch.tensor(labels, dtype=torch.float64)


def _source(G: Generator, network: str, options: ClassifyOptions) -> Source:
    """Return the images and codes that the options ask for."""
    path = options.encoder
    if path is None and options.data is not None:
        path = str(find_encoder(network) or "")
        if not path:
            raise UserError(f"codes of photos need an encoder, and there is none beside {network}; give --encoder=FILE")
    encoder = None if path is None else load_encoder(path, network, G)
    if options.data is None:
        if encoder is not None and encoder.quality is None:
            raise UserError(f"{path} tells no quality codes; leave out --encoder, and they are fitted")
        return OwnImages(G, encoder, options.steps)
    assert encoder is not None, "the codes of photos are told by an encoder"
    return PhotoImages(G, encoder, options.steps, options.data, options.train, options.test)


@torch.no_grad()
def _encoded(encoder: Encoder, images: Tensor) -> Tensor:
    """Return the codes `[N, q_dim]` of images `[N, C, R, R]` in [-1, 1]."""
    return encoder(images).q


def _paper(kind: str, name: str) -> float | None:
    return PAPER.get(kind, {}).get(name)
