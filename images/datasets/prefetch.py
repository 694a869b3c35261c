"""Batches on the device, copied while the batch before is still being trained on."""

from collections.abc import Iterable, Iterator

import torch

from images.datasets.batches import Batch


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches on a device.

    On CUDA each is copied from pinned memory on a stream of its own. The host asks for a batch as soon as it has
    launched the step before, so the copy runs beside that step, and neither waits for it: the step after does, on the
    device. Elsewhere the batches are passed on as they are.
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
            tensor.record_stream(training)  # else its memory might be used again while a step still reads it
        yield moved
