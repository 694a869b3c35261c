"""From a stream of images to rows on disk: what detectors see in each image, in the order of the images."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
import tqdm
from torch import Tensor

from metrics.detector import require_finite
from metrics.image_stream import ImageStream
from torch_utils.distributed import World

Look = Callable[[Tensor], Tensor]  # uint8 [N, C, H, W] -> float32 [N, D]


def extract(world: World, stream: ImageStream, looks: Mapping[str, Look], paths: Mapping[str, Path]) -> None:
    """Write what each of `looks` says of every image to its path, as a `.npy` of float32 `[count, D]`.

    The processes take batches in turn, and the first one writes; the memory needed is that of a batch. As every
    batch is the same whoever sees it, the files do not depend on the number of processes.

    Raises UserError for values that are not finite.
    """
    files: dict[str, np.memmap] = {}
    rounds = range(0, stream.num_batches, world.size)
    bar = tqdm.tqdm(total=stream.count, desc=stream.name, unit="img", disable=None if world.is_first else True)
    with bar, torch.no_grad(), contextlib.closing(_own_batches(world, stream)) as own:
        for first in rounds:
            images = next(own).to(world.device)
            for name, look in looks.items():
                rows = require_finite(look(images), f"what {name} says of {stream.name}")
                gathered = world.gather(_padded(rows, stream.batch))
                if world.is_first:
                    start = first * stream.batch
                    rows = gathered[: stream.count - start].cpu().numpy()
                    if name not in files:
                        shape = (stream.count, rows.shape[1])
                        files[name] = np.lib.format.open_memmap(paths[name], "w+", np.float32, shape)
                    files[name][start : start + len(rows)] = rows
            bar.update(min(world.size * stream.batch, stream.count - first * stream.batch))
    for file in files.values():
        file.flush()


def read_rows(path: Path) -> np.ndarray:
    """Return float32 `[N, D]` that stay on disk until they are looked at."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _own_batches(world: World, stream: ImageStream) -> Iterator[Tensor]:
    """Yield this process's batches, then the last of them again while others still have theirs."""
    images = None
    for images in stream.batches(world.rank % stream.num_batches, world.size):
        yield images
    yield from itertools.repeat(images)


def _padded(rows: Tensor, count: int) -> Tensor:
    return torch.cat([rows, rows.new_zeros(count - len(rows), rows.shape[1])]) if len(rows) < count else rows
