"""The adversarial term of encoders: a discriminator of sharp reconstructions against sharp inputs (padding space).

Inputs are photos and, as far as the training mixes them in, the generator's own samples.
"""

import math
from typing import Any

import torch
from torch import Tensor

from inversion.encoders.config import EncoderConfig
from networks.config import DiscriminatorConfig
from networks.files import ImageFormat, build_discriminator
from networks.generators.interface import Generator
from torch_utils.distributed import World
from training.losses import discriminator_loss_fake, discriminator_loss_real, generator_loss, r1_penalty
from training.optimization.gradient_average import GradientAverage

GROUP = 4  # images that share one standard deviation, where the batch divides by it


class Adversary:
    """StyleGAN2's discriminator at the generator's resolution and widths, and its optimizer.

    Args:
        config: penalty, learning rate and batch size.
        G: network that is inverted.
        world: this process's place among those that share each batch; None: it is the only one.
    """

    def __init__(self, config: EncoderConfig, G: Generator, world: World | None = None) -> None:
        self.config = config.adversary
        world = world or World(0, 1, G.device)
        group = math.gcd(config.batch // world.size, GROUP)
        widths = DiscriminatorConfig(G.config.channel_base, G.config.channel_max, mbstd_group_size=group)
        images = ImageFormat(G.img_resolution, G.img_channels, 0)
        self.D = build_discriminator(widths, images).to(G.device).train().requires_grad_(False)
        # The penalty comes only each so many steps, which counts as one step more (StyleGAN2, appendix B).
        share = self.config.r1_interval / (self.config.r1_interval + 1)
        adam = self.config.optimizer
        betas = (adam.beta1**share, adam.beta2**share)
        self.optimizer = torch.optim.Adam(
            self.D.parameters(), lr=adam.lr * share, betas=betas, eps=adam.eps, foreach=True
        )
        self.average = GradientAverage(world, self.D.parameters())
        self.steps = 0

    def term(self, images: Tensor) -> Tensor:
        """Return how unlike photos images `[N, C, R, R]` are, `[N]`, with gradients to the images alone."""
        return generator_loss(self.D(images))[:, 0]

    def step(self, photos: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Train to tell photos from images, `[N, C, R, R]` each; return the loss `[N]`, and the penalty where due."""
        self.D.requires_grad_(True)
        photos = photos.detach().requires_grad_(True)
        logits = self.D(photos)
        values = discriminator_loss_real(logits) + discriminator_loss_fake(self.D(images.detach()))  # [N, 1]
        found, loss = {"D": values.detach()[:, 0]}, values.mean()
        if self.steps % self.config.r1_interval == 0 and self.config.r1_gamma > 0:
            penalty = r1_penalty(logits, photos)  # [N]
            found["r1_penalty"] = penalty.detach()
            loss = loss + self.config.r1_interval * self.config.r1_gamma / 2 * penalty.mean()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.start()
        loss.backward()
        self.average.finish()
        self.optimizer.step()
        self.D.requires_grad_(False)
        self.steps += 1
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs to go on exactly."""
        return {"D": self.D.state_dict(), "optimizer": self.optimizer.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.D.load_state_dict(state["D"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
