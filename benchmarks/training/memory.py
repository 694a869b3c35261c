"""What training needs in memory: what is kept from step to step exactly, activations by an estimate."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.training.steps import phases
from networks.files import ImageFormat
from torch_utils.distributed import World
from torch_utils.seeding import BatchRandom
from training.config import TrainConfig
from training.passes.phases import Key
from training.trainer import Trainer

META = torch.device("meta")  # tensors have shapes there, and no memory


@dataclass(frozen=True)
class Memory:
    """Bytes.

    Attributes:
        weights: parameters and buffers of the generator, the discriminators and the teacher.
        gradients: gradients of all parameters. Each network has them in its own phases, so that they add up at most.
        adam: two moments of all that is trained.
        ema: the generator's moving average.
        activations: bytes for each image that goes through the networks at once, in the phase that keeps the most.
        phase: name of the phase that keeps the most.
    """

    weights: int
    gradients: int
    adam: int
    ema: int
    activations: int
    phase: str

    @property
    def kept(self) -> int:
        """All but activations."""
        return self.weights + self.gradients + self.adam + self.ema

    def of(self, images: int) -> int:
        """Return the estimate for so many images at once."""
        return self.kept + images * self.activations


def needed(config: TrainConfig, images: ImageFormat) -> Memory:
    """Return what a process needs.

    Activations are all that autograd keeps for the derivatives of a phase, each piece of memory once, by saved-tensor
    hooks, divided by the images of the batch. They are an estimate: temporary results and a library's workspaces come
    on top, scaled weights count although they don't grow, and second derivatives let go of some of it on the way.
    """
    two = config.loss.pl_batch_shrink if config.loss.pl_weight > 0 else 1  # images that path lengths need
    single = dataclasses.replace(
        config,
        batch=two,
        discriminator=dataclasses.replace(config.discriminator, mbstd_group_size=1),
        run=dataclasses.replace(config.run, batch_gpu=None, fused_optimizer=False),
    )
    trainer = ShapesTrainer(single, images, World(0, 1, META))
    trained = [parameter for network in trainer.networks().values() for parameter in _trainable(network)]
    networks = [*trainer.networks().values(), *([] if trainer.teacher is None else [trainer.teacher])]
    gradients = _bytes(trained)
    weights = [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]
    kept = {name: saved_bytes(phase, weights) // two for name, phase in phases(trainer).items() if name != "fakes"}
    largest = max(kept, key=kept.__getitem__)
    return Memory(
        weights=_bytes(weights),
        gradients=gradients,
        adam=2 * gradients,
        ema=_bytes([*trainer.G_ema.parameters(), *trainer.G_ema.buffers()]),
        activations=kept[largest],
        phase=largest,
    )


def saved_bytes(function: Callable[[], object], without: Iterable[Tensor] = ()) -> int:
    """Return the bytes of what autograd keeps during a call, each piece of memory once, and none of some tensors."""
    known = {tensor.untyped_storage()._cdata for tensor in without}
    kept: dict[int, Tensor] = {}  # which holds the tensors, so that no other gets their place

    def note(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage()._cdata
        if place not in known:
            kept.setdefault(place, tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        function()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


class ShapesTrainer(Trainer):
    """A trainer on a device without values, and so without random numbers."""

    def _draws(self, key: Key, rows: slice, copies: int) -> BatchRandom:
        return ShapesOfRandom(key(), self.config.batch, rows, META, copies)


class ShapesOfRandom(BatchRandom):
    """Draws without a generator, of which a device without values has none."""

    def __init__(
        self,
        key: Sequence[int],
        batch_size: int,
        rows: slice | None = None,
        device: torch.device | str = META,
        copies: int = 1,
        generator: torch.Generator | None = None,
    ):
        self.batch_size = batch_size
        self.rows = rows or slice(None)
        self.device = torch.device(device)
        self.copies = copies

    def randn(self, *shape: int) -> Tensor:
        return self._select_rows(torch.empty(self._size(shape), device=self.device))

    rand = randn

    def randint(self, low: int, high: int, *shape: int) -> Tensor:
        return self._select_rows(torch.empty(self._size(shape), dtype=torch.int64, device=self.device))


def _trainable(network: object) -> Sequence[torch.nn.Parameter]:
    return list(network.trainable_parameters().values())  # type: ignore[attr-defined]


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
