"""The frame of every training phase: gradients accumulated over rounds, averaged over processes, a step of Adam."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from networks.discriminator import Discriminator
from networks.generators.interface import Generator
from torch_utils.distributed import World
from training.optimization.gradient_average import GradientAverage

Network = Generator | Discriminator


class Phase:
    """Gradients for one network, accumulated over rounds, averaged over processes, then a step of its optimizer.

    Entering gives a function `backward(loss, images)`: the loss is a mean over so many images of this process.

    Args:
        world: this process's place among all processes.
        optimizer: optimizer of the network.
        network: the network that is trained.
        others: networks that take part, without gradients for their weights.
        process_batch: images of the batch that this process sees, over all rounds.
        forgive_overflow: set gradients that are not finite to zero instead of letting them through.
    """

    def __init__(
        self,
        world: World,
        optimizer: torch.optim.Optimizer,
        network: Network,
        others: Iterable[Network],
        process_batch: int,
        forgive_overflow: bool,
    ):
        self.optimizer = optimizer
        self.process_batch = process_batch
        self.forgive_overflow = forgive_overflow
        self.images_left = process_batch
        self.parameters = list(network.trainable_parameters().values())
        self.passive = [parameter for other in others for parameter in other.trainable_parameters().values()]
        self.average = GradientAverage(world, self.parameters)

    def __enter__(self) -> Callable[[Tensor, int], None]:
        for parameter in self.passive:
            parameter.requires_grad_(False)
        self.optimizer.zero_grad(set_to_none=True)
        return self._backward

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for parameter in self.passive:
            parameter.requires_grad_(True)
        if kind is not None:
            self.average.abandon()
            return
        self.average.finish()
        if self.forgive_overflow:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
        self.optimizer.step()

    def _backward(self, loss: Tensor, images: int) -> None:
        """Add the gradients of a mean over `images` images of this process's share."""
        self.images_left -= images
        if self.images_left == 0:
            self.average.start()
        (loss * (images / self.process_batch)).backward()
