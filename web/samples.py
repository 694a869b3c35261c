"""Images from seeds for the page: what people type, and the images that it means, sharp and degraded.

Texts come from a browser, so none of them ever names a file, as `generate.py --quality` may.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dnnlib.config import require
from dnnlib.errors import UserError
from dnnlib.parsing import floats, integers
from generation.quality_codes import MAX_SEED, SHARP, Quality, is_seed, random_code, seed_code
from generation.sampling import Sampling, generate
from networks.generators.interface import Generator

MOST_IMAGES = 16  # seeds at once
LONGEST_TEXT = 2000  # letters that somebody may type
MOST_SCALE = 3.0  # factor of a quality code


@dataclass(frozen=True)
class Wish:
    """Which images somebody wants.

    Attributes:
        seeds: numbers of the images.
        quality: their degradation.
        truncation_psi: draws the content to the mean; 1: not at all.
    """

    seeds: tuple[int, ...]
    quality: Quality
    truncation_psi: float = 0.7

    def __post_init__(self) -> None:
        require(0 <= self.truncation_psi <= 1, "the truncation", self.truncation_psi, "from 0 to 1")


@dataclass(frozen=True, eq=False)
class Sample:
    """The images of one seed, each uint8 `[R, R, 3]`."""

    seed: int
    sharp: np.ndarray
    degraded: np.ndarray


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of a text such as `0-7,12`; raise UserError for anything else, and for too many."""
    seeds = tuple(integers(_bounded(text)))
    require(len(seeds) <= MOST_IMAGES, "the number of seeds", len(seeds), f"at most {MOST_IMAGES} at once")
    require(max(seeds) <= MAX_SEED, "a seed", max(seeds), f"at most {MAX_SEED}", "choose smaller ones")
    return seeds


def parse_quality(text: str, seeds: Sequence[int], q_dim: int, scale: float = 1.0) -> Quality:
    """Return the quality of a text: `random` (another for each seed), `seed:5`, or `q_dim` numbers; times `scale`.

    Raises UserError for anything else, and for numbers that are not finite.
    """
    text = _bounded(text).strip()
    require(0 <= scale <= MOST_SCALE, "the strength", scale, f"from 0 to {MOST_SCALE:g}")
    number = text.removeprefix("seed:")
    if text == "random":
        codes = np.concatenate([random_code(seed, q_dim) for seed in seeds])
    elif is_seed(number):
        codes = np.repeat(seed_code(int(number), q_dim), len(seeds), axis=0)
    else:
        codes = np.repeat([_numbers(text, q_dim)], len(seeds), axis=0)
    with np.errstate(over="ignore"):
        codes = codes.astype(np.float32) * np.float32(scale)  # [N, q_dim]
    if not np.isfinite(codes).all():
        raise UserError("the quality code has a number that is not finite", "correct it")
    return Quality("degraded", codes)


def sample_images(G: Generator, wish: Wish) -> Iterator[Sample]:
    """Yield the images of each seed."""
    sampling = Sampling(truncation_psi=wish.truncation_psi, batch=4)
    for views in generate(G, wish.seeds, [SHARP, wish.quality], sampling):
        images = views.images if views.images.shape[-1] == 3 else views.images.repeat(3, axis=-1)
        yield from map(Sample, wish.seeds[views.rows], images[0], images[1])


def _numbers(text: str, q_dim: int) -> list[float]:
    try:
        return floats(text, q_dim, "the quality code")
    except UserError as error:
        raise UserError(error.problem.partition(";")[0], f"write random, seed:5, or {q_dim} numbers") from error


def _bounded(text: str) -> str:
    require(len(text) <= LONGEST_TEXT, "the number of letters", len(text), f"at most {LONGEST_TEXT}", "write less")
    return text
