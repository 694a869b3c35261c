"""Degrade batches of images on the device that trains; the plans are those of `degradations`, as for single images.

Nothing here makes the host wait for the device. All but noise is computed in integers, so that the result of an image
does not depend on the batch around it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from degradations.batched.blur import Parameters, box_blur, gaussian_blur, median_blur, motion_blur
from degradations.batched.downscale import downscale
from degradations.batched.exact_sums import exact_products, to_device
from degradations.batched.jpeg import jpeg
from degradations.batched.tasks import ImagePlan, Task
from degradations.mixing import FAMILIES
from degradations.primitive import perform
from dnnlib.remarks import remark

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

_Row = tuple[int, Task]  # row of the image in the batch, and what is done to it


@exact_products()
def degrade(images: Tensor, plans: Sequence[ImagePlan]) -> Tensor:
    """Apply to each image the primitives of its plan, in order.

    Args:
        images: uint8 `[N, C, R, R]`; they are not modified.
        plans: plan of each image, from `degradations.batched.tasks`.

    Returns uint8 `[N, C, R, R]`.
    """
    assert images.dtype == torch.uint8 and images.ndim == 4, f"images are {images.dtype} {list(images.shape)}"
    assert len(images) == len(plans), f"{len(images)} images, {len(plans)} plans"
    degraded = images.clone()
    queues = [[(row, task) for task in plan] for row, plan in enumerate(plans)]
    while any(queues):
        for name, chosen in _next_tasks(queues).items():
            rows = to_device(np.array([row for row, _ in chosen]), images.device)  # [tasks]
            tasks = [task for _, task in chosen]
            degraded.index_copy_(0, rows, _perform(name, degraded.index_select(0, rows), tasks))
    return degraded


def _next_tasks(queues: list[list[_Row]]) -> dict[str, list[_Row]]:
    """Remove the tasks of the first family from the heads of the queues; return them by the primitive's name.

    One family at a time makes the batches of a primitive large.
    """
    heads = [(queue, queue[0][1].applied) for queue in queues if queue]
    family = min({applied.family for _, applied in heads}, key=FAMILIES.index)
    tasks: dict[str, list[_Row]] = {}
    for queue, applied in heads:
        if applied.family == family:
            tasks.setdefault(applied.name, []).append(queue.pop(0))
    return dict(sorted(tasks.items()))


def _perform(name: str, images: Tensor, tasks: list[Task]) -> Tensor:
    """Apply primitive `name` to images with one task each."""
    parameters = [task.applied.parameters for task in tasks]
    if name == "gaussian_noise":
        return gaussian_noise(images, parameters, [task.seed for task in tasks])
    if name not in PRIMITIVES:
        return _perform_on_host(name, images, tasks)
    return PRIMITIVES[name](images, parameters)


def _perform_on_host(name: str, images: Tensor, tasks: list[Task]) -> Tensor:
    """Apply a primitive that has no form for devices, image by image on the CPU."""
    remark(f"the degradation {name} has no form for devices; the CPU does it, and the device waits")
    pixels = images.permute(0, 2, 3, 1).cpu().contiguous().numpy()  # [N, R, R, C]
    pairs = zip(pixels, tasks, strict=True)
    degraded = np.stack([perform(image, task.applied, np.random.default_rng(task.seed)) for image, task in pairs])
    return torch.from_numpy(degraded).permute(0, 3, 1, 2).to(images.device)


def gaussian_noise(images: Tensor, parameters: Parameters, seeds: Sequence[int]) -> Tensor:
    """Add noise of its `variance`, from its seed, to each of uint8 `[N, C, R, R]`, then round and clip."""
    generator = torch.Generator(images.device)
    noise = torch.empty(images.shape, device=images.device)  # [N, C, R, R]
    for plane, seed in zip(noise, seeds, strict=True):
        plane.normal_(generator=generator.manual_seed(seed))
    deviations = np.sqrt([p["variance"] for p in parameters], dtype=np.float32)  # [N]
    noise *= to_device(deviations, images.device)[:, None, None, None]
    noise += images
    return noise.round_().clamp_(0, 255).to(torch.uint8)
