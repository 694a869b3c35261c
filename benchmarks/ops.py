"""Time `bias_act` and `upfirdn2d` as the networks call them, against the bandwidth of a copy.

python -m benchmarks.ops [--resolution 512 --batch 32 --dtype bf16] [--json FILE]
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.machine import describe, seconds
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import PATH, SETTINGS
from networks.layers import RESAMPLE_TAPS
from networks.resolutions import DTYPES, channels_at
from torch_utils.cuda import operators
from torch_utils.distributed import best_device
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d

CALLS = 20  # most calls in one measurement, so that the CPU's clock is fine enough
LONG_ENOUGH = 0.05  # seconds of one measurement; slow ops make fewer calls
# up, down and padding of the 4x4 filter
RESAMPLINGS = {
    "up 2": (2, 1, (2, 1, 2, 1)),
    "down 2": (1, 2, (1, 1, 1, 1)),
    "after a convolution": (1, 1, (1, 1, 1, 1)),
}
LONG_TAPS = (1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1)  # as many as the wavelet of the augmentation has


@dataclass
class Case:
    """An op on one size.

    Attributes:
        name: name of the op, and the size.
        run: the op, a function of `x`.
        x: input `[N, C, H, W]`.
    """

    name: str
    run: Callable[[Tensor], Tensor]
    x: Tensor


@click.command(context_settings=SETTINGS)
@click.option("--resolution", default=512, help="Resolution of the network; smaller ones make some of its calls.")
@click.option("--channel-base", default=32768, help="Factor of the number of channels at each resolution.")
@click.option("--channel-max", default=512, help="Largest number of channels.")
@click.option("--batch", default=32, help="Number of images in a batch.")
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(sorted(DTYPES)),
    default=["bf16", "fp32"],
    help="Type of the numbers, may be repeated.",
)
@click.option(
    "--layout",
    "layouts",
    multiple=True,
    type=click.Choice(["nhwc", "nchw"]),
    default=["nhwc", "nchw"],
    help="Layout of the images in memory, may be repeated.",
)
@click.option("--compile/--no-compile", "with_compile", default=True, help="Also time torch.compile of the torch path.")
@click.option("--device", default=None, help="Device: cuda, mps or cpu.  [default: the best there is]")
@click.option("--json", "json_path", type=PATH, default=None, help="JSON file for the numbers.")
@one_sentence_errors
def main(
    resolution: int,
    channel_base: int,
    channel_max: int,
    batch: int,
    dtypes: tuple[str, ...],
    layouts: tuple[str, ...],
    with_compile: bool,
    device: str | None,
    json_path: str | None,
) -> None:
    """Print time and bytes a second of each op, as a share of what a copy moves."""
    chosen = best_device(device)
    rate = copy_rate(chosen)
    click.echo(f"{describe(chosen)}; batch {batch}; a large copy moves {rate / 1e9:.0f} GB/s (read + written)")
    if not operators.serve(torch.empty(1, device=chosen)):
        click.echo("no CUDA kernels here: torch path only")
    records = []
    for dtype in dtypes:
        for layout in layouts:
            click.echo(f"\n{dtype}, {layout}\n{'op':<58}{'path':>9}{'ms':>9}{'GB/s':>8}{'of copy':>9}")
            for case in cases(resolution, channel_base, channel_max, batch, DTYPES[dtype], layout, chosen):
                for record in measure(case, rate, with_compile, chosen):
                    records.append(record | {"dtype": dtype, "layout": layout})
                if json_path:  # each time, since all together may take too long
                    document = {"machine": describe(chosen), "batch": batch, "copy_bytes_per_second": rate}
                    Path(json_path).write_text(json.dumps(document | {"records": records}, indent=2))


def cases(
    largest: int,
    channel_base: int,
    channel_max: int,
    batch: int,
    dtype: torch.dtype,
    layout: str,
    device: torch.device,
) -> Iterator[Case]:
    """Yield the calls of a network for images of `largest` pixels; those of smaller networks are among them."""
    memory = torch.channels_last if layout == "nhwc" else torch.contiguous_format
    images = partial(torch.randn, device=device, dtype=dtype)
    outer, long = (setup_filter(taps, device=device) for taps in (RESAMPLE_TAPS, LONG_TAPS))
    resolution = 4
    while resolution <= largest:
        channels = channels_at(resolution, channel_base, channel_max)
        x = images(batch, channels, resolution, resolution).contiguous(memory_format=memory)
        b = torch.randn(channels, device=device)
        size = f"{channels} x {resolution}x{resolution}"
        yield Case(f"bias_act lrelu, {size}", partial(_bias_act, b=b), x)
        yield Case(f"bias_act lrelu backward, {size}", _BiasActBackward(x, b), x)
        for name, (up, down, padding) in RESAMPLINGS.items():
            side = resolution // up if up > 1 else resolution + (1 if up == down else 0)
            small = images(batch, channels, side, side).contiguous(memory_format=memory)
            run = partial(upfirdn2d, f=outer, up=up, down=down, padding=padding)
            yield Case(f"upfirdn2d 4x4 {name}, {channels} x {side}x{side}", run, small)
        resolution *= 2
    rgb = images(batch, 3, largest, largest).contiguous(memory_format=memory)
    for up, down in ((2, 1), (1, 2)):
        run = partial(upfirdn2d, f=long, up=up, down=down, padding=(6, 5, 6, 5))
        yield Case(f"upfirdn2d 12 + 12 up {up} down {down}, 3 x {largest}x{largest}", run, rgb)


def _bias_act(x: Tensor, b: Tensor) -> Tensor:
    return bias_act(x, b, act="lrelu", clamp=256.0)


class _BiasActBackward:
    """The derivative by x alone, which reads a gradient and the output and writes a gradient.

    Attributes:
        reads: number of tensors of the size of `x` that are read.
    """

    reads = 2

    def __init__(self, x: Tensor, b: Tensor) -> None:
        self.x = x.detach().requires_grad_()
        self.b = b
        self.outputs: dict[bool, Tensor] = {}  # by whether a kernel computes

    def __call__(self, grad: Tensor) -> Tensor:
        served = operators.serve(grad)
        if served not in self.outputs:
            self.outputs[served] = _bias_act(self.x, self.b)
        return torch.autograd.grad(self.outputs[served], self.x, grad, retain_graph=True)[0]


def measure(case: Case, rate: float, with_compile: bool, device: torch.device) -> Iterator[dict[str, Any]]:
    """Print and yield one record for each path."""
    paths = {"kernel": case.run} if operators.serve(case.x) else {}
    paths["torch"] = _without_kernels(case.run)
    if with_compile and not isinstance(case.run, _BiasActBackward):
        torch.compiler.reset()
        paths["compiled"] = _without_kernels(torch.compile(case.run, dynamic=False))
    with torch.enable_grad() if isinstance(case.run, _BiasActBackward) else torch.no_grad():
        read = case.x.nbytes * getattr(case.run, "reads", 1)
        for path, run in paths.items():
            moved = read + run(case.x).nbytes
            time = _seconds(partial(run, case.x), device)
            share = moved / time / rate
            click.echo(f"{case.name:<58}{path:>9}{time * 1e3:>9.3f}{moved / time / 1e9:>8.0f}{share:>8.0%}")
            yield {"op": case.name, "path": path, "seconds": time, "bytes": moved, "share": share}


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Return the time of one of several calls in a row."""
    calls = max(1, min(CALLS, int(LONG_ENOUGH / seconds(call, device, repeats=1))))
    return seconds(partial(_repeat, call, calls), device) / calls


def _repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()


def _without_kernels(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def plain(x: Tensor) -> Tensor:
        with operators.disabled():
            return run(x)

    return plain


def copy_rate(device: torch.device) -> float:
    """Return the bytes a second, read and written, of a copy that exceeds every cache."""
    source = torch.ones((1 << 28) if device.type == "cuda" else (1 << 24), device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _seconds(partial(target.copy_, source), device)


if __name__ == "__main__":
    main()
