"""The training step as it is usually arranged, the baseline of `benchmarks.train_step`.

Each image has its own convolution weights (one grouped convolution for the batch), and the sharp pass, the degraded
pass and the teacher each run the whole network.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from networks import layers
from networks.generators.stylegan2 import SynthesisNetwork
from networks.latents import Latents
from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.seeding import BatchRandom
from training import losses
from training.stream import Stream
from training.trainer import Trainer


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    resample_filter: Tensor | None = None,
    *,
    demodulate: bool = True,
    gain: float = 1.0,
    ring: Tensor | None = None,
    **arguments: Any,
) -> tuple[Tensor, None]:
    """Do what `torch_utils.ops.modulated_conv2d` does with modulated weights, which leave no factors; no ring."""
    assert ring is None, "training has no paddings"
    images = x.shape[0]
    w = weight[None] * styles[:, None, :, None, None]  # [N, C_out, C_in, kh, kw]
    if demodulate:
        w = w * (w.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    y = conv2d_resample(
        x.reshape(1, -1, *x.shape[2:]),
        (w * gain).flatten(0, 1).to(x.dtype),
        resample_filter,
        groups=images,
        **arguments,
    )
    return y.reshape(images, -1, *y.shape[2:]), None  # [N, C_out, H, W]


def _modulated_projection(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """Do what `torch_utils.ops.modulated_projection` does, as another such convolution."""
    return modulated_conv2d(x, weight, styles, demodulate=False)[0]


class TextbookTrainer(Trainer):
    """A trainer whose passes share nothing; used inside `arranged_as_usual`."""

    def _synthesize(self, ws: Tensor, rng: BatchRandom, distill: bool = False) -> tuple[dict[str, Tensor], Tensor]:
        synthesis = self.G.synthesis
        noise = synthesis.make_noise("random", len(ws), rng)
        if self.config.mode == "base":
            return {"sharp": synthesis(ws, noise=noise)}, ws.new_zeros([])
        assert isinstance(synthesis, SynthesisNetwork), "the textbook step runs StyleGAN2's blocks"
        q = rng.randn(self.G.q_dim)  # [N, q_dim]
        latents = Latents(ws)
        sharp, features = synthesis.run(synthesis.content(latents, noise), synthesis.num_blocks)
        assert sharp.img is not None, "the last block gives an image"
        degraded = synthesis.image(synthesis.content(latents, noise), q)
        distillation = ws.new_zeros([])
        if distill and self.teacher is not None:
            with torch.no_grad():
                content = self.teacher.synthesis.content(latents, noise, synthesis.trunk_blocks)
                teacher = self.teacher.synthesis.features(content)
            distillation = losses.distillation_loss(teacher, features, self.config.loss.distill_norm)
        return {"sharp": sharp.img, "degraded": degraded}, distillation

    def _synthesize_apart(self, ws: Tensor, rng: BatchRandom) -> Iterator[tuple[Stream, Tensor]]:
        noise = self.G.synthesis.make_noise("random", len(ws), rng)
        q = rng.randn(self.G.q_dim) if self.config.mode == "qc" else None
        for stream, code in zip(self.streams, (None, q), strict=False):
            quality = {} if code is None else {"q": code}
            yield stream, self.G.synthesis(ws, noise=noise, **quality)


class arranged_as_usual:  # noqa: N801 - reads as a statement
    """Within this context, layers use modulated weights."""

    def __init__(self) -> None:
        self.ours = layers.modulated_conv2d, layers.modulated_projection

    def __enter__(self) -> None:
        layers.modulated_conv2d = modulated_conv2d  # type: ignore[assignment]
        layers.modulated_projection = _modulated_projection

    def __exit__(self, *_: object) -> None:
        layers.modulated_conv2d, layers.modulated_projection = self.ours
