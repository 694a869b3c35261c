"""Time `bias_act`, `epilogue` and `upfirdn2d` as the networks call them, against the bandwidth of a copy.

python -m benchmarks.ops [--resolution 512 --batch 32 --dtype bf16] [--json FILE]
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.machine import describe
from benchmarks.training.launches import Inputs, time_calls
from dnnlib.cli import one_sentence_errors
from dnnlib.flags import PATH, SETTINGS
from networks.layers import RESAMPLE_TAPS
from networks.resolutions import DTYPES, channels_at
from torch_utils.cuda import epilogue as epilogue_kernel
from torch_utils.cuda import operators
from torch_utils.distributed import best_device
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.epilogue import epilogue
from torch_utils.ops.upfirdn2d import Padding, setup_filter, upfirdn2d

ACTIVATION = ("lrelu", 0.2, math.sqrt(2), 256.0)  # name, alpha, gain and clamp, as in the networks
# up, down and padding of the 4x4 filter; the derivative of each is one of them, with other padding
RESAMPLINGS = {
    "up 2": (2, 1, (2, 1, 2, 1)),
    "down 2": (1, 2, (1, 1, 1, 1)),
    "after a convolution": (1, 1, (1, 1, 1, 1)),
}
LONG_TAPS = (1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1)  # taps, as many as the wavelet of the augmentation has


@dataclass
class Case:
    """An op on one size.

    Attributes:
        name: name of the op, and the size.
        inputs: images `[N, C, H, W]`, the arguments of both functions, all of which are read.
        kernel: the op as the operator that a CUDA kernel computes.
        plain: the op in plain torch.
        is_derivative: whether `plain` is a derivative by autograd.
    """

    name: str
    inputs: Inputs
    kernel: Callable[..., Tensor]
    plain: Callable[..., Tensor]
    is_derivative: bool = False


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
    """Print time and bytes a second of each op, as a share of what a copy moves; all is timed in the same way."""
    chosen = best_device(device)
    rate = copy_rate(chosen)
    click.echo(f"{describe(chosen)}; batch {batch}; a large copy moves {rate / 1e9:.0f} GB/s (read + written)")
    if not operators.serve(torch.empty(1, device=chosen)):
        click.echo("no CUDA kernels here: torch path only")
    records = []
    for layout in layouts:
        for dtype in dtypes:
            click.echo(f"\n{dtype}, {layout}\n{'op':<58}{'path':>9}{'timed by':>10}{'ms':>9}{'GB/s':>8}{'of copy':>9}")
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
        yield from bias_act_cases(x, b, size)
        yield from epilogue_cases(x, b, size)
        for name, (up, down, padding) in RESAMPLINGS.items():
            side = resolution // up if up > 1 else resolution + (1 if up == down else 0)
            small = images(batch, channels, side, side).contiguous(memory_format=memory)
            yield upfirdn2d_case(f"4x4 {name}, {channels} x {side}x{side}", small, outer, up, down, padding)
        resolution *= 2
    rgb = images(batch, 3, largest, largest).contiguous(memory_format=memory)
    for up, down in ((2, 1), (1, 2)):
        yield upfirdn2d_case(f"12 + 12 up {up} down {down}, 3 x {largest}x{largest}", rgb, long, up, down, (6, 5, 6, 5))


def bias_act_cases(x: Tensor, b: Tensor, size: str) -> Iterator[Case]:
    """Yield the op, and its derivative by x alone, which reads a gradient and the output and writes a gradient."""
    act, alpha, gain, clamp = ACTIVATION
    plain = partial(bias_act, b=b, act=act, alpha=alpha, gain=gain, clamp=clamp)
    arguments: dict[str, Any] = {"dim": 1, "act": act, "alpha": alpha, "gain": gain, "clamp": clamp}
    kernel = partial(torch.ops.qc_stylegan.bias_act, b=b, **arguments)
    yield Case(f"bias_act lrelu, {size}", (x,), kernel, plain)
    with torch.no_grad(), operators.disabled():
        y = plain(x)
    slope = partial(torch.ops.qc_stylegan.bias_act_slope, b=None, **arguments, from_output=True)
    inputs = torch.randn_like(x), y
    yield Case(f"bias_act lrelu backward, {size}", inputs, slope, _Derivative(plain, x), is_derivative=True)


def epilogue_cases(x: Tensor, b: Tensor, size: str) -> Iterator[Case]:
    """Yield the op, and its derivative by all that it has, which reads a gradient, the output and x."""
    act, alpha, _, clamp = ACTIVATION
    scale, strength = (torch.rand(shape, device=x.device) + 0.5 for shape in (x.shape[:2], ()))
    noise = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device)
    kernel = partial(
        epilogue_kernel.epilogue, scale=scale, noise=noise, strength=strength, b=b, alpha=alpha, clamp=clamp
    )
    plain = partial(epilogue, scale=scale, noise=noise, strength=strength, b=b, clamp=clamp)
    yield Case(f"epilogue {act}, {size}", (x,), kernel, plain)
    with torch.no_grad(), operators.disabled():
        y = plain(x)
    constants = epilogue_kernel.Constants(noise, alpha, clamp)

    def derivative(dy: Tensor, y: Tensor, x: Tensor) -> Tensor:
        return epilogue_kernel.Derivative.apply(dy, x, y, scale, constants)[0]

    numbers = {"scale": scale.requires_grad_(), "strength": strength.requires_grad_(), "b": b.clone().requires_grad_()}
    by_all = _Derivative(partial(plain, **numbers), x, list(numbers.values()))
    yield Case(f"epilogue {act} backward, {size}", (torch.randn_like(x), y, x), derivative, by_all, is_derivative=True)


def upfirdn2d_case(name: str, x: Tensor, f: Tensor, up: int, down: int, padding: Padding) -> Case:
    """Return the case of a filter `f`."""
    kernel = partial(
        torch.ops.qc_stylegan.upfirdn2d, f=f, up=[up] * 2, down=[down] * 2, padding=padding, flip=False, gain=1.0
    )
    return Case(f"upfirdn2d {name}", (x,), kernel, partial(upfirdn2d, f=f, up=up, down=down, padding=padding))


class _Derivative:
    """The derivative by `x` of a function, by autograd, and others unseen; the function itself is called once."""

    def __init__(self, function: Callable[[Tensor], Tensor], x: Tensor, others: Sequence[Tensor] = ()) -> None:
        self.function = function
        self.x = x.detach().requires_grad_()
        self.others = others
        self.y: Tensor | None = None

    def __call__(self, grad: Tensor, *_: Tensor) -> Tensor:
        if self.y is None:
            with torch.enable_grad():
                self.y = self.function(self.x)
        return torch.autograd.grad(self.y, [self.x, *self.others], grad, retain_graph=True)[0]


def measure(case: Case, rate: float, with_compile: bool, device: torch.device) -> Iterator[dict[str, Any]]:
    """Print and yield one record for each path."""
    paths = {"kernel": case.kernel} if operators.serve(case.inputs[0]) else {}
    paths["torch"] = _without_kernels(case.plain)
    if with_compile and not case.is_derivative:
        torch.compiler.reset()
        paths["compiled"] = _without_kernels(torch.compile(case.plain, dynamic=False))
    for path, run in paths.items():
        timing = time_calls(run, case.inputs, device, capture=path == "kernel" or not case.is_derivative)
        speed = timing.bytes / timing.seconds
        numbers = f"{timing.seconds * 1e3:>9.3f}{speed / 1e9:>8.0f}{speed / rate:>9.0%}"
        click.echo(f"{case.name:<58}{path:>9}{timing.how:>10}{numbers}")
        yield {"op": case.name, "path": path, "share": speed / rate} | dataclasses.asdict(timing)


def _without_kernels(run: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def plain(*inputs: Tensor) -> Tensor:
        with operators.disabled():
            return run(*inputs)

    return plain


def copy_rate(device: torch.device) -> float:
    """Return the bytes a second, read and written, of a copy that exceeds every cache."""
    source = torch.ones((1 << 28) if device.type == "cuda" else (1 << 24), device=device)
    timing = time_calls(torch.empty_like(source).copy_, (source,), device)
    return timing.bytes / timing.seconds


if __name__ == "__main__":
    main()
