"""Locality of pivotal tuning: images at other codes are to stay as they are (Roich et al. 2021, section 3.3).

`share`: a few codes, the same throughout, each between the photo's `w` and a random one.
`ball`: as published, a new random `w_z` each time, at a fixed distance from `w` in its direction (Eq. 5).
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from generation.rendering import stored_noise
from inversion.perceptual import Perceptual
from inversion.tuning_options import TuningOptions
from networks.generators.interface import Generator, SynthesisPart
from networks.latents import Latents
from torch_utils.purposes import FOR_LOCALITY
from torch_utils.seeding import BatchRandom


class CodesInBlocks:
    """Codes of one image, what the frozen blocks make of them, and their images before anything is tuned."""

    @torch.no_grad()
    def __init__(self, G: Generator, frozen: SynthesisPart, tuned: SynthesisPart, latents: Latents):
        start = G.synthesis.content(latents, stored_noise(G, len(latents)), blocks=0)
        self.q = latents.q
        self.content = frozen(start, self.q)
        self.originals: Tensor = tuned(self.content, self.q).img  # [1 or 2, C, R, R]

    def images(self, tuned: SynthesisPart, weights: dict[str, Tensor]) -> Tensor:
        """Return the images by other weights of the tuned blocks."""
        return functional_call(tuned, weights, (self.content, self.q)).img


@dataclass
class Locality:
    """The term of one photo; without any weight it is zero.

    Attributes:
        options: options of the tuning.
        G: generator, untuned.
        frozen: blocks that are not tuned.
        tuned: blocks that are tuned.
        latents: codes of the photo.
        perceptual: perceptual distance.
    """

    options: TuningOptions
    G: Generator
    frozen: SynthesisPart
    tuned: SynthesisPart
    latents: Latents
    perceptual: Perceptual

    def term(self, weights: dict[str, Tensor], step: int) -> Tensor:
        """Return how much the images at other codes have changed, weighed; 0 in the steps between.

        Args:
            weights: weights of the tuned blocks.
            step: number of the step, from 0 on.
        """
        options = self.options
        if step % options.locality_interval or not (options.locality_weight or options.locality_perceptual_weight):
            return self.latents.ws.new_zeros([])
        codes = self.codes(step // options.locality_interval)
        images = codes.images(self.tuned, weights)
        change = options.locality_weight * (images - codes.originals).square().mean()
        if options.locality_perceptual_weight:
            distance = self.perceptual(images, codes.originals).mean()
            change = change + options.locality_perceptual_weight * distance
        return change * options.locality_interval

    def codes(self, number: int) -> CodesInBlocks:
        """Return the codes of regularised step `number`."""
        raise NotImplementedError

    def at(self, ws: Tensor) -> CodesInBlocks:
        """Return codes `ws [1, num_ws, w_dim]` with the photo's quality; its paddings and features are its alone."""
        return CodesInBlocks(self.G, self.frozen, self.tuned, dataclasses.replace(self.latents.bare(), ws=ws))

    def random_ws(self, key: tuple[int, ...], count: int) -> Tensor:
        """Return `[count, num_ws, w_dim]`, the same for every photo; of all classes in turn."""
        device = self.G.device
        z = BatchRandom(key, count).randn(self.G.z_dim).to(device)
        with torch.no_grad():
            return self.G.mapping(z, self.G.labels_in_turn(len(z))).to(self.latents.ws.device)


class ShareLocality(Locality):
    """`share`: fixed codes between the photo's and random ones."""

    fixed: list[CodesInBlocks] | None = None

    def codes(self, number: int) -> CodesInBlocks:
        if self.fixed is None:
            options = self.options
            others = self.random_ws((options.seed, FOR_LOCALITY), options.locality_codes)
            around = self.latents.ws.lerp(others, options.locality_reach)  # [locality_codes, num_ws, w_dim]
            self.fixed = [self.at(ws[None]) for ws in around]
        return self.fixed[number % len(self.fixed)]


class BallLocality(Locality):
    """`ball`: a new code each time, at a fixed distance from each of the photo's `w`."""

    def codes(self, number: int) -> CodesInBlocks:
        options = self.options
        other = self.random_ws((options.seed, FOR_LOCALITY, number), 1)  # [1, num_ws, w_dim]
        way = other - self.latents.ws
        return self.at(self.latents.ws + options.locality_distance * way / way.norm(dim=2, keepdim=True))


# `tuning.locality` -> term.
LOCALITIES: dict[str, type[Locality]] = {"share": ShareLocality, "ball": BallLocality}
