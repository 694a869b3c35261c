"""Prefetching: the next batch is copied to the device while the current one is still being trained on."""

from collections.abc import Iterable, Iterator

import torch

from images.datasets.batches import Batch


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches on a device.

    On CUDA each batch is copied from pinned memory on a stream of its own. The host takes the next batch as soon as it
    has launched a step, so the copy runs beside that step. Neither the host nor that step waits for the copy: the next
    step does, on the device. On other devices the batches are yielded unchanged.
    """
    if device.type != "cuda":
        yield from batches
        return
    copies = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(copies):
            moved = batch.to(device)
        training = torch.cuda.current_stream(device)
        training.wait_stream(copies)
        for tensor in moved.tensors():
            tensor.record_stream(training)  # otherwise its memory might be reused while a step still reads it
        yield moved
