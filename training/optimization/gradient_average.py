"""Gradients averaged over processes while the rest of them is still being computed."""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from torch_utils.distributed import World, with_others

BUCKET_BYTES = 25 * 2**20  # long enough for the full rate of a link, short enough that the last one is soon over


class GradientAverage:
    """Replaces the gradients of some parameters by their means over all processes, one message for each bucket.

    Between `start` and `finish`, a bucket is sent as soon as a backward pass has completed it and those before it: the
    order of messages is the same in every process. Accumulated gradients must be complete after that pass.

    Args:
        world: this process's place among all.
        parameters: parameters in the order of the forward pass, which the backward pass takes from its end.
    """

    def __init__(self, world: World, parameters: Iterable[nn.Parameter], bucket_bytes: int = BUCKET_BYTES):
        self.world = world
        self.buckets = list(_buckets(reversed(list(parameters)), bucket_bytes)) if world.size > 1 else []
        self.waiting: list[set[nn.Parameter]] = []  # for each bucket, the parameters whose gradients are not complete
        self.sent: list[_Message] = []
        self.handles: list[torch.utils.hooks.RemovableHandle] = []

    def start(self) -> None:
        """Watch the next backward pass, the last one that adds to the gradients."""
        self.waiting = [set(bucket) for bucket in self.buckets]
        for index, bucket in enumerate(self.buckets):
            for parameter in bucket:
                hook = self._completed(index)
                self.handles.append(parameter.register_post_accumulate_grad_hook(hook))

    def finish(self) -> None:
        """Send what is left, wait for all, and put the means into the gradients."""
        self._stop_watching()
        while len(self.sent) < len(self.buckets):
            self._send_next()
        for message in self.sent:
            message.receive(self.world.size)
        self.sent = []

    def abandon(self) -> None:
        """Forget about a pass that has failed."""
        self._stop_watching()
        self.sent = []

    def _completed(self, index: int) -> Callable[[Tensor], None]:
        def note(parameter: Tensor) -> None:
            self.waiting[index].discard(parameter)
            while len(self.sent) < len(self.buckets) and not self.waiting[len(self.sent)]:
                self._send_next()

        return note

    def _send_next(self) -> None:
        bucket = self.buckets[len(self.sent)]
        self.sent.append(_Message([parameter.grad for parameter in bucket if parameter.grad is not None]))

    def _stop_watching(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles = []


class _Message:
    """Gradients on their way, summed over all processes."""

    def __init__(self, gradients: list[Tensor]):
        self.gradients = gradients
        self.work = None
        if gradients:
            self.flat = torch.cat([gradient.flatten() for gradient in gradients])
            with with_others():
                self.work = dist.all_reduce(self.flat, async_op=True)

    def receive(self, processes: int) -> None:
        """Wait (on a GPU, only its stream does) and replace the gradients by their means."""
        if self.work is None:
            return
        with with_others():
            self.work.wait()
        self.flat /= processes
        parts = self.flat.split([gradient.numel() for gradient in self.gradients])
        pairs = zip(parts, self.gradients, strict=True)
        torch._foreach_copy_(self.gradients, [part.view_as(gradient) for part, gradient in pairs])


def _buckets(parameters: Iterable[nn.Parameter], limit: int) -> Iterator[list[nn.Parameter]]:
    """Yield runs of parameters that together take up to `limit` bytes, or one that takes more."""
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        taken = parameter.numel() * parameter.element_size()
        if bucket and size + taken > limit:
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += taken
    if bucket:
        yield bucket
