"""What a DegradBlock can express: the last block alone, fitted to one degradation with direct supervision.

python -m benchmarks.method.degrad_block --network pretrained/BASE.safetensors [--degradation jpeg] [--steps N]

The code is fixed to one vector, images are the network's own, and the target is the same image degraded: by JPEG of
quality 30, by blur, or by noise that is drawn anew each time (compared by its statistics, since its values cannot be
foreseen). Printed for each variant: the share of the change's energy left unexplained on held-out images; blockiness,
the mean step across borders of the 8x8 grid over that elsewhere; and of the change the standard deviation, its
correlation with the right neighbour, and that between red and green.
"""

import dataclasses

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe
from degradations import apply_primitive
from dnnlib.flags import SETTINGS
from dnnlib.remote.locations import NetworkFile
from generation.sampling import ws_of_seeds
from images.ranges import from_levels, to_levels, to_uint8
from networks.config import QualityConfig, Variant
from networks.files import ImageFormat, build_generator, load
from networks.generators.interface import Content, Generator
from networks.latents import Latents

DEGRADATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "jpeg": ("jpeg", {"quality": 30}),
    "blur": ("gaussian_blur", {"size": 7, "sigma": 1.4}),
    "noise": ("gaussian_noise", {"variance": 400.0}),
}
TRAINING, HELD_OUT, BATCH = 64, 32, 8
LR = 3e-3


@click.command(context_settings=SETTINGS)
@click.option("--network", type=NetworkFile(), required=True, help="Base network.")
@click.option("--degradation", type=click.Choice(list(DEGRADATIONS)), default="jpeg", help="Degradation to fit.")
@click.option(
    "--variant", "variants", multiple=True, default=["paper", "paper+", "pixels"], help="Variant of the DegradBlock."
)
@click.option("--steps", default=1400, help="Steps of Adam.")
def main(network: str, degradation: str, variants: tuple[Variant, ...], steps: int) -> None:
    """Fit each variant and print what it has learned."""
    torch.manual_seed(0)
    base = load(network, torch.device("cpu"), "fp32")
    click.echo(f"{describe(torch.device('cpu'))}\n{degradation}, {steps} steps of {BATCH} images")
    targets = {"sharp": sharp_images(base, range(TRAINING, TRAINING + HELD_OUT))}
    targets["target"] = degraded(targets["sharp"], degradation, seed=1)
    for name, images in targets.items():
        click.echo(f"{name:10} {statistics(targets['sharp'], images)}")
    for variant in variants:
        images = fit(base, degradation, variant, steps)
        change = (targets["target"] - targets["sharp"]).square().sum()
        unexplained = (images - targets["target"]).square().sum() / change
        click.echo(f"{variant:10} {statistics(targets['sharp'], images)}, unexplained {unexplained:.2f}")


def fit(base: Generator, degradation: str, variant: Variant, steps: int) -> Tensor:
    """Return the held-out images `[N, C, R, R]` as the fitted block degrades them."""
    torch.manual_seed(0)
    quality = QualityConfig(variant=variant, blocks=1)
    images = ImageFormat(base.img_resolution, base.img_channels, base.c_dim)
    G = build_generator(dataclasses.replace(base.config, quality=quality), images).requires_grad_(False)
    G.load_base(base)
    block = G.synthesis.get_submodule(f"b{base.img_resolution}.degrade").requires_grad_(True)
    optimizer = torch.optim.Adam(block.parameters(), lr=LR, betas=(0.0, 0.99))
    q = torch.randn(1, G.q_dim)
    contents = [content_of(G, range(first, first + BATCH)) for first in range(0, TRAINING, BATCH)]
    for step in range(steps):
        content = with_fresh_noise(G, contents[step % len(contents)])
        with torch.no_grad():
            sharp = G.synthesis.image(content)
        target = degraded(sharp, degradation, seed=step)
        loss = loss_of(degradation, sharp, G.synthesis.image(content, q.expand(BATCH, -1)), target)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1.0, 2 * (1 - step / steps))
        optimizer.step()
    with torch.no_grad():
        held_out = content_of(G, range(TRAINING, TRAINING + HELD_OUT))
        return G.synthesis.image(held_out, q.expand(HELD_OUT, -1))


def loss_of(degradation: str, sharp: Tensor, images: Tensor, target: Tensor) -> Tensor:
    """Return the squared error; for noise, that of its power and correlations in every image instead."""
    if degradation != "noise":
        return (images - target).square().mean()
    return (moments(images - sharp) - moments(target - sharp)).square().mean()


def moments(change: Tensor) -> Tensor:
    """Return power and correlations `[N, K]` of a change `[N, 3, R, R]`, in units of 0.1: white noise is all power."""
    change = 10 * change
    rgb = torch.einsum("nchw,ndhw->ncd", change, change) / change[0, 0].numel()  # [N, 3, 3]
    shifts = [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0)]
    lags = [(change * change.roll(shift, (2, 3))).mean((2, 3)) for shift in shifts]  # [N, 3] each
    return torch.cat([rgb.flatten(1), *lags, change.mean((2, 3))], dim=1)


def content_of(G: Generator, seeds: range) -> Content:
    """Return the content of some seeds, with the stored noise."""
    with torch.no_grad():
        latents = Latents(ws_of_seeds(G, list(seeds)))
        return G.synthesis.content(latents, G.synthesis.make_noise("const", len(latents)))


def with_fresh_noise(G: Generator, content: Content) -> Content:
    """Return a content whose remaining blocks have other noise."""
    noise = G.synthesis.make_noise("random", len(content.ws))
    return content._replace(noise=[*content.noise[: content.block], *noise[content.block :]])


def sharp_images(G: Generator, seeds: range) -> Tensor:
    """Return the images of some seeds, `[N, C, R, R]`."""
    with torch.no_grad():
        return G.synthesis.image(content_of(G, seeds))


def degraded(images: Tensor, degradation: str, seed: int) -> Tensor:
    """Return images `[N, C, R, R]` in [-1, 1] degraded, in the same range."""
    name, parameters = DEGRADATIONS[degradation]
    rng = np.random.default_rng(seed)
    pixels = [apply_primitive(image, name, rng, **parameters)[0] for image in to_uint8(images)]
    return from_levels(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))


def statistics(sharp: Tensor, images: Tensor) -> str:
    """Return blockiness of images, and deviation and correlations of what was changed, as text."""
    change = to_levels(images) - to_levels(sharp)
    text = f"blockiness {blockiness(images):.3f}, change {change.std():5.1f} levels"
    if change.std() < 1e-3:
        return text
    lag = correlation(change[..., 1:], change[..., :-1])
    return f"{text}, lag-1 {lag:+.2f}, red-green {correlation(change[:, 0], change[:, 1]):+.2f}"


def correlation(a: Tensor, b: Tensor) -> float:
    """Return the correlation of two tensors of one shape."""
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


def blockiness(images: Tensor) -> float:
    """Return the mean step across borders of the 8x8 grid over the mean step elsewhere, along both axes."""
    steps = [images.diff(dim=3).abs().mean((0, 1, 2)), images.diff(dim=2).abs().mean((0, 1, 3))]  # [R - 1] each
    at_border = torch.arange(len(steps[0])) % 8 == 7
    return (sum(s[at_border].mean() for s in steps) / sum(s[~at_border].mean() for s in steps)).item()


if __name__ == "__main__":
    main()
