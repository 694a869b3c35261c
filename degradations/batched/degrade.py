"""Degrade batches of images on the device that trains; the plans are those of `degradations`, as for single images.

Nothing here makes the host wait for the device. All but noise is computed in integers, so that the result of an image
does not depend on the batch around it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from degradations import Applied, plan
from degradations.batched.blur import Parameters, box_blur, gaussian_blur, median_blur, motion_blur
from degradations.batched.downscale import downscale
from degradations.batched.exact_sums import exact_products, to_device
from degradations.batched.jpeg import jpeg
from degradations.mixing import FAMILIES
from degradations.primitive import perform
from dnnlib.remarks import remark
from torch_utils.purposes import FOR_DEGRADATION, FOR_DEGRADATION_NOISE
from torch_utils.seeding import derive_seed

# uint8 [N, C, R, R] and the parameters of each image -> uint8 [N, C, R, R]; noise needs random numbers as well.
# A primitive that is missing here is done on the CPU.
PRIMITIVES: dict[str, Callable[[Tensor, Parameters], Tensor]] = {
    "box_blur": box_blur,
    "downscale": downscale,
    "gaussian_blur": gaussian_blur,
    "jpeg": jpeg,
    "median_blur": median_blur,
    "motion_blur": motion_blur,
}


@dataclass(frozen=True)
class _Task:
    """A planned primitive: row of the image in the batch, the primitive with parameters, key of its random numbers."""

    row: int
    applied: Applied
    key: tuple[int, ...]


def degrade_numbered(images: Tensor, recipe: str, seed: int, first: int) -> Tensor:
    """Degrade uint8 `[N, C, R, R]`, the images number `first`, `first + 1`, ... of the run with this seed.

    The random numbers of an image depend only on the seed and its number.
    """
    numbers, width = range(first, first + len(images)), images.shape[-1]
    plans = [plan(recipe, np.random.default_rng((seed, FOR_DEGRADATION, number)), width) for number in numbers]
    return degrade(images, plans, [(seed, FOR_DEGRADATION_NOISE, number) for number in numbers])


@exact_products()
def degrade(images: Tensor, plans: Sequence[Sequence[Applied]], keys: Sequence[tuple[int, ...]]) -> Tensor:
    """Apply to each image the primitives of its plan, in order.

    Args:
        images: uint8 `[N, C, R, R]`; they are not modified.
        plans: plan of each image, from `degradations.plan`.
        keys: integers that seed the noise of each image.

    Returns uint8 `[N, C, R, R]`.
    """
    assert images.dtype == torch.uint8 and images.ndim == 4, f"images are {images.dtype} {list(images.shape)}"
    assert len(images) == len(plans) == len(keys), f"{len(images)} images, {len(plans)} plans, {len(keys)} keys"
    degraded = images.clone()
    queues = [
        [_Task(row, applied, (*key, step)) for step, applied in enumerate(plan)]
        for row, (plan, key) in enumerate(zip(plans, keys, strict=True))
    ]
    while any(queues):
        for name, tasks in _next_tasks(queues).items():
            rows = to_device(np.array([task.row for task in tasks]), images.device)  # [tasks]
            degraded.index_copy_(0, rows, _perform(name, degraded.index_select(0, rows), tasks))
    return degraded


def _next_tasks(queues: list[list[_Task]]) -> dict[str, list[_Task]]:
    """Remove the tasks of the first family from the heads of the queues; return them by the primitive's name.

    One family at a time makes the batches of a primitive large.
    """
    families = {queue[0].applied.family for queue in queues if queue}
    family = min(families, key=FAMILIES.index)
    tasks = [queue.pop(0) for queue in queues if queue and queue[0].applied.family == family]
    return {name: [t for t in tasks if t.applied.name == name] for name in sorted({t.applied.name for t in tasks})}


def _perform(name: str, images: Tensor, tasks: list[_Task]) -> Tensor:
    """Apply primitive `name` to images with one task each."""
    parameters = [task.applied.parameters for task in tasks]
    if name == "gaussian_noise":
        return gaussian_noise(images, parameters, [task.key for task in tasks])
    if name not in PRIMITIVES:
        return _perform_on_host(name, images, tasks)
    return PRIMITIVES[name](images, parameters)


def _perform_on_host(name: str, images: Tensor, tasks: list[_Task]) -> Tensor:
    """Apply a primitive that has no form for devices, image by image on the CPU."""
    remark(f"the degradation {name} has no form for devices; the CPU does it, and the device waits")
    pixels = images.permute(0, 2, 3, 1).cpu().contiguous().numpy()  # [N, R, R, C]
    pairs = zip(pixels, tasks, strict=True)
    degraded = np.stack([perform(image, task.applied, np.random.default_rng(task.key)) for image, task in pairs])
    return torch.from_numpy(degraded).permute(0, 3, 1, 2).to(images.device)


def gaussian_noise(images: Tensor, parameters: Parameters, keys: Sequence[tuple[int, ...]]) -> Tensor:
    """Add noise of its `variance` to each of uint8 `[N, C, R, R]`, then round and clip."""
    generator = torch.Generator(images.device)
    noise = torch.empty(images.shape, device=images.device)  # [N, C, R, R]
    for plane, key in zip(noise, keys, strict=True):
        plane.normal_(generator=generator.manual_seed(derive_seed(*key)))
    deviations = np.sqrt([p["variance"] for p in parameters], dtype=np.float32)  # [N]
    noise *= to_device(deviations, images.device)[:, None, None, None]
    noise += images
    return noise.round_().clamp_(0, 255).to(torch.uint8)
