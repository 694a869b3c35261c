"""Time 3x3 convolutions on a CPU, pass by pass: torch's own beside the ways of `torch_utils.ops.convolutions`.

python -m benchmarks.convolutions [--channels 128 --side 32 --batch 8]
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.machine import describe, prepare, seconds
from dnnlib.flags import PATH, SETTINGS
from torch_utils.ops.convolutions import taps, winograd

SHAPES = [(64, 64), (128, 64), (128, 32), (256, 32), (256, 16), (512, 16), (512, 8)]  # channels, side


@click.command(context_settings=SETTINGS)
@click.option("--channels", type=int, help="Channels of input and output, with --side; default: several shapes.")
@click.option("--side", type=int, help="Side of the images, with --channels.")
@click.option("--batch", default=8, help="Number of images.")
@click.option("--repeats", default=5, help="Number of calls that are timed.")
@click.option("--json", "json_path", type=PATH, default=None, help="JSON file for the numbers.")
def main(channels: int | None, side: int | None, batch: int, repeats: int, json_path: str | None) -> None:
    """Print milliseconds of each pass, by torch, by taps and by tiles, and the largest error over the deviation."""
    device = torch.device("cpu")
    prepare(device)
    click.echo(f"{describe(device)}; {torch.backends.cpu.get_cpu_capability()}, batch {batch}")
    click.echo(f"{'channels':>9}{'side':>6}{'pass':>14}{'way':>8}{'ms':>9}{'of torch':>10}{'error':>10}")
    records = []
    for shape in [(channels, side)] if channels and side else SHAPES:
        for passes, ways in _passes(*shape, batch):
            exact, torchs = ways["exact"](), 0.0
            for way in ("torch", "taps", "tiles"):
                if way not in ways:
                    continue
                time = seconds(ways[way], device, repeats)
                torchs = time if way == "torch" else torchs
                error = float((ways[way]() - exact).abs().max() / exact.std())
                figures = f"{time * 1e3:>9.1f}{time / torchs:>10.2f}{error:>10.0e}"
                click.echo(f"{shape[0]:>9}{shape[1]:>6}{passes:>14}{way:>8}{figures}")
                record = {"channels": shape[0], "side": shape[1], "pass": passes, "way": way}
                records.append({**record, "seconds": time, "error": error})
    if json_path:
        report = {"machine": describe(device), "batch": batch, "records": records}
        Path(json_path).write_text(json.dumps(report, indent=2))


def _passes(channels: int, side: int, batch: int) -> Iterator[tuple[str, dict[str, Callable[[], Tensor]]]]:
    """Yield each pass with its ways; `exact` computes in float64."""
    last = torch.channels_last
    x, grad = (torch.randn(batch, channels, side, side).contiguous(memory_format=last) for _ in range(2))
    w = torch.randn(channels, channels, 3, 3)
    tiled = winograd.fits(x)
    forward = {
        "torch": lambda: F.conv2d(x, w, padding=1),
        "exact": lambda: F.conv2d(x.double(), w.double(), padding=1),
    }
    yield "forward", forward | ({"tiles": lambda: winograd.convolve(x, w)} if tiled else {})

    def torchs(x: Tensor, w: Tensor, grad: Tensor, stride: int = 1) -> Tensor:
        mask = [False, True, False]
        sides = [2 - stride] * 2
        return torch.ops.aten.convolution_backward(
            grad, x, w, None, [stride] * 2, sides, [1, 1], False, [0, 0], 1, mask
        )[1]

    weights = {
        "torch": lambda: torchs(x, w, grad),
        "exact": lambda: torchs(x.double(), w.double(), grad.double()),
        "taps": lambda: taps.weight_gradient(x, grad),
    }
    yield "weight", weights | ({"tiles": lambda: winograd.weight_gradient(x, grad)} if tiled else {})
    half = side // 2
    odd = torch.randn(batch, channels, 2 * half + 1, 2 * half + 1).contiguous(memory_format=last)
    small = torch.randn(batch, channels, half, half).contiguous(memory_format=last)
    yield (
        "weight, down",
        {
            "torch": lambda: torchs(odd, w, small, stride=2),
            "exact": lambda: torchs(odd.double(), w.double(), small.double(), stride=2),
            "taps": lambda: taps.weight_gradient_of_stride_2(odd, small),
        },
    )


if __name__ == "__main__":
    main()
