"""Extraction of features: from a stream of images to rows on disk, one for each image, in the order of the images."""

import contextlib
import itertools
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import numpy as np
import torch
import tqdm
from torch import Tensor

from dnnlib.arrays import map_array
from dnnlib.errors import UserError
from metrics.detector import require_finite
from metrics.image_stream import ImageStream
from torch_utils.distributed import World

Extractor = Callable[[Tensor], Tensor]  # uint8 [N, C, H, W] -> float32 [N, D]


def extract(world: World, stream: ImageStream, extractors: Mapping[str, Extractor], paths: Mapping[str, Path]) -> None:
    """Write the rows of each extractor to its path, as a `.npy` of float32 `[count, D]`.

    The processes take batches in turn, and the first one writes; the memory needed is that of a batch. As a batch is
    the same in every process, the files do not depend on the number of processes.

    Args:
        world: the processes that share the work; all of them call.
        stream: the images.
        extractors: functions from images to rows, by name.
        paths: path of each extractor's file, by name; used by the first process alone.

    Raises UserError for values that are not finite.
    """
    files: dict[str, np.memmap] = {}
    rounds = range(0, stream.num_batches, world.size)
    bar = tqdm.tqdm(total=stream.count, desc=stream.name, unit="img", disable=None if world.is_first else True)
    with bar, torch.no_grad(), contextlib.closing(_batches_of_process(world, stream)) as batches:
        for first in rounds:
            images = next(batches).to(world.device)  # [<= batch, C, H, W]
            for name, extractor in extractors.items():
                rows = require_finite(extractor(images), f"what {name} says of {stream.name}")  # [<= batch, D]
                gathered = world.gather(_pad(rows, stream.batch))  # [size * batch, D]
                if world.is_first:
                    start = first * stream.batch
                    values = gathered[: stream.count - start].cpu().numpy()
                    if name not in files:
                        shape = (stream.count, values.shape[1])
                        files[name] = np.lib.format.open_memmap(paths[name], "w+", np.float32, shape)
                    files[name][start : start + len(values)] = values
            bar.update(min(world.size * stream.batch, stream.count - first * stream.batch))
    for file in files.values():
        file.flush()


def read_rows(path: Path) -> np.ndarray:
    """Return float32 `[N, D]`, mapped from disk; raise UserError for a file with anything else."""
    rows = map_array(path)
    if rows.dtype != np.float32 or rows.ndim != 2:
        raise UserError(f"{path} holds no features; delete it, and they are computed anew")
    return rows


def _batches_of_process(world: World, stream: ImageStream) -> Generator[Tensor, None, None]:
    """Yield this process's batches, then the last one again while other processes still have theirs."""
    images = None
    for images in stream.batches(world.rank % stream.num_batches, world.size):
        yield images
    assert images is not None, f"{stream.name} has no images"
    yield from itertools.repeat(images)


def _pad(rows: Tensor, count: int) -> Tensor:
    """Return rows `[count, D]`, the last of them zero where there are fewer."""
    return torch.cat([rows, rows.new_zeros(count - len(rows), rows.shape[1])]) if len(rows) < count else rows
